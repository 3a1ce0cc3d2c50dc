"""Parameters and operations, against counters that work differently."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from drtam import CBAM, DRTAM, CoordinateAttention
from models import ATTENTIONS, build_model
from models.complexity import complexity

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)


def on_meta(*arguments: str) -> nn.Module:
    with torch.device("meta"):
        return build_model(*arguments).eval()


@pytest.mark.parametrize(
    ("backbone", "attention"),
    [
        *(("resnet18", attention) for attention in (None, *ATTENTIONS)),
        *(("resnet50", "drtam"), ("mobilenet_v2", "cbam"), ("mobilenet_v2", "ca")),
    ],
)
def test_multiply_accumulates_are_those_of_torchs_own_counter(backbone, attention):
    network = on_meta(backbone, attention)
    with FlopCounterMode(display=False) as reference:
        network(torch.empty(1, 3, 96, 64, device="meta"))
    flops = reference.get_flop_counts()["Global"]
    products = sum(count for op, count in flops.items() if op is not torch.ops.aten.bmm)
    ours = complexity(network, (96, 64)).by_layer
    weighted = [path for path, m in network.named_modules() if isinstance(m, WEIGHTED)]
    assert sum(ours[path] for path in weighted) * 2e9 == pytest.approx(products, rel=1e-12)


def products(counted: Mapping[str, float], part: str = "") -> float:
    """Multiply-accumulates in a part, by its layers with weights: all that torch counts."""
    return sum(cost for path, cost in counted.items() if path.startswith(part)) * 1e9


def weighted_only(network: nn.Module, size: tuple[int, int]) -> dict[str, float]:
    found = complexity(network, size).by_layer
    weighted = (*WEIGHTED, nn.ConvTranspose2d)
    return {
        path: x for path, x in found.items() if isinstance(network.get_submodule(path), weighted)
    }


@torch.no_grad()
@pytest.mark.parametrize("attention", [None, "ca"])
def test_a_detector_costs_what_torch_counts_when_it_finds_1000_boxes_and_100_masks(attention):
    network = build_model("maskrcnn_resnet18", attention, num_classes=3, seed=0).eval()
    ours = weighted_only(network, (96, 64))
    network.transform = GeneralizedRCNNTransform(96, 96, [0.5] * 3, [0.25] * 3)
    network.rpn._post_nms_top_n = {"testing": 20}
    network.roi_heads.detections_per_img = 4
    seen = {}
    for head in ("box_head", "mask_head"):
        part = network.roi_heads.get_submodule(head)
        part.register_forward_hook(lambda _, x, __, head=head: seen.update({head: len(x[0])}))
    with FlopCounterMode(display=False) as reference:
        network([torch.rand(3, 96, 64)])
    flops = {
        path.partition(".")[2]: sum(by_kind.values()) / 2
        for path, by_kind in reference.get_flop_counts().items()
    }
    assert products(ours, "backbone.") == pytest.approx(flops["backbone"], rel=1e-12)
    assert products(ours, "rpn.") == pytest.approx(flops["rpn"], rel=1e-12)
    for part, count in (("box", 1000), ("mask", 100)):
        found = sum(flops[f"roi_heads.{part}_{end}"] for end in ("head", "predictor"))
        scaled = found * count / seen[f"{part}_head"]
        assert products(ours, f"roi_heads.{part}_") == pytest.approx(scaled, rel=1e-12)


@torch.no_grad()
@pytest.mark.parametrize(("attention", "placement"), [(None, "block"), ("ca", "stage")])
def test_an_fcn_costs_what_torch_counts_without_the_auxiliary_head(attention, placement):
    with torch.device("meta"):
        network = build_model("fcn_resnet50", attention, placement=placement).eval()
    with FlopCounterMode(display=False) as reference:
        network(torch.empty(1, 3, 96, 64, device="meta"))
    flops = {path: sum(kinds.values()) / 2 for path, kinds in reference.get_flop_counts().items()}
    ours = weighted_only(network, (96, 64))
    for part in ("backbone", "classifier"):
        assert products(ours, part) == pytest.approx(flops[f"FCN.{part}"], rel=1e-12)
    assert products(ours) == pytest.approx(flops["FCN"] - flops["FCN.aux_classifier"], rel=1e-12)


def test_layers_of_a_detector_are_named_as_in_the_network():
    with torch.device("meta"):
        network = build_model("maskrcnn_resnet50", "drtam")
    found = complexity(network)
    paths = list(found.by_layer)
    assert paths[0] == "backbone.body.conv1"
    assert paths[-1] == "roi_heads.mask_predictor.mask_fcn_logits"
    assert all(network.get_submodule(path) is not None for path in paths)
    assert found.by_layer["roi_heads.box_head.fc7"] == 1000 * 1024 * 1024 / 1e9


def layer_counter(network: nn.Module, size: tuple[int, int]) -> int:
    """mmcv's counter for the layers of a plain backbone, without biases."""
    counts = []

    def count(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        x = inputs[0]
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] * module.kernel_size[1]
            counts.append(output.numel() * kernel * module.in_channels // module.groups)
        elif isinstance(module, nn.Linear):
            counts.append(module.in_features * module.out_features)
        elif isinstance(module, nn.BatchNorm2d):
            counts.append(2 * x.numel())
        elif isinstance(module, nn.ReLU | nn.MaxPool2d | nn.AdaptiveAvgPool2d):
            counts.append(x.numel())

    for module in network.modules():
        module.register_forward_hook(count)
    network(torch.empty(1, 3, *size, device="meta"))
    return sum(counts)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet101"])
def test_a_plain_resnet_costs_what_a_counter_of_layers_says(backbone):
    ours = complexity(on_meta(backbone), (96, 64)).gflops
    assert ours * 1e9 == pytest.approx(layer_counter(on_meta(backbone), (96, 64)), rel=1e-12)


class Image(nn.Module):
    """Gives an attention module of 3 channels the image."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x)


def test_drtam_costs_its_means_products_and_norms():
    c, h, w, s, n, hidden = 3, 12, 10, 2, 3, 8
    descriptors = 3 * c * h * w
    strips = (c * h + c * w) + (c * h + c * w) + 2 * h * w  # for the channels, h and w
    mixing = 4 * s * c + 3 * (s + n + 1) * (h + w)
    mlp = 2 * c * hidden + hidden
    norms = 2 * (h + w)
    found = complexity(Image(DRTAM(c, s=s, n=n)), (h, w))
    assert found.gflops * 1e9 == pytest.approx(descriptors + 2 * (strips + mixing + mlp + norms))


def test_coordinate_attention_costs_its_means_products_norm_and_hard_swish():
    c, h, w, hidden = 3, 12, 10, 8
    products = 2 * c * hidden * (h + w)
    expected = 2 * c * h * w + products + 3 * hidden * (h + w)
    found = complexity(Image(CoordinateAttention(c)), (h, w))
    assert found.gflops * 1e9 == pytest.approx(expected)


def test_cbam_costs_its_products_norm_and_relus_but_no_pooling():
    c, h, w, hidden = 3, 12, 10, 1
    mlp = 2 * c * hidden + hidden
    expected = 2 * mlp + 2 * 49 * h * w + 2 * h * w
    assert complexity(Image(CBAM(c)), (h, w)).gflops * 1e9 == pytest.approx(expected)


def test_a_transposed_convolution_counts_each_input():
    found = complexity(Image(nn.ConvTranspose2d(3, 5, kernel_size=2, stride=2)), (6, 4))
    assert found.by_layer == {"attention": 6 * 4 * 3 * 5 * 4 / 1e9}


@pytest.mark.parametrize(
    "module",
    [nn.AvgPool2d(2), nn.MaxPool2d(2), nn.LeakyReLU(), nn.ELU(), nn.GELU(), nn.SiLU(), nn.ReLU6()],
)
def test_activations_and_pools_cost_what_they_read(module):
    assert complexity(Image(module), (6, 4)).by_layer == {"attention": 6 * 4 * 3 / 1e9}


def test_operations_belong_to_the_module_they_run_in():
    found = complexity(on_meta("resnet18", "drtam"), (64, 96))
    assert found.by_layer["conv1"] == 32 * 48 * 64 * 3 * 49 / 1e9
    assert found.by_layer["bn1"] == 2 * 32 * 48 * 64 / 1e9
    assert found.by_layer["layer1.0.attention"] == 3 * 64 * 16 * 24 / 1e9  # the descriptors
    assert found.by_layer["layer1.0.attention.initial.mlp.0"] == 2 * 64 * 8 / 1e9  # used twice
    assert "layer1.0" not in found.by_layer
    assert next(iter(found.by_layer)) == "conv1"
    assert list(found.by_layer)[-1] == "fc"


def test_the_mlp_that_both_maps_share_counts_once():
    mlp = 3 * 8 + 8 + 8 * 3 + 3
    strips = 4 * 3 + 2 * (3 * (3 + 1 + 1)) + 2 * 2  # Eqn 5, 10 and 11
    assert complexity(Image(DRTAM(3))).params == mlp + 2 * strips


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_network_is_left_alone(dtype):
    network = build_model("resnet18", "drtam", seed=0).to(dtype)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.random.get_rng_state()
    found = complexity(network, (64, 96))
    assert found == complexity(on_meta("resnet18", "drtam"), (64, 96))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_network_that_fails_leaves_nothing_behind():
    with pytest.raises(RuntimeError):
        complexity(Image(nn.Conv2d(7, 7, 3)))
    assert complexity(Image(nn.Conv2d(3, 1, 1)), (2, 2)).gflops == 12 / 1e9


@pytest.mark.parametrize("size", [(0, 64), (64, -1), (64, 2.5)])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match="must be a whole number of at least 1"):
        complexity(on_meta("resnet18"), size)
