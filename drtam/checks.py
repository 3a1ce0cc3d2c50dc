"""What the public doors of the package refuse, in one sentence each."""

from __future__ import annotations

from numbers import Integral

from torch import Tensor


def check_range(name: str, value: int, low: int, high: int | None = None) -> int:
    """``value`` as Python's own whole number, which NumPy's are not.

    Raises:
        ValueError: it is none, or outside [low, high].
    """
    allowed = f"from {low} to {high}" if high is not None else f"of at least {low}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} must be a whole number {allowed}, not {value!r}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name} must be a whole number {allowed}, not {value}")
    return int(value)


def check_feature(x: Tensor, channels: int) -> None:
    """Raise ``ValueError`` unless ``x`` is a floating point, non-empty (B, channels, H, W)."""
    if x.dim() != 4:
        raise ValueError(f"x must have the shape (B, C, H, W), not {tuple(x.shape)}")
    if x.shape[1] != channels:
        raise ValueError(f"x must have C={channels} channels, not {x.shape[1]}")
    if 0 in x.shape:
        raise ValueError(f"x must not be empty, but its shape is {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"x must be floating point, not {x.dtype}")
