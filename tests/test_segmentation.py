"""FCN is torchvision's with MMSegmentation's head, and with attention in its ResNet."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.segmentation import fcn_resnet50

from models import attention_layers, build_model


def silence(network: nn.Module) -> None:
    """Replace every attention module by the identity."""
    for module in list(network.modules()):
        if hasattr(module, "attention"):
            module.attention = nn.Identity()


@torch.no_grad()
@pytest.mark.parametrize(
    ("attention", "placement"), [(None, "block"), ("drtam", "block"), ("cbam", "stage")]
)
def test_without_attention_the_features_are_torchvisions(attention, placement):
    reference = fcn_resnet50(weights=None, weights_backbone=None, num_classes=4, aux_loss=True)
    network = build_model("fcn_resnet50", attention, placement=placement, num_classes=4)
    keys = network.load_state_dict(reference.state_dict(), strict=False)
    ours = ("classifier.convs.", "classifier.concatenated.", "classifier.scores.")
    assert all(k.startswith(ours) or ".attention." in k for k in keys.missing_keys)
    assert all(k.startswith("classifier.") for k in keys.unexpected_keys)
    silence(network)
    image = torch.randn(1, 3, 64, 48)
    found, expected = network.eval()(image), reference.eval()(image)
    torch.testing.assert_close(found["aux"], expected["aux"])
    features = reference.backbone(image)["out"]
    torch.testing.assert_close(network.backbone(image)["out"], features)
    assert features.shape == (1, 2048, 8, 6)  # stride 8


def naive(head: nn.Module, x: Tensor) -> Tensor:
    """Convolutions, norms and ReLUs of the head, one after the other."""

    def layer(part: nn.Sequential, x: Tensor) -> Tensor:
        return part[1](nn.functional.conv2d(x, part[0].weight, padding=1)).clamp(min=0)

    y = layer(head.convs[1], layer(head.convs[0], x))
    y = layer(head.concatenated, torch.cat((x, y), dim=1))
    weight, bias = head.scores.weight[:, :, 0, 0], head.scores.bias
    return torch.einsum("kc,bchw->bkhw", weight, y) + bias[:, None, None]


@torch.no_grad()
def test_the_head_is_two_convolutions_and_one_over_both_ends():
    network = build_model("fcn_resnet50", num_classes=5, seed=0).eval()
    image = torch.randn(2, 3, 40, 48)
    scores = naive(network.classifier, network.backbone(image)["out"])
    expected = nn.functional.interpolate(scores, size=(40, 48), mode="bilinear")
    torch.testing.assert_close(network(image)["out"], expected, rtol=1e-4, atol=1e-5)
    shapes = [tuple(m.weight.shape) for m in network.modules() if isinstance(m, nn.Conv2d)][53:]
    assert shapes == [
        (512, 2048, 3, 3),
        (512, 512, 3, 3),
        (512, 2560, 3, 3),
        (5, 512, 1, 1),
        (256, 1024, 3, 3),
        (5, 256, 1, 1),
    ]


@pytest.mark.parametrize(("attention", "placement"), [("drtam", "block"), ("ca", "stage")])
def test_both_heads_score_every_pixel_and_train_every_attention(attention, placement):
    network = build_model("fcn_resnet50", attention, placement=placement, num_classes=3, seed=0)
    scores = network(torch.randn(2, 3, 40, 33))
    assert {name: out.shape for name, out in scores.items()} == {
        "out": (2, 3, 40, 33),
        "aux": (2, 3, 40, 33),
    }
    sum(out.square().mean() for out in scores.values()).backward()
    for module in attention_layers(network).values():
        gradients = [parameter.grad for parameter in module.parameters()]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.abs().sum() > 0 for gradient in gradients)


def test_layers_are_named_after_their_blocks_or_stages():
    with torch.device("meta"):
        blocks = build_model("fcn_resnet101", "ca")
        stages = build_model("fcn_resnet50", "ca", placement="stage")
    names = list(attention_layers(blocks))
    assert len(names) == 33
    assert (names[0], names[-1]) == ("backbone.layer1.0", "backbone.layer4.2")
    parts = ("relu", "layer1", "layer2", "layer3", "layer4")
    assert list(attention_layers(stages)) == [f"backbone.{part}" for part in parts]
