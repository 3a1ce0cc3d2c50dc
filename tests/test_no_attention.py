"""A network without attention is explained where others have theirs."""

from __future__ import annotations

import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from drtam import NoAttention, attention_layers
from drtam.explain import analyze
from drtam.explain.export import arrays
from models import build_model
from models.build import with_places


def test_it_passes_everything_on():
    x = torch.randn(2, 8, 5, 4)
    trace = NoAttention(8).trace(x)
    assert trace.output is x
    assert trace.attention().shape == x.shape
    assert trace.spatial().shape == (2, 5, 4)
    assert (trace.attention() == 1).all()
    small = nn.Sequential(
        nn.Conv2d(3, 8, 1), NoAttention(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    stored = arrays(analyze(small, torch.randn(1, 3, 12, 9)))
    assert stored["1/ones"].shape == (12, 9)
    assert (stored["1/map/combined"] == 1).all()
    with pytest.raises(ValueError, match="C=8 channels, not 7"):
        NoAttention(8)(x[:, 1:])
    with pytest.raises(ValueError, match="channels must be a whole number of at least 1"):
        NoAttention(0)


class Beside(nn.Module):
    """X goes through the place, and past it."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.past = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)
        self.place, self.head = NoAttention(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        feature = self.before(x)
        return self.after(self.past(feature), self.place(feature))

    def after(self, past: Tensor, placed: Tensor) -> Tensor:
        return self.head((past + placed).relu().mean((2, 3)))


def test_gradcam_is_of_what_leaves_the_place_alone(lion_tensor):
    network = Beside()
    with torch.no_grad():
        feature = network.before(lion_tensor)
        past = network.past(feature)
    placed = feature.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network.after(past, placed)[0, 2], placed)
    expected = (gradient.mean((2, 3), keepdim=True) * feature).sum(1).relu()
    torch.testing.assert_close(analyze(network, lion_tensor, 2).layers["place"].gradcam, expected)


def test_gradcam_is_captums_at_the_last_norm_of_each_plain_block(lion_tensor):
    plain = build_model("resnet50", num_classes=7, seed=3).eval()
    analysis = analyze(with_places(plain), lion_tensor, target=3)
    torch.testing.assert_close(analysis.logits, plain(lion_tensor).detach())
    for name, layer in analysis.layers.items():
        norm = plain.get_submodule(name).bn3
        reference = LayerGradCam(plain, norm).attribute(
            lion_tensor, target=3, relu_attributions=True
        )
        torch.testing.assert_close(layer.gradcam, reference[:, 0].detach())
        assert (layer.statistics["combined"].mean, layer.added) == (1, None)
    assert any(layer.gradcam.max() > 0 for layer in analysis.layers.values())


@pytest.mark.parametrize(
    ("backbone", "placement"),
    [
        ("resnet18", "block"),
        ("resnet50", "stage"),
        ("mobilenet_v2", "block"),
        ("fcn_resnet50", "stage"),
        ("maskrcnn_resnet18", "block"),
    ],
)
def test_the_places_are_those_of_attention_and_nothing_else_changes(backbone, placement):
    plain = build_model(backbone, placement=placement, num_classes=5, seed=0)
    network = with_places(plain)
    attended = build_model(backbone, "drtam", placement=placement, num_classes=5, seed=0)
    assert list(attention_layers(network)) == list(attention_layers(attended))
    assert list(network.state_dict()) == list(plain.state_dict())
    assert attention_layers(plain) == {}
