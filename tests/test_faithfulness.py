"""Deletion, insertion, ROAD, sensitivity and randomised weights against answers known before."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from captum.metrics import sensitivity_max
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from drtam import CBAM, DRTAM
from drtam.explain import (
    analyze,
    deletion,
    faithfulness,
    insertion,
    rank_correlation,
    road,
    sensitivity,
)
from drtam.explain.correlation import constant
from drtam.explain.faithfulness import layer_maps
from drtam.explain.faithfulness_curves import ranking
from drtam.explain.faithfulness_stability import randomised, shuffled
from models import build_model


class Linear(nn.Module):
    """Gives class 0 the probability sum of weights (H, W) times the photo's red."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        probability = (x[:, 0] * self.weights).sum((1, 2)).clamp(0, 1)
        return torch.stack((probability, 1 - probability), 1).log()


def grey(values: Tensor) -> Tensor:
    return values.expand(1, 3, *values.shape)


@pytest.fixture
def blob() -> tuple[Linear, Tensor, Tensor]:
    """A network that needs a bright 6 x 6 square, a photo of it, the true map."""
    important = torch.zeros(24, 20)
    important[5:11, 8:14] = 1
    photo = grey(0.2 + 0.7 * important + 0.1 * torch.rand(24, 20))
    return Linear(important / 36), photo, important


