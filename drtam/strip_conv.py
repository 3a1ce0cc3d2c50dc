"""A 1-D convolution with one output channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from drtam.recorded import recorded


class StripConv(nn.Conv1d):
    """torch's ``Conv1d`` to one channel, with a kernel of 1, or of 3 and padding, and no bias.

    As a product of matrices where there are several inputs: the kernels of the libraries are
    made for many channels, and take several times as long for one. Compiled as a sum, which is
    fused with what is before and after it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, L) to (B, 1, L)."""
        if torch.compiler.is_compiling():
            return self._sum(x)
        if recorded(x) or len(x) == 1:
            return super().forward(x)
        taps = torch.bmm(self.weight[0].t().expand(x.shape[0], -1, -1), x)  # (B, 1 or 3, L)
        if taps.shape[1] == 1:
            return taps
        before, here, after = functional.pad(taps, (1, 1)).chunk(3, dim=1)
        return before[:, :, :-2] + here[:, :, 1:-1] + after[:, :, 2:]

    def _sum(self, x: Tensor) -> Tensor:
        weight = self.weight[..., None]  # (1, K, 1 or 3, 1)
        length, beside = x.shape[2], self.weight.shape[2] // 2
        padded = functional.pad(x, (beside, beside))
        taps = [padded.narrow(2, i, length) for i in range(self.weight.shape[2])]
        return (weight * torch.stack(taps, dim=2)).sum((1, 2))[:, None]
