"""The dual rank-1 tensor attention module (DRTAM, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from drtam.base import AttentionModule
from drtam.checks import check_feature
from drtam.descriptors import Descriptors
from drtam.factors import Factors, combined_terms
from drtam.passes import expand, recalibrate
from drtam.rank_one import Options, RankOneAttention
from drtam.start import answer, gate_logit


@dataclass(frozen=True)
class DRTAMTrace:
    """Everything that DRTAM computed for one feature.

    Attributes:
        descriptors: of the input X.
        initial: factors of the initial map A_I.
        residual: descriptors of X (1 - A_I) as Eqn 12-14 approximate them.
        complement: factors of the complement map A_C.
        output: (B, C, H, W), X_out.
    """

    descriptors: Descriptors
    initial: Factors
    residual: Descriptors
    complement: Factors
    output: Tensor

    def attention(self) -> Tensor:
        """A = A_I + (1 - A_I) A_C (Eqn 1): (B, C, H, W), in [0, 1]."""
        return expand(*combined_terms(self.initial, self.complement)).clamp(0, 1)

    def spatial(self) -> Tensor:
        """The mean of A over C: (B, H, W), in [0, 1]."""
        channel, spatial = combined_terms(self.initial, self.complement)
        return torch.einsum("bk,bkhw->bhw", channel.mean(2), spatial).clamp(0, 1)


class DRTAM(AttentionModule):
    """Recalibrates a feature with two complementary rank-1 attention maps (Eqn 1).

    Args:
        channels: C, at least 1.
        s: S, chunks along H and along W, 1 to 16.
        n: N, chunks along C, 1 to 64.
        r: reduction ratio of the MLP that both maps share, 1 to 128.
        options: see ``RankOneAttention``: ``device`` and ``dtype``; and of the authors' code
            ``least_hidden``, ``channel_norm``, ``max_pools``.

    Raises:
        ValueError: an argument is out of its range, or the input is not (B, C, H, W).
    """

    def __init__(
        self, channels: int, s: int = 3, n: int = 1, r: int = 32, **options: Unpack[Options]
    ) -> None:
        super().__init__()
        self.initial = RankOneAttention(channels, s=s, n=n, r=r, **options)
        self.channels, self.s = self.initial.channels, self.initial.s
        self.n, self.r = self.initial.n, self.initial.r
        mlp = self.initial.mlp
        self.complement = RankOneAttention(channels, s=s, n=n, r=r, mlp=mlp, **options)

    def trace(self, x: Tensor) -> DRTAMTrace:
        """X (B, C, H, W) to the output, with every step on the way kept."""
        check_feature(x, self.channels)
        descriptors = Descriptors.of(x)
        initial = self.initial(descriptors)
        residual = descriptors.residual(initial)
        complement = self.complement(residual)
        output = recalibrate(x, *combined_terms(initial, complement))  # Eqn 1
        return DRTAMTrace(descriptors, initial, residual, complement, output)

    def start_at(self, level: float) -> None:
        """Make A the same everywhere, whatever X is, until training changes it.

        Fresh, A is about a quarter, which a network that was trained without attention does not
        survive. With A near 1 it goes on from what it knows.

        Args:
            level: of A, above 0 and below 1. The closer to 1, the smaller the first gradients.

        Raises:
            ValueError: ``level`` is out of its range.
        """
        gate = gate_logit(level, gates=3, maps=2)
        answer(self.initial.mlp[2], gate)
        for half in (self.initial, self.complement):
            answer(half.row_norm, gate)
            answer(half.column_norm, gate)

    def extra_repr(self) -> str:
        """The hyper-parameters, for ``repr``."""
        return f"{self.channels}, s={self.s}, n={self.n}, r={self.r}"
