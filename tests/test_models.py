"""Networks are torchvision's, with attention where the paper puts it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torchvision
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from drtam import DRTAM
from models import ATTENTIONS, CLASSIFIERS, attention_layers, build_model
from models.placement import attend_blocks

WIDTHS = {"mobilenet_v2_075": 0.75, "mobilenet_v2_050": 0.5}
KINDS = [(name, "drtam") for name in CLASSIFIERS] + [
    (name, attention) for name in ("resnet18", "mobilenet_v2") for attention in ("cbam", "ca")
]


def torchvisions(backbone: str) -> nn.Module:
    if backbone in WIDTHS:
        return torchvision.models.mobilenet_v2(width_mult=WIDTHS[backbone]).eval()
    return getattr(torchvision.models, backbone)().eval()


def silence(network: nn.Module) -> None:
    """Replace every attention module by the identity."""
    for module in list(network.modules()):
        if hasattr(module, "attention"):
            module.attention = nn.Identity()


@torch.no_grad()
def assert_same(network: nn.Module, reference: nn.Module) -> None:
    image = torch.randn(1, 3, 64, 48)
    torch.testing.assert_close(network(image), reference(image), rtol=1e-5, atol=0)


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenet_v2_075"])
def test_a_plain_network_is_torchvisions(backbone):
    reference, network = torchvisions(backbone), build_model(backbone).eval()
    network.load_state_dict(reference.state_dict())
    assert_same(network, reference)


@pytest.mark.parametrize(("backbone", "attention"), KINDS)
def test_without_its_attention_a_network_is_torchvisions(backbone, attention):
    reference, network = torchvisions(backbone), build_model(backbone, attention).eval()
    keys = network.load_state_dict(reference.state_dict(), strict=False)
    assert not keys.unexpected_keys
    assert keys.missing_keys
    assert all(".attention." in key for key in keys.missing_keys)
    with pytest.raises(AssertionError, match="not close"):
        assert_same(network, reference)
    silence(network)
    assert_same(network, reference)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_without_its_stage_attention_a_network_is_torchvisions(backbone):
    reference = torchvisions(backbone)
    network = build_model(backbone, "drtam", placement="stage").eval()
    keys = network.load_state_dict(reference.state_dict(), strict=False)
    assert not keys.unexpected_keys
    assert all(".attention." in key for key in keys.missing_keys)
    silence(network)
    assert_same(network, reference)


def test_a_dilated_resnet_with_frozen_norms_can_be_attended():
    def dilated() -> nn.Module:
        return torchvision.models.resnet50(
            replace_stride_with_dilation=[False, True, True], norm_layer=FrozenBatchNorm2d
        ).eval()

    reference, network = dilated(), dilated()
    network.load_state_dict(reference.state_dict())
    attend_blocks(network, nn.Identity)
    assert_same(network, reference)


@pytest.mark.parametrize("block", ["layer1.0", "layer2.0", "layer2.1"])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_attention_stands_between_the_last_norm_and_the_residual_add(backbone, block):
    block = build_model(backbone, "drtam", seed=3).eval().get_submodule(block)
    x = torch.randn(2, block.conv1.in_channels, 12, 10)
    with torch.no_grad():
        out = block.bn2(block.conv2(block.bn1(block.conv1(x)).clamp(min=0)))
        if backbone == "resnet50":
            out = block.bn3(block.conv3(out.clamp(min=0)))
        shortcut = x if block.downsample is None else block.downsample(x)
        expected = (block.attention(out) + shortcut).clamp(min=0)
        torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_in_mobilenet_attention_gates_the_expanded_features(attention):
    block = build_model("mobilenet_v2", attention, seed=3).eval().features[4]
    expand, depthwise, project, norm = block.conv
    x = torch.randn(2, 24, 12, 10)
    with torch.no_grad():
        expanded = depthwise[1](depthwise[0](expand(x))).clamp(0, 6)
        assert expanded.shape == (2, 144, 6, 5)  # six times 24, at stride 2
        expected = norm(project(depthwise.attention(expanded)))
        torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_layers_are_named_after_their_blocks(attention):
    names = list(attention_layers(build_model("resnet50", attention)))
    blocks = {1: 3, 2: 4, 3: 6, 4: 3}
    assert names == [f"layer{s}.{b}" for s, count in blocks.items() for b in range(count)]


def test_layers_of_mobilenet_are_its_depthwise_convolutions():
    later = [f"features.{block}.conv.1" for block in range(2, 18)]
    layers = {
        kind: list(attention_layers(build_model("mobilenet_v2", kind))) for kind in ATTENTIONS
    }
    every = ["features.1.conv.0", *later]
    assert layers == {"drtam": every, "cbam": every, "ca": later}


@pytest.mark.parametrize(
    ("backbone", "placement"),
    [("resnet18", "block"), ("resnet18", "stage"), ("mobilenet_v2_050", "block")],
)
def test_layers_are_in_forward_order(backbone, placement):
    network = build_model(backbone, "drtam", placement=placement).eval()
    ran = []
    for name, module in attention_layers(network).items():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    network(torch.randn(1, 3, 32, 32))
    assert ran == list(attention_layers(network))


def test_stage_placement_gates_the_stem_and_each_stage():
    network = build_model("resnet18", "drtam", placement="stage", seed=0).eval()
    layers = attention_layers(network)
    assert list(layers) == ["relu", "layer1", "layer2", "layer3", "layer4"]
    assert [module.channels for module in layers.values()] == [64, 64, 128, 256, 512]
    reference = torchvisions("resnet18")
    reference.load_state_dict(network.state_dict(), strict=False)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        out = layers["relu"](reference.relu(reference.bn1(reference.conv1(image))))
        out = reference.maxpool(out)
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            out = layers[stage](getattr(reference, stage)(out))
        expected = reference.fc(out.mean((2, 3)))
        torch.testing.assert_close(network(image), expected)


def test_a_seed_makes_a_network_reproducible_and_nothing_else():
    torch.manual_seed(7)
    undisturbed = torch.rand(3)
    torch.manual_seed(7)
    first = build_model("resnet18", "drtam", seed=5).state_dict()
    assert torch.equal(torch.rand(3), undisturbed)
    second = build_model("resnet18", "drtam", seed=5).state_dict()
    other = build_model("resnet18", "drtam", seed=6).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_networks_that_are_built_at_once_have_the_weights_of_their_seeds():
    def made(seed: int) -> torch.Tensor:
        return torch.cat([p.flatten() for p in build_model("resnet18", seed=seed).parameters()])

    alone = [made(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(made, range(4)))
    assert all(map(torch.equal, together, alone))


def test_a_seed_never_reaches_the_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("seeded a GPU"))
    build_model("resnet18", seed=5)


def test_without_a_seed_torchs_generator_decides():
    torch.manual_seed(7)
    first = build_model("resnet18", "drtam").conv1.weight
    assert not torch.equal(first, build_model("resnet18", "drtam").conv1.weight)
    torch.manual_seed(7)
    assert torch.equal(first, build_model("resnet18", "drtam").conv1.weight)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2_050"])
def test_every_attention_sits_in_the_same_backbone(backbone):
    plain = build_model(backbone, seed=5).state_dict()
    for attention in ATTENTIONS:
        network = build_model(backbone, attention, seed=5).state_dict()
        assert all(torch.equal(network[name], value) for name, value in plain.items())


@pytest.mark.parametrize("seed", [None, 5])
def test_a_network_is_built_on_the_default_device(seed):
    with torch.device("meta"):
        network = build_model("resnet18", "drtam", seed=seed)
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}
    module = network.layer1[0].attention
    assert module.initial.mlp[0].weight is module.complement.mlp[0].weight


@pytest.mark.parametrize("size", [(32, 32), (97, 65), (33, 250)])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2_050"])
def test_odd_and_small_images_are_classified(backbone, attention, size):
    network = build_model(backbone, attention, s=5, n=7, num_classes=4).eval()
    scores = network(torch.randn(2, 3, *size))
    assert scores.shape == (2, 4)
    assert scores.isfinite().all()


def test_arguments_reach_the_modules_and_the_spec():
    network = build_model("resnet18", "drtam", s=2, n=5, r=16, num_classes=9)
    for module in attention_layers(network).values():
        assert isinstance(module, DRTAM)
        assert (module.s, module.n, module.r) == (2, 5, 16)
    spec = network.spec
    assert (spec.backbone, spec.attention, spec.s, spec.n, spec.r) == (
        "resnet18",
        "drtam",
        2,
        5,
        16,
    )
    assert (spec.placement, spec.num_classes) == ("block", 9)
    assert {
        module.r for module in attention_layers(build_model("resnet18", "ca", r=8)).values()
    } == {8}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"backbone": "vgg16"}, "backbone must be one of 'resnet18', .*_resnet101', not 'vgg16'"),
        ({"attention": "se"}, "attention must be one of None, 'drtam', 'cbam', 'ca', not 'se'"),
        ({"s": 17}, "s must be a whole number from 1 to 16, not 17"),
        ({"n": 0}, "n must be a whole number from 1 to 64, not 0"),
        ({"r": 2.5}, "r must be a whole number from 1 to 128, not 2.5"),
        ({"num_classes": 10**9}, "num_classes must be a whole number from 1 to 100000"),
        ({"seed": -1}, "seed must be a whole number from 0 to"),
        ({"placement": "neck"}, "placement must be one of 'block', 'stage', not 'neck'"),
        ({"backbone": "mobilenet_v2", "placement": "stage"}, "'stage' is for ResNet"),
    ],
)
def test_wrong_arguments_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        build_model(**{"backbone": "resnet18", "attention": "drtam", **arguments})
