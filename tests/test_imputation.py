"""What ROAD puts in the place of removed pixels."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d

from drtam.explain.faithfulness_curves import _imputed
from drtam.explain.faithfulness_imputation import impute

NEIGHBOURS = {(i, j): 1 / 6 if 0 in (i, j) else 1 / 12 for i in (-1, 0, 1) for j in (-1, 0, 1)}
del NEIGHBOURS[0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_imputed_pixels_are_the_weighted_means_of_their_neighbours(share, dtype):
    photo, removed = torch.rand(3, 13, 17, dtype=dtype), torch.rand(13, 17) < share
    before = photo.clone()
    filled = impute(photo, removed)
    assert torch.equal(photo, before)
    assert torch.equal(filled[:, ~removed], photo[:, ~removed])
    for i, j in removed.nonzero().tolist():
        near = {
            (i + a, j + b): weight
            for (a, b), weight in NEIGHBOURS.items()
            if 0 <= i + a < 13 and 0 <= j + b < 17
        }
        mean = sum(weight * filled[:, a, b] for (a, b), weight in near.items())
        torch.testing.assert_close(filled[:, i, j] * sum(near.values()), mean)


def test_constant_photos_and_ramps_are_imputed_as_they_were():
    removed = torch.zeros(20, 30, dtype=torch.bool)
    removed[4:15, 3:25] = True
    ramp = torch.linspace(0, 1, 20)[:, None] + torch.linspace(-1, 2, 30)
    photo = torch.stack((ramp, torch.full_like(ramp, 0.3), -ramp))
    torch.testing.assert_close(impute(photo, removed), photo)
    assert torch.equal(impute(photo, removed & False), photo)
    with pytest.raises(ValueError, match="at least one pixel"):
        impute(photo, removed | True)


def test_road_takes_away_the_whole_of_a_cell_that_does_not_divide_the_photo():
    image = torch.zeros(1, 3, 12, 16)
    image[..., 9:12] = 1  # the fourth cell of three pixels
    grid = avg_pool2d(image, 3, ceil_mode=True)
    gone = torch.zeros(grid.shape[2:], dtype=torch.bool)
    gone[:, 3] = True
    found = _imputed(image, grid, gone, 3, torch.Generator().manual_seed(0))
    assert found[..., 9:12].max() < 0.5
    assert torch.equal(found[..., :9], image[0, ..., :9])
    assert torch.equal(found[..., 12:], image[0, ..., 12:])
