"""Interventions in networks of others, of torchvision and of timm, against edited ones."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import timm
import torch
from edited import MASK, edited, flat_ca, flat_cbam, flat_factor, naive_drtam, same, zero
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
    channel_effects,
    layer_effects,
)
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
    boxes = ablate(detector, lion_tensor.sigmoid(), [Off("complement")])
    assert torch.isfinite(boxes.change).all()
    assert boxes.change != 0


def test_a_class_that_a_detector_never_finds_has_no_log_probability(lion_tensor):
    detector = build_model("maskrcnn_resnet18", "drtam", num_classes=4, seed=0).eval()
    detector.transform.min_size = (96,)
    found = ablate(detector, lion_tensor.sigmoid(), [Off("complement")], target=80)
    assert found.before.probabilities[0, 80] == found.after.probabilities[0, 80] == 0
    assert torch.isnan(found.change).all()
    assert all(layer.gradcam.max() == 0 for layer in found.after.layers.values())
