"""The three 2-D descriptors of a feature, and those of its residual (RDEM)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from drtam.factors import Factors


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
        return cls(ch=x.mean(3), cw=x.mean(2), hw=x.mean(1))

    def residual(self, factors: Factors) -> Descriptors:
        """Descriptors of X (1 - A_I), without X: the residual descriptors extraction module.

        Each equation leaves out the factor of the axis that was averaged away, so the result
        is exact when that factor is all ones and an approximation otherwise.
        """
        c, h, w = factors.c, factors.h, factors.w
        return Descriptors(
            ch=self.ch * (1 - c[:, :, None] * h[:, None, :]),  # Eqn 12
            cw=self.cw * (1 - c[:, :, None] * w[:, None, :]),  # Eqn 13
            hw=self.hw * (1 - factors.spatial()),  # Eqn 14
        )
