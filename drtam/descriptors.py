"""The three 2-D descriptors of a feature, and those of its residual (RDEM)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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
        return cls._of_strips(*means(x))

    @classmethod
    def _of_strips(cls, strips: Tensor, hw: Tensor) -> Descriptors:
        ch, cw = torch.split(strips.transpose(1, 2), [hw.shape[1], hw.shape[2]], dim=2)
        made = cls(ch, cw, hw)
        object.__setattr__(made, "strips", strips)
        return made

    @cached_property
    def strips(self) -> Tensor:
        """X_ch and X_cw, one behind the other: (B, H + W, C)."""
        return torch.cat((self.ch.transpose(1, 2), self.cw.transpose(1, 2)), dim=1)

    def residual(self, factors: Factors) -> Descriptors:
        """Descriptors of X (1 - A_I), without X: the residual descriptors extraction module.

        Each equation leaves out the factor of the axis that was averaged away, so the result
        is exact when that factor is all ones and an approximation otherwise.
        """
        strips = self.strips
        along = torch.cat((factors.h, factors.w), dim=1)[..., None]  # (B, H + W, 1)
        covered = (along * factors.c[:, None]).to(strips.dtype)
        return Descriptors._of_strips(
            torch.addcmul(strips, strips, covered, value=-1),  # Eqn 12, 13
            torch.addcmul(self.hw, self.hw, factors.spatial(), value=-1),  # Eqn 14
        )
