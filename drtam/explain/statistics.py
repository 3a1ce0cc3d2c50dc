"""What a whole attention map comes down to, in a few numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MapStatistics:
    """Numbers of one attention map, each (B,).

    Attributes:
        mean: over channels, rows and columns, in [0, 1].
        spread: standard deviation over channels, rows and columns, in [0, 0.5].
        entropy: of the map's mean over channels as a distribution over positions, divided by
            the logarithm of their number: 1 for an even map, 0 for a single position.
    """

    mean: Tensor
    spread: Tensor
    entropy: Tensor

    @classmethod
    def of(cls, attention: Tensor) -> MapStatistics:
        """Of an attention map (B, C, H, W), in [0, 1]."""
        values = attention.float().flatten(1)  # (B, CHW)
        mean = values.mean(1)
        deviation = torch.linalg.vector_norm(values - mean[:, None], dim=1)
        spatial = attention.float().mean(1).flatten(1)  # (B, HW)
        return cls(
            mean=mean, spread=deviation / math.sqrt(values.shape[1]), entropy=_entropy(spatial)
        )


def _entropy(spatial: Tensor) -> Tensor:
    share = spatial / spatial.sum(1, keepdim=True).clamp_min(torch.finfo(spatial.dtype).tiny)
    positions = spatial.shape[1]
    if positions == 1:
        return torch.ones_like(share[:, 0])
    nats: Tensor = torch.special.entr(share).sum(1)
    return nats / math.log(positions)
