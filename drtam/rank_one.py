"""The rank-1 tensor attention module (RTAM, section 3.1)."""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor, nn

from drtam.base import Factory
from drtam.checks import check_range
from drtam.chunks import averages, maxima, mean_matrix
from drtam.descriptors import Descriptors
from drtam.factors import Factors
from drtam.recorded import recorded
from drtam.strip_conv import StripConv


class Options(TypedDict, total=False):
    """What the paper does not say; see ``RankOneAttention``."""

    least_hidden: int
    channel_norm: bool
    max_pools: bool
    device: torch.device | str | None
    dtype: torch.dtype | None


class RankOneAttention(nn.Module):
    """Three descriptors to the three factors of a rank-1 attention map (Eqn 3-11).

    The order in which a convolution's inputs are concatenated only permutes its weights. It
    is the authors' code's here, so that their checkpoints load as they are.

    Args:
        channels: C, at least 1.
        s: S, chunks along H and along W, 1 to 16.
        n: N, chunks along C, 1 to 64; need not divide C.
        r: reduction ratio of the MLP, 1 to 128; the hidden width is max(least_hidden, C // r).
        mlp: F0, ReLU and F1 (Eqn 6) of another module to share; its own by default.
        least_hidden: lower bound of the hidden width.
        channel_norm: not in the paper: a batch norm on S_c before F0, as in the authors' code.
        max_pools: not in the paper: X_hw's chunks are pooled by their maximum too, and the
            channel maximum of Eqn 9 is taken for each of the N chunks, as in the configuration
            that the authors released.
        device: of the weights, as for torch's own layers.
        dtype: likewise.

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
        least_hidden: int = 8,
        channel_norm: bool = False,
        max_pools: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels = check_range("channels", channels, 1)
        self.s = s = check_range("s", s, 1, 16)
        self.n = n = check_range("n", n, 1, 64)
        self.r = r = check_range("r", r, 1, 128)
        least_hidden = check_range("least_hidden", least_hidden, 1)
        self.max_pools = max_pools
        where: Factory = {"device": device, "dtype": dtype}
        hidden = max(least_hidden, channels // r)
        self.channel = StripConv(4 * s, 1, kernel_size=1, bias=False, **where)
        self.channel_norm = nn.BatchNorm1d(1, **where) if channel_norm else nn.Identity()
        if mlp is None:
            mlp = nn.Sequential(
                nn.Linear(channels, hidden, **where),
                nn.ReLU(),
                nn.Linear(hidden, channels, **where),
            )
        self.mlp = mlp  # F0 and F1 of Eqn 6
        strips = 2 * s + 2 * n if max_pools else s + n + 1
        self.row = StripConv(strips, 1, kernel_size=3, padding=1, bias=False, **where)
        self.row_norm = nn.BatchNorm1d(1, **where)
        self.column = StripConv(strips, 1, kernel_size=3, padding=1, bias=False, **where)
        self.column_norm = nn.BatchNorm1d(1, **where)

    def forward(self, descriptors: Descriptors) -> Factors:
        """Descriptors (B, C, H), (B, C, W), (B, H, W) to factors (B, C), (B, H), (B, W)."""
        hw = descriptors.hw
        lengths = hw.shape[1], hw.shape[2]
        strips = descriptors.strips
        s_c = self._mixed(strips, lengths)  # (B, 1, C)
        c = torch.sigmoid(self.mlp(self.channel_norm(s_c)[:, 0]))  # Eqn 6: (B, C)

        maximum_count = self.n if self.max_pools else 1
        channels = (strips.shape[2],)
        over_c = torch.cat(
            (averages(strips, 2, channels, self.n), maxima(strips, 2, channels, maximum_count)), 2
        ).transpose(1, 2)  # Eqn 8, 9: (B, N + 1, H + W)
        over_ch, over_cw = torch.split(over_c, list(lengths), dim=2)
        s_h = self.row(
            torch.cat((over_ch, *self._pooled(hw.transpose(1, 2))), dim=1)
        )  # Eqn 10: (B, 1, H)
        h = torch.sigmoid(self.row_norm(s_h))[:, 0]  # Eqn 11: (B, H)
        s_w = self.column(torch.cat((over_cw, *self._pooled(hw)), dim=1))  # (B, 1, W)
        w = torch.sigmoid(self.column_norm(s_w))[:, 0]  # (B, W)
        return Factors(c=c, h=h, w=w)

    def _channel_strips(self, strips: Tensor, lengths: tuple[int, int]) -> Tensor:
        """P_c, (B, 4S, C): what ``channel`` mixes (Eqn 3, 4)."""
        pools = (averages(strips, 1, lengths, self.s), maxima(strips, 1, lengths, self.s))
        kinds = [torch.unflatten(pooled, 1, (2, self.s)) for pooled in pools]
        return torch.stack(kinds, dim=2).flatten(1, 3)

    def _mixed(self, strips: Tensor, lengths: tuple[int, int]) -> Tensor:
        """X_ch and X_cw, (B, H + W, C), pooled along H and W and mixed: S_c (B, 1, C), Eqn 3-5."""
        hooked = self.channel._forward_pre_hooks or self.channel._forward_hooks  # of pruning, say
        if recorded(strips) or hooked:
            s_c: Tensor = self.channel(self._channel_strips(strips, lengths))
            return s_c
        # The means and their weights are one linear map of the strips.
        of_average, of_largest = self.channel.weight.view(2, 2, self.s).unbind(1)
        means = mean_matrix(lengths, self.s, of_average.dtype, strips.device)
        along = torch.mm(of_average.reshape(1, -1), means).expand(len(strips), -1, -1)
        of_largest = of_largest.reshape(1, 1, -1).expand(len(strips), -1, -1)
        largest = maxima(strips, 1, lengths, self.s)
        return torch.baddbmm(torch.bmm(along, strips), of_largest, largest)

    def _pooled(self, hw: Tensor) -> list[Tensor]:
        """X_hw (B, K, L), cut along K: (B, S, L), or with the maxima twice that."""
        lengths = (hw.shape[1],)
        pooled = [averages(hw, 1, lengths, self.s)]  # Eqn 7
        if self.max_pools:
            pooled.append(maxima(hw, 1, lengths, self.s))
        return pooled
