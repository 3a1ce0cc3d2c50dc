"""The rank-1 tensor attention module (RTAM, section 3.1)."""

from __future__ import annotations

import torch
from torch import nn

from drtam.checks import check_range
from drtam.chunks import averages, maxima
from drtam.descriptors import Descriptors
from drtam.factors import Factors


class RankOneAttention(nn.Module):
    """Three descriptors to the three factors of a rank-1 attention map (Eqn 3-11).

    The order in which a convolution's inputs are concatenated only permutes its weights. It
    is the authors' code's here, so that their checkpoints load as they are.

    Args:
        channels: C, at least 1.
        s: S, chunks along H and along W, 1 to 16.
        n: N, chunks along C, 1 to 64; need not divide C.
        r: reduction ratio of the MLP, 1 to 128; the hidden width is max(8, C // r).
        mlp: F0, ReLU and F1 (Eqn 6) of another module to share; its own by default.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        channels: int,
        *,
        s: int = 3,
        n: int = 1,
        r: int = 32,
        mlp: nn.Sequential | None = None,
    ) -> None:
        super().__init__()
        check_range("channels", channels, 1)
        check_range("s", s, 1, 16)
        check_range("n", n, 1, 64)
        check_range("r", r, 1, 128)
        self.channels, self.s, self.n, self.r = channels, s, n, r
        hidden = max(8, channels // r)
        self.channel = nn.Conv1d(4 * s, 1, kernel_size=1, bias=False)
        if mlp is None:
            mlp = nn.Sequential(
                nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
            )
        self.mlp = mlp  # F0 and F1 of Eqn 6
        self.row = nn.Conv1d(s + n + 1, 1, kernel_size=3, padding=1, bias=False)
        self.row_norm = nn.BatchNorm1d(1)
        self.column = nn.Conv1d(s + n + 1, 1, kernel_size=3, padding=1, bias=False)
        self.column_norm = nn.BatchNorm1d(1)

    def forward(self, descriptors: Descriptors) -> Factors:
        """Descriptors (B, C, H), (B, C, W), (B, H, W) to factors (B, C), (B, H), (B, W)."""
        ch, cw, hw = descriptors.ch, descriptors.cw, descriptors.hw
        pooled_ch = averages(ch, 2, self.s) + maxima(ch, 2, self.s)  # Eqn 4
        pooled_cw = averages(cw, 2, self.s) + maxima(cw, 2, self.s)  # Eqn 3
        s_c = self.channel(torch.stack(pooled_ch + pooled_cw, dim=1))  # Eqn 5: (B, 1, C)
        c = torch.sigmoid(self.mlp(s_c[:, 0]))  # Eqn 6: (B, C)

        pooled_h = [*averages(ch, 1, self.n), ch.amax(1), *averages(hw, 2, self.s)]  # Eqn 7-9
        s_h = self.row(torch.stack(pooled_h, dim=1))  # Eqn 10: (B, 1, H)
        h = torch.sigmoid(self.row_norm(s_h))[:, 0]  # Eqn 11: (B, H)

        pooled_w = [*averages(cw, 1, self.n), cw.amax(1), *averages(hw, 1, self.s)]
        s_w = self.column(torch.stack(pooled_w, dim=1))  # (B, 1, W)
        w = torch.sigmoid(self.column_norm(s_w))[:, 0]  # (B, W)
        return Factors(c=c, h=h, w=w)
