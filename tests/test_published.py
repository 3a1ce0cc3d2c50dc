"""Other people's checkpoints give what their code gives.

``published/`` maps the tensors of each kind to their shapes; the values are random. The expected
outputs come from torchvision's backbones with the equations of ``oracle.py`` hooked in where the
authors' code has its modules, reading the authors' names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import oracle
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from test_refused_checkpoints import Malicious
from torch import Tensor, nn

from drtam.explain import analyze
from models import attention_layers, build_model
from models.published import _reduction, load_published

FOLDER = Path(__file__).parent / "published"
KINDS = {
    "drtam_resnet50_block": ("resnet50", "drtam", 3, 1, 32, "block", "authors"),
    "drtam_resnet18_block": ("resnet18", "drtam", 2, 2, 16, "block", "authors"),
    "drtam_resnet50_stage_released": ("resnet50", "drtam", 3, 1, 16, "stage", "released"),
    "drtam_mobilenet_v2": ("mobilenet_v2", "drtam", 3, 4, 32, "block", "authors"),
    "cbam_resnet50": ("resnet50", "cbam", 3, 1, 16, "block", "paper"),
    "ca_mobilenet_v2": ("mobilenet_v2", "ca", 3, 1, 32, "block", "paper"),
}
State = dict[str, Tensor]


def checkpoint(kind: str) -> State:
    """Random weights of the right size; the two copies in MobileNetV2 hold the same."""
    generator = torch.Generator().manual_seed(3)
    state: State = {}
    for name, shape in json.loads((FOLDER / f"{kind}.json").read_text()).items():
        first = re.sub(r"\.conv\.[12]\.((?:ipa|cpa|channel_emb)\w+\.)", r".drtam_linv3.\1", name)
        if first in state:
            state[name] = state[first]
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = torch.rand(shape, generator=generator) + 0.5
        elif len(shape) == 1:
            state[name] = torch.randn(shape, generator=generator) * 0.3 + ("weight" in name)
        else:
            fan = math.prod(shape[1:])
            state[name] = torch.randn(shape, generator=generator) * (2 / fan) ** 0.5
    return state


def plain(state: State) -> State:
    return {name.removeprefix("module."): value for name, value in state.items()}


def is_attention(name: str) -> bool:
    return bool(re.search(r"drtam|cbam|\.(ipa|cpa)_|channel_embedding|conv\.6\.\w+\d\.", name))


def part(state: State, place: str) -> State:
    return {name.removeprefix(place): v for name, v in state.items() if name.startswith(place)}


def authors_drtam(state: State, n: int, *, released: bool) -> Callable[[Tensor], Tensor]:
    halves = [oracle.RTAM.read_authors(state, k, n, released=released) for k in ("ipa", "cpa")]
    return lambda x: torch.from_numpy(oracle.drtam(oracle.array(x), *halves).output).float()


class Named:
    """The authors' tensors behind the attribute names that the oracle reads."""

    def __init__(self, state: State, **names: str) -> None:
        for ours, theirs in names.items():
            layer = part(state, f"{theirs}.")
            found = nn.BatchNorm1d(1) if "running_mean" in layer else nn.Module()
            for name in ("weight", "bias"):
                if name in layer:
                    setattr(found, name, nn.Parameter(layer[name]))
            for name in ("running_mean", "running_var"):
                if name in layer:
                    setattr(found, name, layer[name])
            setattr(self, ours, found)


def authors_cbam(state: State) -> Callable[[Tensor], Tensor]:
    gates = Named(state, conv="SpatialGate.spatial.conv", norm="SpatialGate.spatial.bn")
    mlp = Named(state, first="ChannelGate.mlp.1", last="ChannelGate.mlp.3")
    gates.mlp = [mlp.first, None, mlp.last]

    def run(x: Tensor) -> Tensor:
        channel, spatial = oracle.cbam(oracle.array(x), gates)
        return torch.from_numpy(oracle.array(x) * channel[:, None, None] * spatial).float()

    return run


