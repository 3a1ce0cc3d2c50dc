"""Whether two maps rank the positions of a photo alike."""

from __future__ import annotations

import math

from scipy.stats import spearmanr
from torch import Tensor, nn


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's rank correlation of two maps (H, W) in [-1, 1]; NaN where one is constant.

    A map of another size is scaled to the first one's bilinearly.
    """
    if first.shape != second.shape:
        second = nn.functional.interpolate(second[None, None], first.shape, mode="bilinear")[0, 0]
    if first.min() == first.max() or second.min() == second.max():
        return math.nan
    return float(spearmanr(first.flatten().numpy(), second.flatten().numpy()).statistic)
