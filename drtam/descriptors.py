"""The three 2-D descriptors of a feature, and those of its residual (RDEM)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from drtam.factors import Factors
from drtam.passes import means


@dataclass(frozen=True)
class Descriptors:
    """Means of a feature X over one axis each (section 3).

    Attributes:
        ch: (B, C, H), X_ch, the mean over W.
        cw: (B, C, W), X_cw, the mean over H.
        hw: (B, H, W), X_hw, the mean over C.
    """

    ch: Tensor
    cw: Tensor
    hw: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Descriptors:
        """The descriptors of a feature (B, C, H, W)."""
        return cls(*means(x))

    def residual(self, factors: Factors) -> Descriptors:
        """Descriptors of X (1 - A_I), without X: the residual descriptors extraction module.

        Each equation leaves out the factor of the axis that was averaged away, so the result
        is exact when that factor is all ones and an approximation otherwise.
        """
        c, h, w = factors.c[:, None], factors.h[:, :, None], factors.w[:, :, None]
        ch, cw, hw = (
            self.ch.transpose(1, 2),
            self.cw.transpose(1, 2),
            self.hw,
        )  # the order in memory
        return Descriptors(
            ch=torch.addcmul(ch, ch, h * c, value=-1).transpose(1, 2),  # Eqn 12
            cw=torch.addcmul(cw, cw, w * c, value=-1).transpose(1, 2),  # Eqn 13
            hw=torch.addcmul(hw, hw, factors.spatial(), value=-1),  # Eqn 14
        )
