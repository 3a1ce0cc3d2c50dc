"""Interventions in networks of others, of torchvision and of timm, against edited ones."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import timm
import torch
from edited import MASK, edited, flat_ca, flat_cbam, flat_factor, naive_drtam, same, small, zero
from test_explain import Foreign
from torch import Tensor, nn

from drtam import DRTAM, attention_layers
from drtam.explain import (
    ExactResidual,
    Flat,
    MapRegion,
    Off,
    PhotoRegion,
    ablate,
    analyze,
    channel_effects,
    intervening,
    layer_effects,
)
from drtam.explain.export import arrays, of_image
from models import build_model


def test_every_intervention_holds_in_somebody_elses_network(lion_tensor):
    foreign = Foreign().eval()
    changes = [
        Off("complement"),
        Flat("c"),
        Flat("h"),
        ExactResidual(),
        MapRegion(MASK, 0.5),
        PhotoRegion(MASK, 0.5),
    ]
    found = ablate(foreign, lion_tensor, changes)
    assert list(found.after.layers) == ["block", "block#2", "pair.0", "pair.1"]
    gated = ablate(foreign, lion_tensor, [Off(layers=("block",))])
    for name in ("block", "block#2"):  # every call of a module is changed
        assert (gated.after.layers[name].trace.attention() == 1).all()
    assert gated.after.layers["pair.0"].trace.attention().max() < 1
    effects = layer_effects(foreign, lion_tensor, [Off()])
    assert effects["unused"] == 0
    assert channel_effects(foreign, lion_tensor, "block", [Off()]).measured.shape == (1, 8)
    with pytest.raises(ValueError, match="never calls this layer"):
        channel_effects(foreign, lion_tensor, "unused", [Off()])


@pytest.mark.parametrize("attention", ["drtam", "cbam", "ca"])
def test_resnet18_at_an_odd_size_is_changed_layer_by_layer(attention, lion_tensor):
    model = build_model("resnet18", attention, num_classes=10, seed=0).eval()
    flat = Flat("w" if attention == "ca" else "c", layers=("layer4.1",))
    changes = [Off(layers=("layer1.0",)), MapRegion(MASK, 2.0, ("layer2.0",)), flat]

    def painted(module: nn.Module) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            share = nn.functional.adaptive_avg_pool2d(MASK[None], x.shape[2:])
            return x * type(module).trace(module, x).attention() * (1 + share)

        return forward

    hand = copy.deepcopy(model)
    modules = attention_layers(hand)
    modules["layer1.0"].forward = nn.Identity().forward
    modules["layer2.0"].forward = painted(modules["layer2.0"])
    modules["layer4.1"].forward = {
        "drtam": lambda m: naive_drtam(m, flat_factor("c"), flat_factor("c"), exact=False),
        "cbam": flat_cbam,
        "ca": lambda m: flat_ca(m, "w"),
    }[attention](modules["layer4.1"])
    x = lion_tensor[..., :83, :61]
    with torch.no_grad():
        expected = hand(x)
    found = ablate(model, x, changes)
    torch.testing.assert_close(found.after.logits, expected, rtol=1e-4, atol=1e-6)
    assert torch.dist(found.before.logits, expected) > 1e-3


def test_a_timm_network_is_changed_too(lion_tensor):
    model = timm.create_model("resnet18", block_args={"attn_layer": DRTAM}, num_classes=5).eval()
    hand = edited(model, lambda m: naive_drtam(m, same, zero, exact=False))
    with torch.no_grad():
        expected = hand(lion_tensor)
    found = ablate(model, lion_tensor, [Off("complement")]).after.logits
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_a_segmentation_and_a_detector_are_changed_too(lion_tensor):
    dense = build_model("fcn_resnet50", "cbam", num_classes=5, placement="stage", seed=0).eval()
    hand = edited(dense, lambda _: nn.Identity().forward)
    part = lion_tensor[..., :40, :56]
    found = ablate(dense, part, [Off()])
    with torch.no_grad():
        shares = hand(part)["out"].softmax(1).mean((2, 3))
    torch.testing.assert_close(found.after.probabilities, shares, rtol=1e-3, atol=1e-6)

    detector = build_model("maskrcnn_resnet18", "drtam", num_classes=4, seed=0).eval()
    detector.transform.min_size, detector.roi_heads.score_thresh = (96,), 0.0
    detector.roi_heads.detections_per_img = 10
    boxes = ablate(detector, lion_tensor.sigmoid(), [Off("complement")])
    assert torch.isfinite(boxes.change).all()
    assert boxes.change != 0


def test_a_class_that_a_detector_never_finds_has_no_log_probability(lion_tensor):
    detector = build_model("maskrcnn_resnet18", "drtam", num_classes=4, seed=0).eval()
    detector.transform.min_size, detector.roi_heads.detections_per_img = (96,), 10
    found = ablate(detector, lion_tensor.sigmoid(), [Off("complement")], target=80)
    assert found.before.probabilities[0, 80] == found.after.probabilities[0, 80] == 0
    assert torch.isnan(found.change).all()
    assert all(layer.gradcam.max() == 0 for layer in found.after.layers.values())


@pytest.mark.parametrize(
    "changes", [[Off()], [MapRegion(MASK, 0.5)], [Flat("c"), MapRegion(MASK)]]
)
def test_one_image_of_a_changed_batch_is_that_image_alone(changes):
    photos = torch.randn(3, 3, 64, 48, generator=torch.manual_seed(2)).double()
    model = small("drtam")
    batch = ablate(model, photos, changes).after.compact()
    for i in range(3):
        found, alone = of_image(batch, i), ablate(model, photos[i], changes).after.compact()
        for name, layer in alone.layers.items():
            trace = found.layers[name].trace
            assert getattr(trace, "trace", trace).output.numel() == 0
            torch.testing.assert_close(trace.attention(), layer.trace.attention())
            torch.testing.assert_close(trace.spatial(), layer.trace.spatial())
        expected, stored = arrays(alone), arrays(found)
        assert stored.keys() == expected.keys()
        assert not any(name.endswith("output") for name in stored)
        for name, values in expected.items():
            torch.testing.assert_close(*map(torch.from_numpy, (stored[name], values)))
            assert values.ndim < 3 or "/residual" in name or "/descriptors" in name
    assert torch.equal(of_image(batch, -1).logits, of_image(batch, 2).logits)
    with pytest.raises(IndexError):
        of_image(batch, 3)


def test_a_copy_made_while_changed_computes_with_its_own_weights():
    model = small("drtam")
    x = torch.randn(1, 3, 32, 32, generator=torch.manual_seed(1)).double()
    changes = [Flat("c"), MapRegion(MASK, 0.5)]
    buffer = io.BytesIO()
    with intervening(model, changes):
        other = copy.deepcopy(model)
        torch.save(model, buffer)
        before = model(x)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), before)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(0.9)
        found = other(x)
        for module in attention_layers(other).values():
            del module.__dict__["trace"]
        with intervening(other, changes):
            torch.testing.assert_close(found, other(x))


def test_a_layer_that_is_called_by_name_has_channels_too():
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = DRTAM(3)
            self.head = nn.Linear(3, 5)

        def forward(self, image: Tensor) -> Tensor:
            return self.head(self.attention(x=image).mean((2, 3)))

    torch.manual_seed(0)
    model, photo = Named().eval(), torch.randn(1, 3, 16, 12)
    analysis = analyze(model, photo)
    found = channel_effects(model, photo, "attention", [Off()], count=3)
    trace = analysis.layers["attention"].trace
    for channel, effect in zip(found.channels[0], found.measured[0], strict=True):
        feature = trace.output.clone()
        feature[:, channel] = photo[:, channel]
        logs = [
            model.head(f.mean((2, 3))).log_softmax(1)[0, analysis.target]
            for f in (feature, trace.output)
        ]
        assert float(effect) == pytest.approx((logs[0] - logs[1]).item(), abs=1e-6)