def authors_ca(state: State) -> Callable[[Tensor], Tensor]:
    gates = Named(state, reduce="conv1", norm="bn1", height="conv2", width="conv3")

    def run(x: Tensor) -> Tensor:
        h, w = oracle.coordinate(oracle.array(x), gates)
        return torch.from_numpy(oracle.array(x) * h[:, :, None] * w[:, None, :]).float()

    return run


def reference(kind: str, state: State) -> nn.Module:
    """torchvision's network with the authors' attention hooked in."""
    backbone, attention, _, n, _, placement, implementation = KINDS[kind]
    network = getattr(torchvision.models, backbone)(num_classes=10).eval()
    # Both list the backbone's tensors in the same order.
    theirs = {k: v for k, v in state.items() if not is_attention(k)}
    own = network.state_dict()
    assert [v.shape for v in theirs.values()] == [v.shape for v in own.values()]
    network.load_state_dict(dict(zip(own, theirs.values(), strict=True)))

    def attend(module: nn.Module, place: str) -> None:
        weights = part(state, place)
        assert weights, place
        run = {
            "drtam": lambda: authors_drtam(weights, n, released=implementation == "released"),
            "cbam": lambda: authors_cbam(weights),
            "ca": lambda: authors_ca(weights),
        }[attention]()
        module.register_forward_hook(lambda _, __, out: torch.stack([run(x) for x in out]))

    if placement == "stage":
        for stage, name in enumerate(("relu", "layer1", "layer2", "layer3", "layer4")):
            attend(network.get_submodule(name), f"drtam_linv3stage{stage}.")
    elif backbone.startswith("resnet"):
        for name, block in network.named_modules():
            last = {"resnet50": "bn3", "resnet18": "bn2"}[backbone]
            if hasattr(block, last):
                place = {"drtam": "drtam_linv3", "cbam": "cbam"}[attention]
                attend(getattr(block, last), f"{name}.{place}.")
    else:
        for k in range(1 if attention == "drtam" else 2, 18):
            place = "drtam_linv3" if attention == "drtam" else "conv.6"
            attend(network.features[k].conv[-3], f"features.{k}.{place}.")
    return network


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_outputs_are_those_of_the_authors_code(kind):
    state = checkpoint(kind)
    image = torch.randn(1, 3, 64, 32)
    found = load_published(state)
    expected = reference(kind, plain(state))(image)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found(image), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_read_off_the_tensors(kind):
    network = load_published(checkpoint(kind))
    spec = network.spec
    found = (spec.backbone, spec.attention, spec.s, spec.n, spec.r, spec.placement)
    assert (*found, spec.implementation) == KINDS[kind]
    assert spec.num_classes == 10
    assert not network.training
    analysis = analyze(network, torch.randn(1, 3, 64, 64))
    assert list(analysis.layers) == list(attention_layers(network))


@pytest.mark.parametrize("wrap", [plain, lambda s: {"state_dict": s, "epoch": 5, "best": 0.7}])
def test_files_of_torch_save_in_every_wrapping(tmp_path, wrap):
    state = checkpoint("drtam_resnet18_block")
    torch.save(wrap(state), tmp_path / "model.pth")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = load_published(state)(image)
        assert torch.equal(load_published(tmp_path / "model.pth")(image), expected)


def test_safetensors(tmp_path):
    state = plain(checkpoint("drtam_resnet18_block"))
    save_file(state, tmp_path / "model.safetensors")
    assert load_published(tmp_path / "model.safetensors").spec.backbone == "resnet18"


def test_the_other_reading_of_a_row_can_be_asked_for():
    state = checkpoint("drtam_resnet50_stage_released")
    network = load_published(state, implementation="authors")
    assert (network.spec.n, network.spec.implementation) == (4, "authors")
    with pytest.raises(ValueError, match="No S and N give a convolution of 5 inputs where S is 3"):
        load_published(checkpoint("drtam_resnet50_block"), implementation="released")


