"""Changes that can be made to what attention layers compute."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Layers = tuple[str, ...] | None


@dataclass(frozen=True)
class Off:
    """Switch a map off.

    Attributes:
        map: which one.

            - ``attention``: A = 1, so X_out = X, as if the module were not there. Any module.
            - ``initial``: A_I = 0, with c_I, h_I and w_I all 0, so that by Eqn 12-14 A_C is
              computed from X's own descriptors; X_out = X A_C.
            - ``complement``: A_C = 0, so X_out = X A_I. With both off, X_out = 0.
        layers: names of ``attention_layers``; by default every layer that has such a map.

    Raises:
        ValueError: there is no such map.
    """

    map: Literal["attention", "initial", "complement"] = "attention"
    layers: Layers = None

    def __post_init__(self) -> None:
        _check_choice("map", self.map, ("attention", "initial", "complement"))


@dataclass(frozen=True)
class Flat:
    """Replace a factor by its mean: the map no longer varies along that axis.

    In DRTAM, c becomes (1/C) sum_k c_k for every channel, likewise h and w. A flat factor of A_I
    changes the residual by Eqn 12-14, and A_C is computed from what that leaves. In CBAM, c is
    the channel gate, and the spatial gate sees the feature so gated; in coordinate attention, h
    and w are the gates along the height and the width, each channel's own.

    Attributes:
        factor: ``c``, ``h`` or ``w``.
        map: of DRTAM ``initial`` or ``complement``; by default both, and the only choice for
            the other modules.
        layers: names of ``attention_layers``; by default every layer that has such a factor.

    Raises:
        ValueError: there is no such factor or map.
    """

    factor: Literal["c", "h", "w"]
    map: Literal["both", "initial", "complement"] = "both"
    layers: Layers = None

    def __post_init__(self) -> None:
        _check_choice("factor", self.factor, ("c", "h", "w"))
        _check_choice("map", self.map, ("both", "initial", "complement"))


@dataclass(frozen=True)
class ExactResidual:
    """Pool the residual's descriptors from X (1 - A_I) itself, not by Eqn 12-14.

    Attributes:
        layers: names of ``attention_layers``; by default every DRTAM.
    """

    layers: Layers = None


@dataclass(frozen=True, eq=False)
class MapRegion:
    """Suppress or boost a region of the attention map: X_out = X A G, G = 1 + (gain - 1) m.

    m, (H, W), is the share of each cell of the map that is painted. G multiplies the module's
    final map; what the module computes from X stays as it is. A G may be above 1, where no
    sigmoid could bring it.

    Attributes:
        mask: (h, w) of any size, in [0, 1]: 1 where painted; it covers the whole map.
        gain: 0 suppresses, 1 changes nothing, 2 doubles.
        layers: names of ``attention_layers``; by default all.

    Raises:
        ValueError: mask or gain is out of range.
    """

    mask: Tensor
    gain: float = 0.0
    layers: Layers = None

    def __post_init__(self) -> None:
        _check_region(self.mask, self.gain)


@dataclass(frozen=True, eq=False)
class PhotoRegion:
    """Suppress or boost a region of the photo: x' = mean + G (x - mean), G = 1 + (gain - 1) m.

    The mean is each channel's over the whole photo, so gain 0 leaves an even patch of the
    photo's mean colour and gain 2 doubles the contrast to it.

    Attributes:
        mask: (h, w) of any size, in [0, 1]: 1 where painted; it covers the whole photo.
        gain: 0 suppresses, 1 changes nothing, 2 doubles.

    Raises:
        ValueError: mask or gain is out of range.
    """

    mask: Tensor
    gain: float = 0.0

    def __post_init__(self) -> None:
        _check_region(self.mask, self.gain)

    def paint(self, image: Tensor) -> Tensor:
        """The photo (B, 3, H, W) so changed."""
        mean = image.mean((2, 3), keepdim=True)
        return mean + gains(self, image) * (image - mean)


LayerChange = Off | Flat | ExactResidual | MapRegion
Intervention = LayerChange | PhotoRegion


def gains(region: MapRegion | PhotoRegion, x: Tensor) -> Tensor:
    """G for a feature or photo (B, C, H, W): (H, W), of its type."""
    mask = region.mask.to(x.device, torch.promote_types(x.dtype, torch.float32))[None, None]
    share = nn.functional.interpolate(mask, x.shape[2:], mode="area")[0, 0]
    return (1 + (region.gain - 1) * share).to(x.dtype)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def _check_region(mask: Tensor, gain: float) -> None:
    if mask.dim() != 2 or mask.numel() == 0:
        raise ValueError(f"mask must be (h, w), at least 1 by 1, not {tuple(mask.shape)}")
    if not ((mask >= 0) & (mask <= 1)).all():
        raise ValueError("mask must be from 0 (not painted) to 1 (painted)")
    if not (math.isfinite(gain) and gain >= 0):
        raise ValueError(f"gain must be a number from 0 up, not {gain}")
