"""Traces, Grad-CAM and statistics, on our networks and on anyone's."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import pytest
import torch
from captum.attr import LayerGradCam
from scipy.stats import entropy
from torch import Tensor, nn

from drtam import CBAM, DRTAM, CoordinateAttention, Descriptors, attention_layers
from drtam.explain import analyze, named_maps, rank_correlation
from drtam.explain.recording import evaluating, recording
from models import build_model


class Foreign(nn.Module):
    """Somebody's network: shortcut added in place, one module used twice, two in one holder."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, stride=4, padding=1)
        self.norm = nn.BatchNorm2d(24)
        self.block = nn.ModuleDict({"conv": nn.Conv2d(24, 24, 3, padding=1), "gate": DRTAM(24)})
        self.pair = nn.Sequential(CBAM(24, r=4), CoordinateAttention(24))
        self.unused = nn.ModuleDict({"gate": DRTAM(24)})
        self.head = nn.Linear(24, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        for _ in range(2):
            out = self.block["gate"](self.block["conv"](x))
            out += x
            x = out.relu_()
        return self.head(self.pair(x).mean((2, 3)))


@pytest.fixture
def foreign() -> nn.Module:
    return Foreign()


@pytest.fixture(scope="module", params=["drtam", "cbam", "ca"])
def resnet(request: pytest.FixtureRequest) -> nn.Module:
    return build_model("resnet18", request.param, num_classes=20, seed=1).eval()


def test_gradcam_equals_captums_at_every_layer(resnet, lion_tensor):
    analysis = analyze(resnet, lion_tensor, target=3)
    for name, module in attention_layers(resnet).items():
        reference = LayerGradCam(resnet, module).attribute(
            lion_tensor, target=3, relu_attributions=True
        )
        torch.testing.assert_close(analysis.layers[name].gradcam, reference[:, 0].detach())
    assert any(layer.gradcam.max() > 0 for layer in analysis.layers.values())


def test_gradcam_equals_captums_in_a_foreign_network(foreign, lion_tensor):
    foreign.eval()
    analysis = analyze(foreign, lion_tensor, target=2)
    for name, module in (("pair.0", foreign.pair[0]), ("pair.1", foreign.pair[1])):
        reference = LayerGradCam(foreign, module).attribute(
            lion_tensor, target=2, relu_attributions=True
        )
        torch.testing.assert_close(analysis.layers[name].gradcam, reference[:, 0].detach())


def test_a_foreign_network_is_traced_call_by_call(foreign, lion_tensor):
    analysis = analyze(foreign, lion_tensor)
    assert list(analysis.layers) == ["block", "block#2", "pair.0", "pair.1"]
    torch.testing.assert_close(
        analysis.logits, copy.deepcopy(foreign).eval()(lion_tensor).detach()
    )


def test_the_trace_holds_what_the_network_computed(resnet, lion_tensor):
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    hooks = [
        module.register_forward_hook(
            lambda _, inputs, output, name=name: seen.update(
                {name: (inputs[0].clone(), output.clone())}
            )
        )
        for name, module in attention_layers(resnet).items()
    ]
    with torch.no_grad():
        logits = resnet(lion_tensor)
    for hook in hooks:
        hook.remove()
    analysis = analyze(resnet, lion_tensor)
    torch.testing.assert_close(analysis.logits, logits)
    assert list(analysis.layers) == list(seen)
    for name, (x, output) in seen.items():
        trace = analysis.layers[name].trace
        torch.testing.assert_close(trace.output, output)
        torch.testing.assert_close(x * trace.attention(), output)


def test_each_image_of_a_batch_is_explained_as_if_alone(resnet, lion_tensor):
    batch = torch.cat((lion_tensor, lion_tensor.flip(3)))
    both = analyze(resnet, batch)
    for i, image in enumerate(batch):
        alone = analyze(resnet, image)
        torch.testing.assert_close(both.logits[i], alone.logits[0])
        for name, layer in alone.layers.items():
            torch.testing.assert_close(both.layers[name].gradcam[i], layer.gradcam[0])


def test_each_image_may_have_its_own_target(resnet, lion_tensor):
    batch = torch.cat((lion_tensor, lion_tensor.flip(3)))
    both = analyze(resnet, batch, torch.tensor([4, 9]))
    assert both.target.tolist() == [4, 9]
    for i, target in enumerate((4, 9)):
        alone = analyze(resnet, batch[i], target)
        for name, layer in alone.layers.items():
            torch.testing.assert_close(both.layers[name].gradcam[i], layer.gradcam[0])
    with pytest.raises(ValueError, match=r"one class for each image, not \(3,\)"):
        analyze(resnet, batch, torch.tensor([1, 2, 3]))


def test_residual_errors_are_those_of_pooling_the_residual_itself(lion_tensor):
    network = build_model("resnet18", "drtam", seed=2).eval()
    inputs: dict[str, Tensor] = {}
    modules = attention_layers(network)
    hooks = [
        module.register_forward_pre_hook(
            lambda _, args, name=name: inputs.update({name: args[0].clone()})
        )
        for name, module in modules.items()
    ]
    with torch.no_grad():
        network(lion_tensor)
    for hook in hooks:
        hook.remove()
    for name, layer in analyze(network, lion_tensor).layers.items():
        pooled = Descriptors.of(inputs[name] * (1 - layer.trace.initial.map()))
        for i, kind in enumerate(("ch", "cw", "hw")):
            exact = getattr(layer.residual.exact, kind)
            torch.testing.assert_close(exact, getattr(pooled, kind), atol=1e-5, rtol=1e-4)
            approximate = getattr(layer.trace.residual, kind)
            error = torch.dist(approximate, exact) / exact.norm()
            torch.testing.assert_close(layer.residual.error[0, i], error)
            assert error > 1e-3


def test_statistics_are_those_of_the_maps(lion_tensor):
    network = build_model("resnet18", "drtam", seed=2).eval()
    for layer in analyze(network, lion_tensor).layers.values():
        assert list(layer.statistics) == ["combined", "initial", "complement"]
        for name, attention in named_maps(layer.trace).items():
            numbers, values = layer.statistics[name], attention.double().numpy()
            assert float(numbers.mean) == pytest.approx(values.mean(), rel=1e-5)
            assert float(numbers.spread) == pytest.approx(values.std(), rel=1e-3)
            spatial = values.mean((0, 1)).ravel()
            expected = entropy(spatial) / math.log(spatial.size)
            assert float(numbers.entropy) == pytest.approx(expected, rel=1e-5)
        combined, initial = (named_maps(layer.trace)[k].mean() for k in ("combined", "initial"))
        assert float(layer.added) == pytest.approx(float(1 - initial / combined), rel=1e-4)


def test_a_map_of_one_position_is_even(lion_tensor):
    network = nn.Sequential(nn.Conv2d(3, 8, 96), DRTAM(8), nn.Flatten(), nn.Linear(8, 3))
    (layer,) = analyze(network, lion_tensor).layers.values()
    assert float(layer.statistics["combined"].entropy) == 1


@pytest.mark.parametrize("frozen", [False, True])
def test_the_network_is_left_as_it_was(foreign, lion_tensor, frozen):
    foreign.train()
    foreign.pair.eval()
    foreign.requires_grad_(not frozen)
    before = copy.deepcopy(foreign.state_dict())
    modes = [module.training for module in foreign.modules()]
    with torch.inference_mode():
        analyze(foreign, lion_tensor)
    assert modes == [module.training for module in foreign.modules()]
    assert all(p.grad is None and p.requires_grad != frozen for p in foreign.parameters())
    for name, value in foreign.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any("forward" in vars(module) for module in foreign.modules())


def test_one_forward_and_one_backward_pass(foreign, lion_tensor, monkeypatch):
    forwards, backwards = [], []
    foreign.stem.register_forward_hook(lambda *_: forwards.append(1))
    grad = torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd, "grad", lambda *a, **k: backwards.append(1) or grad(*a, **k)
    )
    analyze(foreign, lion_tensor)
    assert len(forwards) == len(backwards) == 1


