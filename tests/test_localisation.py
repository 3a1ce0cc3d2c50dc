"""How well a map finds the labelled object, by its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from shapes import photo
from torch import nn

from drtam import DRTAM
from drtam.explain import analyze
from experiments.localisation import CENTRE, box_masks, localise, score, spatial_maps
from experiments.photos import Photos

NORMAL = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_box_masks_hold_the_pixels_of_the_box():
    masks = box_masks(torch.tensor([[1.0, 2.0, 4.0, 3.0], [0.0, 0.0, 2.5, 1.4]]), 4)
    expected = np.zeros((2, 4, 4), dtype=bool)
    expected[0, 2, 1:4] = True
    expected[1, 0, 0:2] = True
    np.testing.assert_array_equal(masks.numpy(), expected)


def test_a_map_that_is_the_box_finds_it_and_its_inverse_does_not():
    inside = box_masks(torch.tensor([[2.0, 3.0, 6.0, 8.0]]), 8)
    assert score(inside.float() + 5, inside).tolist() == [[1.0], [1.0], [0.0]]
    assert score(1 - inside.float(), inside).tolist() == [[0.0], [0.0], [0.0]]


def test_a_constant_map_points_nowhere_and_is_spread_evenly():
    inside = box_masks(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), 8)
    for level in (0.0, 0.3):
        pointing, energy, constant = score(torch.full((1, 3, 3), level), inside)
        assert pointing.item() == 0
        assert constant.item() == 1
        assert energy.item() == pytest.approx(16 / 64)


def test_a_coarse_map_points_at_the_centre_of_its_largest_cell():
    maps = torch.zeros(2, 3, 3)
    maps[:, 0, 2] = 1  # its centre is at (10.7, 53.3) of 64 pixels
    inside = box_masks(torch.tensor([[50.0, 8.0, 56.0, 12.0], [60.0, 0.0, 64.0, 4.0]]), 64)
    assert score(maps, inside)[0].tolist() == [1.0, 0.0]


def test_scores_are_those_of_a_loop_over_pixels():
    maps = torch.rand(6, 8, 8)
    boxes = torch.tensor([[0, 0, 8, 3], [2, 2, 5, 8], [7, 7, 8, 8]] * 2).float()
    pointing, energy, constant = score(maps, box_masks(boxes, 8))
    assert not constant.any()
    for b, values in enumerate(maps.numpy()):
        x0, y0, x1, y1 = boxes[b].int().tolist()
        i, j = divmod(int(values.argmax()), 8)
        assert pointing[b] == float(y0 <= i < y1 and x0 <= j < x1)
        lifted = values - values.min()
        assert energy[b] == pytest.approx(lifted[y0:y1, x0:x1].sum() / lifted.sum(), rel=1e-4)


def test_spatial_maps_are_means_over_channels():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), DRTAM(8), nn.AdaptiveAvgPool2d(1))
    network.append(nn.Flatten()).eval()
    layer = analyze(network, torch.randn(2, 3, 32, 40)).layers["1"]
    maps = spatial_maps(layer)
    assert list(maps) == ["combined", "initial", "complement", "gradcam"]
    torch.testing.assert_close(maps["combined"], layer.trace.attention().mean(1))
    torch.testing.assert_close(maps["complement"], layer.trace.complement.map().mean(1))


class Brightness(nn.Module):
    """Its attention follows the photo's brightness by hand-set weights; scores are means."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = DRTAM(3, s=1)
        for half in (self.gate.initial, self.gate.complement):
            for parameter in half.parameters():
                nn.init.zeros_(parameter)
            for conv, norm in ((half.row, half.row_norm), (half.column, half.column_norm)):
                conv.weight.data[0, :, 1] = 1  # no neighbours
                norm.weight.data.fill_(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gate(x).mean((2, 3))


def test_attention_that_follows_the_object_beats_the_baseline():
    random, count, side = np.random.default_rng(1), 40, 32
    images = np.stack([np.asarray(photo("disc", random)) for _ in range(count)])
    bright = images.mean(3) > 100
    corners = [(np.nonzero(b.any(0))[0], np.nonzero(b.any(1))[0]) for b in bright]
    boxes = np.array([(x[0], y[0], x[-1] + 1, y[-1] + 1) for x, y in corners], dtype=np.float32)
    photos = Photos(images, np.zeros(count, dtype=np.int64), boxes, ("a", "b", "c"))
    found = localise(Brightness().eval(), photos, side, *NORMAL, torch.device("cpu"), batch=16)
    assert list(found) == ["", "gate"]
    even, maps = found[""][CENTRE], found["gate"]
    area = np.mean([(x1 - x0) * (y1 - y0) / side**2 for x0, y0, x1, y1 in boxes])
    assert even.energy == pytest.approx(100 * area, rel=1e-3)
    for kind in ("combined", "initial", "complement"):
        assert maps[kind].pointing > 90
        assert maps[kind].energy > 1.5 * even.energy


def test_photos_without_boxes_are_refused():
    photos = Photos(np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1, np.int64), None, ("a",))
    with pytest.raises(ValueError, match="photos must have boxes"):
        localise(Brightness(), photos, 8, *NORMAL, torch.device("cpu"))
