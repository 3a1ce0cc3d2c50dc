"""Mask R-CNN is torchvision's, with attention in its ResNet."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from models import Spec, attention_layers, build_model
from models.detection import freeze_first_stage


def small(model: MaskRCNN) -> MaskRCNN:
    """For images of 64 pixels, and with few boxes, so that it runs in a moment."""
    model.transform = GeneralizedRCNNTransform(64, 64, [0.5] * 3, [0.25] * 3)
    model.rpn._post_nms_top_n = {"training": 16, "testing": 6}
    model.roi_heads.fg_bg_sampler.batch_size_per_image = 8
    model.roi_heads.detections_per_img = 3
    return model


def target() -> dict[str, Tensor]:
    masks = torch.zeros(1, 64, 64, dtype=torch.uint8)
    masks[:, 5:40, 8:50] = 1
    boxes = torch.tensor([[8.0, 5.0, 50.0, 40.0]])
    return {"boxes": boxes, "labels": torch.tensor([1]), "masks": masks}


def assert_same(network: nn.Module, reference: nn.Module) -> None:
    image = torch.rand(3, 64, 64)
    with torch.no_grad():
        (found,), (expected,) = network.eval()([image]), reference.eval()([image])
    assert len(found["boxes"]) > 0
    torch.testing.assert_close(found, expected)


@pytest.fixture(scope="module")
def torchvisions() -> MaskRCNN:
    return small(maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3))


@pytest.mark.parametrize(("attention", "placement"), [(None, "block"), ("drtam", "stage")])
def test_without_its_attention_a_detector_is_torchvisions(torchvisions, attention, placement):
    network = build_model("maskrcnn_resnet50", attention, placement=placement, num_classes=3)
    keys = small(network).load_state_dict(torchvisions.state_dict(), strict=attention is None)
    assert all(".attention." in key for key in keys.missing_keys)
    assert not keys.unexpected_keys
    for module in list(network.modules()):
        if hasattr(module, "attention"):
            module.attention = nn.Identity()
    assert_same(network, torchvisions)


@pytest.mark.parametrize(
    ("attention", "placement"), [("drtam", "block"), ("cbam", "block"), ("ca", "stage")]
)
def test_losses_are_finite_and_reach_every_attention(attention, placement):
    network: Any = build_model(
        "maskrcnn_resnet18", attention, placement=placement, num_classes=3, seed=0
    )
    losses = small(network)([torch.rand(3, 64, 64)], [target()])
    assert len(losses) == 5
    total = sum(losses.values())
    assert total.isfinite()
    total.backward()
    for module in attention_layers(network).values():
        gradients = [parameter.grad for parameter in module.parameters()]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.abs().sum() > 0 for gradient in gradients)


def test_layers_are_named_after_their_blocks_or_stages():
    with torch.device("meta"):
        blocks = build_model("maskrcnn_resnet101", "drtam")
        stages = build_model("maskrcnn_resnet18", "drtam", placement="stage")
    names = list(attention_layers(blocks))
    assert len(names) == 33
    assert (names[0], names[-1]) == ("backbone.body.layer1.0", "backbone.body.layer4.2")
    parts = ("relu", "layer1", "layer2", "layer3", "layer4")
    assert list(attention_layers(stages)) == [f"backbone.body.{part}" for part in parts]


def test_the_stems_attention_runs():
    network: Any = small(build_model("maskrcnn_resnet18", "ca", placement="stage", num_classes=2))
    ran = []
    for name, module in attention_layers(network).items():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    network.eval()([torch.rand(3, 64, 48)])
    assert ran == list(attention_layers(network))


def test_all_of_an_untrained_detector_trains():
    network = build_model("maskrcnn_resnet18", "drtam", num_classes=3)
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("placement", ["block", "stage"])
def test_a_frozen_first_stage_trains_only_its_batch_norms(placement):
    with torch.device("meta"):
        network = build_model("maskrcnn_resnet50", "drtam", placement=placement)
    freeze_first_stage(network)
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    first = ("conv1.", "bn1.", "relu.", "layer1.")
    places = tuple(f"backbone.body.{place}" for place in first)
    norms = ("bn1.", "bn2.", "bn3.", "downsample.1.", "row_norm.", "column_norm.")
    assert frozen == {
        name
        for name, _ in network.named_parameters()
        if name.startswith(places) and not any(norm in name for norm in norms)
    }


def test_a_detector_needs_a_class_besides_the_background():
    with pytest.raises(ValueError, match="num_classes must be a whole number from 2 to"):
        Spec("maskrcnn_resnet50", num_classes=1)