def test_everything_is_restored_after_an_exception(foreign):
    own = foreign.block["gate"].trace
    foreign.block["gate"].trace = own  # an instance's own must survive
    foreign.train()
    with pytest.raises(ZeroDivisionError), evaluating(foreign), recording(foreign):  # noqa: PT012
        assert not foreign.training
        assert foreign.block["gate"].trace != own
        raise ZeroDivisionError
    assert foreign.training
    assert foreign.block["gate"].trace == own
    assert "trace" not in vars(foreign.pair[0])


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())


class Unused(nn.Module):
    """Holds attention that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = DRTAM(8), nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x).mean((2, 3))


def strip() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), DRTAM(8), nn.AvgPool2d((94, 1)), nn.Flatten(2))


@pytest.mark.parametrize(
    ("network", "target", "says"),
    [
        (plain, None, "no attention module"),
        (Unused, None, "calls none of its attention modules"),
        (strip, None, r"not \(1, 8, 94\)"),
        (Foreign, 7, "target must be from 0 to 6, not 7"),
        (Foreign, -1, "target must be from 0 to 6, not -1"),
        (Foreign, "lion", "target must be the number of a class, or .*, not 'lion'"),
        (Foreign, 1.5, "target must be the number of a class, or .*, not 1.5"),
        (Foreign, torch.tensor([True]), "target must be the number of a class, or one for each"),
        (Foreign, [], "target must be the number of a class, or one for each image, not"),
    ],
)
def test_what_cannot_be_explained_is_refused(network, target, says, lion_tensor):
    with pytest.raises(ValueError, match=says):
        analyze(network(), lion_tensor, target)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_explained_too(dtype, lion_tensor):
    network = build_model("resnet18", "drtam", seed=0).eval()
    full = analyze(network, lion_tensor, target=0)
    half = analyze(network.to(dtype), lion_tensor.to(dtype), target=0)
    for name, layer in half.layers.items():
        reference = full.layers[name].trace.attention()
        torch.testing.assert_close(
            layer.trace.attention().float(), reference, atol=0.02, rtol=0.05
        )
        assert layer.gradcam.dtype == torch.float32


def test_a_compact_analysis_keeps_all_but_the_outputs(resnet, lion_tensor):
    def tensors(value: object) -> Iterator[Tensor]:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            for item in value.values():
                yield from tensors(item)
        elif hasattr(value, "__dataclass_fields__"):
            yield from tensors(vars(value))

    whole = analyze(resnet, lion_tensor)
    compact = whole.compact()
    assert not any(t.requires_grad for t in tensors(whole))
    size = {t.numel() for layer in compact.layers.values() for t in [layer.trace.output]}
    assert size == {0}
    for name, layer in compact.layers.items():
        assert torch.equal(layer.trace.attention(), whole.layers[name].trace.attention())
    used = [sum(t.numel() for t in tensors(a)) for a in (whole, compact)]
    assert used[1] < used[0] / 2


def test_rank_correlation_knows_only_the_order():
    ramp = torch.arange(12.0).view(3, 4)
    assert rank_correlation(ramp, ramp.exp()) == pytest.approx(1)
    assert rank_correlation(ramp, -(ramp**3)) == pytest.approx(-1)
    assert math.isnan(rank_correlation(ramp, torch.ones(3, 4)))
    half = ramp.bfloat16().requires_grad_()
    assert rank_correlation(half, ramp) == pytest.approx(1)
    smooth = torch.linspace(0, 1, 8).expand(8, 8)
    assert rank_correlation(smooth, torch.linspace(0, 1, 4).expand(4, 4)) > 0.99
