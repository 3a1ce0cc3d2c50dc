"""Coordinate attention (CA; Hou et al., CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from drtam.base import AttentionModule, Factory
from drtam.checks import check_feature, check_range
from drtam.passes import laid_out_as, strip_means
from drtam.recorded import recorded
from drtam.start import answer, gate_logit


@dataclass(frozen=True)
class CATrace:
    """Everything that coordinate attention computed for one feature.

    Attributes:
        h: (B, C, H), in (0, 1), the gate along the height.
        w: (B, C, W), in (0, 1), the gate along the width.
        output: (B, C, H, W).
    """

    h: Tensor
    w: Tensor
    output: Tensor

    def attention(self) -> Tensor:
        """The product of both gates: (B, C, H, W), in (0, 1)."""
        return self.h[..., None] * self.w[:, :, None]

    def spatial(self) -> Tensor:
        """The mean of ``attention()`` over C: (B, H, W), in (0, 1)."""
        return torch.einsum("bch,bcw->bhw", self.h, self.w) / self.h.shape[1]


class PointConv(nn.Conv1d):
    """torch's ``Conv1d`` with a kernel of 1, as a product of matrices.

    It takes and gives strips of a channels_last X as they lie in memory, and is fused by a
    compiler, where a convolution is copied to and fro.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, L) to (B, O, L)."""
        if recorded(x) and not torch.compiler.is_compiling():
            return super().forward(x)
        mixed = functional.linear(x.transpose(1, 2), self.weight[..., 0], self.bias)
        return mixed.transpose(1, 2)


class CoordinateAttention(AttentionModule):
    """One gate along the height and one along the width, for each channel.

    Args:
        channels: C, at least 1.
        r: reduction ratio, 1 to 128; the hidden width is max(8, C // r).
        device: of the weights, as for torch's own layers.
        dtype: likewise.

    Raises:
        ValueError: an argument is out of its range, or the input is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        r: int = 32,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels = check_range("channels", channels, 1)
        self.r = r = check_range("r", r, 1, 128)
        where: Factory = {"device": device, "dtype": dtype}
        hidden = max(8, channels // r)
        self.reduce = PointConv(channels, hidden, kernel_size=1, **where)
        self.norm = nn.BatchNorm1d(hidden, **where)
        self.act = nn.Hardswish()
        self.height = PointConv(hidden, channels, kernel_size=1, **where)
        self.width = PointConv(hidden, channels, kernel_size=1, **where)

    def trace(self, x: Tensor) -> CATrace:
        """X (B, C, H, W) to the output, with every step on the way kept."""
        check_feature(x, self.channels)
        pooled = strip_means(x).transpose(1, 2)  # (B, C, H + W)
        mixed = self.act(self.norm(self.reduce(pooled)))  # (B, hidden, H + W)
        height, width = x.shape[2], x.shape[3]
        h = torch.sigmoid(self.height(mixed.narrow(2, 0, height)))  # (B, C, H)
        w = torch.sigmoid(self.width(mixed.narrow(2, height, width)))  # (B, C, W)
        h, w = laid_out_as(x, h), laid_out_as(x, w)
        return CATrace(h, w, x * h[..., None] * w[:, :, None])

    def start_at(self, level: float) -> None:
        """Make A the same everywhere until training changes it; see ``DRTAM.start_at``."""
        for gate in (self.height, self.width):
            answer(gate, gate_logit(level, gates=2))

    def extra_repr(self) -> str:
        """The hyper-parameters, for ``repr``."""
        return f"{self.channels}, r={self.r}"