def test_a_file_with_code_is_refused_and_not_run(tmp_path):
    sentinel = tmp_path / "executed"
    torch.save({"state_dict": Malicious(sentinel)}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match="more than weights, which could run code"):
        load_published(tmp_path / "model.pth")
    assert not sentinel.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is damaged or no file of torch.save"),
        (b"PK\x03\x04 nothing", "is damaged or no file of torch.save"),
        (b"<html>", "holds more than weights|is damaged"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, says):
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        load_published(tmp_path / "model.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"There is no file .*none.pth: check its name"):
        load_published(tmp_path / "none.pth")


def changed(change: Callable[[State], object]) -> State:
    state = plain(checkpoint("drtam_resnet18_block"))
    change(state)
    return state


def differing_copy() -> State:
    state = checkpoint("drtam_mobilenet_v2")
    name = "module.features.5.conv.2.ipa_spatial_encoder.h_conv1d.weight"
    state[name] = state[name] + 1
    return state


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (lambda: torchvision.models.resnet18().state_dict(), "no attention of DRTAM, CBAM or CA"),
        (lambda: {}, "holds no state dict"),
        (lambda: {"epoch": 5}, "holds more than tensors"),
        (lambda: {"fc.weight": torch.zeros(2, 2).to_sparse()}, "holds more than tensors"),
        (lambda: {"fc.weight": torch.zeros(2, 2, device="meta")}, "holds more than tensors"),
        (lambda: changed(lambda s: s.pop("fc.weight")), "has no fc.weight: a backbone without"),
        (lambda: changed(lambda s: s.pop("layer1.0.bn1.bias")), "not fit .*: layer1.0.bn1.bias"),
        (lambda: changed(lambda s: s.update(extra=torch.zeros(2))), "does not fit .*: extra"),
        (lambda: changed(lambda s: s.update({"bn1.bias": torch.zeros(2)})), "fit .*: bn1.bias"),
        (
            lambda: changed(lambda s: [s.pop(k) for k in list(s) if "layer3." in k]),
            "holds none of resnet18, .*mobilenet_v2_050",
        ),
        (lambda: changed(lambda s: s["fc.bias"].fill_(float("nan"))), "NaN .*: fc.bias"),
        (
            lambda: changed(lambda s: s.update({"fc.weight": torch.zeros(1).expand(90_000, 512)})),
            "promises more numbers than it holds",
        ),
        (
            lambda: changed(lambda s: [s.pop(k) for k in list(s) if ".mlp." in k]),
            "lacks the first layer of drtam's MLP",
        ),
        (
            lambda: changed(lambda s: s.update({k: torch.zeros(3) for k in s if "c_conv1d" in k})),
            "holds tensors of other shapes than drtam has",
        ),
        (differing_copy, "two copies of features.5.conv.1.attention.initial.row.weight that"),
    ],
)
def test_what_does_not_fit_is_listed(state, says):
    with pytest.raises(ValueError, match=says):
        load_published(state())


def test_the_oracle_reads_every_tensor_of_a_module():
    state = plain(checkpoint("drtam_resnet50_stage_released"))
    weights = part(state, "drtam_linv3stage0.")
    run = authors_drtam(weights, 1, released=True)
    x = torch.randn(64, 5, 6)
    before = run(x)
    for name, value in weights.items():
        if "num_batches" not in name:
            changed = {**weights, name: value + 0.5}
            assert not np.allclose(authors_drtam(changed, 1, released=True)(x), before), name


@pytest.mark.parametrize(("backbone", "r"), [("mobilenet_v2_050", 64), ("mobilenet_v2", 72)])
def test_r_is_the_one_that_every_layer_has(backbone, r):
    wide = [module.channels for module in attention_layers(build_model(backbone, "cbam")).values()]
    found = _reduction([(max(1, channels // r), channels) for channels in wide], least=1)
    assert [max(1, channels // found) for channels in wide] == [max(1, c // r) for c in wide]
