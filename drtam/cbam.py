"""The convolutional block attention module (CBAM; Woo et al., ECCV 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from drtam.base import AttentionModule, Factory
from drtam.checks import check_feature, check_range
from drtam.start import answer, gate_logit


@dataclass(frozen=True)
class CBAMTrace:
    """Everything that CBAM computed for one feature.

    Attributes:
        channel: (B, C), in (0, 1), the channel attention.
        spatial_map: (B, H, W), in (0, 1), the spatial attention.
        output: (B, C, H, W).
    """

    channel: Tensor
    spatial_map: Tensor
    output: Tensor

    def attention(self) -> Tensor:
        """The product of both gates: (B, C, H, W), in (0, 1)."""
        return self.channel[:, :, None, None] * self.spatial_map[:, None]

    def spatial(self) -> Tensor:
        """The mean of ``attention()`` over C: (B, H, W), in (0, 1)."""
        return self.channel.mean(1)[:, None, None] * self.spatial_map


class CBAM(AttentionModule):
    """A channel gate, then a spatial gate with a 7x7 convolution.

    Args:
        channels: C, at least 1.
        r: reduction ratio of the MLP, 1 to 128; the hidden width is max(1, C // r).
        device: of the weights, as for torch's own layers.
        dtype: likewise.

    Raises:
        ValueError: an argument is out of its range, or the input is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        r: int = 16,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels = check_range("channels", channels, 1)
        self.r = r = check_range("r", r, 1, 128)
        where: Factory = {"device": device, "dtype": dtype}
        hidden = max(1, channels // r)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden, **where), nn.ReLU(), nn.Linear(hidden, channels, **where)
        )
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False, **where)
        self.norm = nn.BatchNorm2d(1, **where)

    def trace(self, x: Tensor) -> CBAMTrace:
        """X (B, C, H, W) to the output, with every step on the way kept."""
        check_feature(x, self.channels)
        channel = self.channel_gate(x)
        x = x * channel[:, :, None, None]
        spatial = self.spatial_gate(x)
        return CBAMTrace(channel, spatial, x * spatial[:, None])

    def start_at(self, level: float) -> None:
        """Make A the same everywhere until training changes it; see ``DRTAM.start_at``."""
        gate = gate_logit(level, gates=2)
        answer(self.mlp[2], gate / 2)  # two of them are added
        answer(self.norm, gate)

    def channel_gate(self, x: Tensor) -> Tensor:
        """Of a feature (B, C, H, W): (B, C), in (0, 1)."""
        return torch.sigmoid(self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3))))

    def spatial_gate(self, x: Tensor) -> Tensor:
        """Of a feature (B, C, H, W) whose channels are gated: (B, H, W), in (0, 1)."""
        pooled = torch.stack((x.amax(1), x.mean(1)), dim=1)  # (B, 2, H, W)
        return torch.sigmoid(self.norm(self.conv(pooled)))[:, 0]

    def extra_repr(self) -> str:
        """The hyper-parameters, for ``repr``."""
        return f"{self.channels}, r={self.r}"
