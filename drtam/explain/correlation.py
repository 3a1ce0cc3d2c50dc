"""How alike two maps are: by the order of their positions, and cell by cell."""

from __future__ import annotations

import math

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

ROUNDING = 1e-6  # relative to a map's largest value


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's rank correlation of two maps (H, W) in [-1, 1]; NaN where one is constant.

    A map of another size is scaled to the first one's bilinearly.
    """
    first, second = (values.detach().cpu().float() for values in (first, second))
    second = _scaled(second, first)
    if constant(torch.stack((first, second))).any():
        return math.nan
    return float(spearmanr(first.flatten().numpy(), second.flatten().numpy()).statistic)


def constant(maps: Tensor) -> Tensor:
    """(M, h, w) to (M,): which are the same everywhere, but for the rounding of a mean."""
    flat = maps.flatten(1)
    return flat.amax(1) - flat.amin(1) <= ROUNDING * flat.abs().amax(1)


def difference(first: Tensor, second: Tensor) -> Tensor:
    """The first map (H, W) minus the second, which is scaled to its size bilinearly."""
    return first - _scaled(second, first)


def _scaled(values: Tensor, like: Tensor) -> Tensor:
    if values.shape == like.shape:
        return values
    return nn.functional.interpolate(values[None, None], like.shape, mode="bilinear")[0, 0]