def test_a_gradcam_that_is_0_everywhere_has_no_numbers():
    head = nn.Linear(8, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 8))
    stem = nn.Conv2d(3, 8, 4, stride=4)
    network = nn.Sequential(stem, nn.ReLU(), DRTAM(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    image = torch.rand(1, 3, 48, 48)
    for target, exists in ((0, False), (1, True)):  # against class 0 speaks all that there is
        found = faithfulness(network.eval(), image, "2", target, steps=2)
        areas = (found.deletion.area, found.insertion.area, found.road.area)
        table = torch.stack((*areas, found.sensitivity, found.randomised), 1)
        row = found.names.index("gradcam")
        assert table[row].isfinite().all() == exists
        assert table[row].isnan().all() != exists
        others = [k for k in range(len(found.names)) if k != row]
        assert table[others].isfinite().all()


def test_areas_of_four_pixels_are_those_of_hand():
    network = Linear(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    photo = grey(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))  # its mean is 1/4
    true = torch.tensor([[4.0, 3.0], [2.0, 1.0]])
    found = deletion(network, photo, torch.stack((true, -true)), 0, steps=4)
    expected = torch.tensor([[1, 0.25, 0.25, 0.25, 0.25], [1, 1, 1, 1, 0.25]])
    torch.testing.assert_close(found.probabilities, expected)
    # (1 + 1/4) / 2 / 4 + 3 / 16 and 3 / 4 + (1 + 1/4) / 2 / 4
    torch.testing.assert_close(found.area, torch.tensor([0.34375, 0.90625]))
    other = deletion(network, photo, true[None], 1, steps=4)
    torch.testing.assert_close(other.area, 1 - found.area[:1])


@pytest.mark.parametrize("curve", [deletion, insertion])
def test_curves_are_those_of_a_loop_over_pixels(blob, curve):
    network, photo, _ = blob
    values = torch.rand(24, 20)
    found = curve(network, photo, values[None], 0, steps=5)
    mean = np.broadcast_to(photo.mean((2, 3)).numpy()[..., None, None], photo.shape)
    if curve is deletion:
        start, end = photo.numpy(), mean
    else:
        start, end = gaussian_filter(photo.numpy(), (0, 0, 1, 1)), photo.numpy()  # 20 / 20
    order = sorted(np.ndindex(24, 20), key=lambda place: -values[place])
    for k, probability in enumerate(found.probabilities[0]):
        mixed = start.copy()
        for i, j in order[: k * 480 // 5]:
            mixed[:, :, i, j] = end[:, :, i, j]
        expected = (mixed[0, 0] * network.weights.detach().numpy()).sum()
        assert float(probability) == pytest.approx(expected, abs=1e-5)
    areas = [(a + b) / 10 for a, b in zip(found.probabilities[0], found.probabilities[0][1:])]  # noqa: B905
    assert float(found.area) == pytest.approx(float(sum(areas)), abs=1e-6)


def test_the_true_map_beats_a_random_one_and_its_opposite_loses(blob):
    network, photo, true = blob
    maps = torch.stack((true, torch.rand(24, 20), -true))
    gone = deletion(network, photo, maps, 0).area
    shown = insertion(network, photo, maps, 0).area
    imputed = road(network, photo, maps, 0).area
    assert gone[0] < gone[1] < gone[2]
    assert shown[0] > shown[1] > shown[2]
    assert imputed[0] > 0.1
    assert abs(imputed[1]) < imputed[0] / 2
    torch.testing.assert_close(imputed[2], -imputed[0], atol=0.02, rtol=0)


def test_equal_values_are_taken_in_a_random_order_the_same_for_the_same_seed():
    flat = torch.zeros(1, 3, 3)
    first, again, other = (ranking(flat, (40, 30), seed).flatten() for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first.sort().values, torch.arange(1200))
    assert abs(rank_correlation(first.view(40, 30).float(), other.view(40, 30).float())) < 0.1


def test_a_map_is_scaled_to_the_photo_bilinearly():
    small = torch.rand(1, 3, 5)
    large = nn.functional.interpolate(small[None], (12, 20), mode="bilinear")[0, 0]
    ranks = ranking(small, (12, 20), 0)[0]
    assert large.flatten()[ranks.flatten() == 0] == large.max()
    assert rank_correlation(-ranks.float(), large) > 0.999


def test_road_of_a_large_photo_replaces_whole_cells():
    network = Linear(torch.full((192, 192), 1 / 192**2))
    photo = grey(torch.rand(192, 192))
    found = road(network, photo, torch.rand(2, 6, 6), 0, steps=4)
    assert found.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.probabilities.abs().max() < 0.02  # everything counts alike


@pytest.mark.parametrize("channels", [16, 128])
def test_a_map_that_differs_by_rounding_alone_ranks_nothing(channels):
    module = CBAM(channels)
    module.start_at(0.98)
    maps = module.trace(torch.randn(1, channels, 7, 7)).attention().mean(1).detach()
    assert constant(maps).all()
    assert math.isnan(rank_correlation(maps[0], torch.rand(7, 7)))
    assert not constant(torch.linspace(0.98, 0.981, 49).view(1, 7, 7)).any()


def test_sensitivity_is_that_of_captum():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Tanh())
    photo, draws = torch.rand(1, 3, 12, 10), 5
    noise = torch.rand((draws, 3, 12, 10), generator=torch.Generator().manual_seed(7)) * 2 - 1

    def first(images: Tensor | tuple[Tensor, ...]) -> Tensor:  # captum passes either
        return images[0] if isinstance(images, tuple) else images

    found = sensitivity(network, photo, radius=0.2, draws=draws, seed=7)
    for channel in (0, 1):

        def centred(images: Tensor | tuple[Tensor, ...], channel: int = channel):
            maps = network(first(images))[:, channel]
            return (maps - maps.mean((1, 2), keepdim=True),)

        expected = sensitivity_max(
            centred,
            photo,
            perturb_func=lambda images: (first(images) + 0.2 * noise,),
            n_perturb_samples=draws,
        )
        torch.testing.assert_close(found[channel : channel + 1].detach(), expected)


def test_a_map_that_ignores_the_photo_is_not_sensitive():
    fixed = torch.rand(2, 4, 4)
    photo = torch.rand(1, 3, 8, 8)
    assert not sensitivity(lambda x: fixed.expand(len(x), 2, 4, 4), photo).any()
    levels = torch.arange(4.0)[:, None, None, None]  # the same everywhere, another with noise
    assert not sensitivity(lambda _: levels.expand(4, 2, 4, 4), photo).any()


def test_shuffled_weights_change_grad_cam_but_no_map_that_ignores_them(lion_tensor):
    network = build_model("resnet18", "drtam", num_classes=10, seed=0).eval()
    fixed = torch.rand(24, 24)

    def explain(model: nn.Module) -> Tensor:
        return torch.stack((layer_maps(model, lion_tensor, "layer1.1", 3)["gradcam"][0], fixed))

    before = copy.deepcopy(network.state_dict())
    found = torch.stack([randomised(explain, network, seed=seed) for seed in range(3)])
    assert found[:, 0].mean().abs() < 0.5
    assert found[:, 1].tolist() == pytest.approx([1.0] * 3)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    other = shuffled(network, 0).state_dict()
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter.flatten().sort().values, other[name].flatten().sort().values)
    assert not torch.equal(other["layer1.0.conv1.weight"], before["layer1.0.conv1.weight"])


def test_the_photo_is_left_alone_in_any_context():
    network = nn.Sequential(nn.ReLU(inplace=True), DRTAM(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    photo = torch.randn(1, 3, 24, 20, requires_grad=True)
    before = photo.detach().clone()
    for context in (torch.inference_mode(), torch.enable_grad()):
        with context:
            faithfulness(network, photo, "1", steps=2, draws=1)
    assert torch.equal(photo, before)


@pytest.mark.parametrize("attention", ["drtam", "cbam", "ca"])
def test_all_maps_of_a_layer_are_judged_and_the_network_is_left_alone(attention, lion_tensor):
    network = build_model("resnet18", attention, num_classes=10, seed=0).train()
    before, stages = copy.deepcopy(network.state_dict()), []
    found = faithfulness(
        network, lion_tensor, "layer4.1", steps=3, progress=lambda *stage: stages.append(stage)
    )
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    analysis = analyze(network, lion_tensor)
    layer = analysis.layers["layer4.1"]
    own = [*layer.statistics, "gradcam"]
    assert found.names == (*own, "random", "centre")
    assert found.target == int(analysis.target[0])
    torch.testing.assert_close(found.maps[0], layer.trace.spatial()[0])
    torch.testing.assert_close(found.maps[len(own) - 1], layer.gradcam[0])
    assert found.maps[-1].argmax() == 4  # of 3 x 3
    whole = analysis.probabilities[0, found.target]
    for curves, side in ((found.deletion, 0), (found.insertion, -1)):
        torch.testing.assert_close(curves.probabilities[:, side], whole.expand(len(own) + 2))
    assert found.sensitivity[-2:].tolist() == [0, 0]
    assert found.randomised[-2:].tolist() == [1, 1]
    assert len(stages) == 6
    alone = deletion(network, lion_tensor, found.maps[:1], found.target, steps=3)
    torch.testing.assert_close(alone.probabilities, found.deletion.probabilities[:1])


def test_a_segmentation_is_judged_by_its_mean_probability():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), DRTAM(8), nn.Conv2d(8, 4, 1)).eval()
    photo = torch.randn(1, 3, 32, 32)
    found = faithfulness(network, photo, "1", 2, steps=2)
    with torch.no_grad():
        expected = network(photo).softmax(1)[0, 2].mean()
    torch.testing.assert_close(found.deletion.probabilities[0, 0], expected)


class Boxes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = CBAM(3, r=1)

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        self.gate(x)
        return [{"labels": torch.tensor([1]), "scores": torch.tensor([0.5])}]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": Boxes()}, "classifiers and segmentations"),
        ({"layer": "layer9"}, "layer must be one of 1, not 'layer9'"),
        ({"target": 4}, "target must be a whole number from 0 to 3, not 4"),
        ({"steps": 1}, "steps must be a whole number from 2 to 100, not 1"),
        ({"draws": 0}, "draws must be a whole number of at least 1"),
        ({"image": torch.rand(2, 3, 16, 16)}, r"\(1, 3, H, W\), not \(2, 3, 16, 16\)"),
    ],
)
def test_what_cannot_be_judged_is_refused(change, says):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), DRTAM(8), nn.Conv2d(8, 4, 1))
    arguments = {"model": network, "image": torch.rand(1, 3, 16, 16), "layer": "1", "target": 0}
    with pytest.raises(ValueError, match=says):
        faithfulness(**(arguments | change))


@pytest.mark.parametrize("curve", [deletion, insertion, road])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"target": -1}, "target must be a whole number from 0 to 3, not -1"),
        ({"steps": 1}, "steps must be a whole number of at least 2, not 1"),
        ({"image": torch.rand(2, 3, 16, 16)}, r"\(1, 3, H, W\), not \(2, 3, 16, 16\)"),
        ({"image": torch.rand(3, 16, 16)}, r"\(1, 3, H, W\), not \(3, 16, 16\)"),
    ],
)
def test_curves_refuse_what_they_do_not_mean(curve, change, says):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    known = {"image": torch.rand(1, 3, 16, 16), "maps": torch.rand(1, 4, 4), "target": 0}
    with pytest.raises(ValueError, match=says):
        curve(network, **(known | change))
