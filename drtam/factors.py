"""The three factor vectors of a rank-1 attention map, and two maps combined."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Factors:
    """The CP decomposition of a rank-1 attention map (Eqn 2).

    Attributes:
        c: (B, C), in (0, 1): the channel information embedding.
        h: (B, H), in (0, 1): the spatial information embedding of the rows.
        w: (B, W), in (0, 1): the spatial information embedding of the columns.
    """

    c: Tensor
    h: Tensor
    w: Tensor

    def map(self) -> Tensor:
        """The attention map c o h o w (Eqn 2): (B, C, H, W), in (0, 1)."""
        return self.c[:, :, None, None] * self.spatial()[:, None]

    def spatial(self) -> Tensor:
        """The spatial attention map h o w, without the channels: (B, H, W), in (0, 1)."""
        return self.h[:, :, None] * self.w[:, None, :]


def combined_terms(initial: Factors, complement: Factors) -> tuple[Tensor, Tensor]:
    """A = A_I + (1 - A_I) A_C (Eqn 1) as a sum of three rank-1 tensors.

    A_I + A_C - A_I A_C, and the product of two rank-1 tensors is the rank-1 tensor of the
    products of their factors; the minus sign goes to its channels.

    Returns:
        (B, 3, C) and (B, 3, H, W): A is the sum over the 3 of their products.
    """
    channel = torch.stack((initial.c, complement.c, -(initial.c * complement.c)), dim=1)
    first, second = initial.spatial(), complement.spatial()
    return channel, torch.stack((first, second, first * second), dim=1)
