"""Maps as pictures over the pixels that the network saw."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor

from viz.color import SIGNED_TABLE, TABLE, colorize


def value_range(*maps: Tensor) -> tuple[float, float]:
    """The smallest and the largest value of several maps: their common colour scale."""
    return min(float(m.min()) for m in maps), max(float(m.max()) for m in maps)


def map_picture(
    values: Tensor,
    size: tuple[int, int],
    limits: tuple[float, float] | None = None,
    *,
    signed: bool = False,
) -> Image.Image:
    """A map in colours, at the size of the photo.

    A cell of the map covers the block of pixels that it stands for; values are interpolated
    between the centres of cells.

    Args:
        values: (H, W).
        size: width and height of the picture.
        limits: the values of the first and the last colour; by default the map's own range.
        signed: colours that are neutral in the middle of the limits.
    """
    low, high = limits or value_range(values)
    grid = Image.fromarray(values.detach().float().cpu().numpy())
    scaled = np.asarray(grid.resize(size, Image.Resampling.BILINEAR))
    return Image.fromarray(colorize(scaled, low, high, SIGNED_TABLE if signed else TABLE))


def overlay(
    photo: Image.Image,
    values: Tensor,
    opacity: float = 0.6,
    limits: tuple[float, float] | None = None,
) -> Image.Image:
    """A map over a photo.

    Args:
        photo: RGB, the pixels that the network saw.
        values: (H, W), of any size.
        opacity: of the map, from 0 (the photo alone) to 1 (the map alone).
        limits: the values of the first and the last colour; by default the map's own range.

    Raises:
        ValueError: the opacity is out of range.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be from 0 to 1, not {opacity}")
    return Image.blend(photo, map_picture(values, photo.size, limits), opacity)
