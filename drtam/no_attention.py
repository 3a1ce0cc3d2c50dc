"""No attention at all, to explain a network that has none where others have theirs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from drtam.base import AttentionModule
from drtam.checks import check_feature, check_range


@dataclass(frozen=True)
class NoAttentionTrace:
    """A map of ones.

    Attributes:
        ones: (B, H, W), all 1.
        channels: C.
        output: (B, C, H, W), X itself.
    """

    ones: Tensor
    channels: int
    output: Tensor

    def attention(self) -> Tensor:
        """(B, C, H, W), all 1."""
        return self.ones[:, None].expand(-1, self.channels, -1, -1)

    def spatial(self) -> Tensor:
        """(B, H, W), all 1."""
        return self.ones


class NoAttention(AttentionModule):
    """Passes X on, A = 1; it has no parameters, so tensors of a network keep their names.

    ``analyze`` needs a place to explain: with this module a network without attention has the
    same places as one with it, and its Grad-CAM there can be put beside the other's.

    Args:
        channels: C, at least 1.

    Raises:
        ValueError: ``channels`` is out of its range, or the input is not (B, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = check_range("channels", channels, 1)

    def trace(self, x: Tensor) -> NoAttentionTrace:
        """X (B, C, H, W), and the ones that it is multiplied with."""
        check_feature(x, self.channels)
        return NoAttentionTrace(x.new_ones(1).expand(x[:, 0].shape), self.channels, x)

    def extra_repr(self) -> str:
        """The hyper-parameters, for ``repr``."""
        return f"{self.channels}"
