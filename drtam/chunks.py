"""Strips: an axis cut into chunks, and what is pooled from them.

The paper writes chunks of length / count and leaves open what happens when that is no whole
number. Three rules, the first that gives ``count`` chunks:

1. ``torch.chunk``: all but the last have the length ceil(length / count). 7 in 3: 3+3+1.
2. ``torch.tensor_split``: lengths differ by at most one. 4 in 3: 2+1+1.
3. The axis is shorter than ``count``: the windows of adaptive pooling, which overlap.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def averages(x: Tensor, dim: int, count: int) -> list[Tensor]:
    """The mean of ``x`` over each of ``count`` chunks of the axis ``dim``, which disappears."""
    if _size_may_change():
        inside = membership(x, dim, count).to(x.dtype)  # (count, length)
        return list((x.movedim(dim, -1) @ (inside / inside.sum(1, keepdim=True)).t()).unbind(-1))
    return [x.narrow(dim, start, size).mean(dim) for start, size in bounds(x.shape[dim], count)]


def maxima(x: Tensor, dim: int, count: int) -> list[Tensor]:
    """The maximum of ``x`` over each of ``count`` chunks of the axis ``dim``, likewise."""
    if _size_may_change():
        outside = ~membership(x, dim, count)
        strips = x.movedim(dim, -1).unsqueeze(-2)  # (..., 1, length)
        return list(strips.masked_fill(outside, -torch.inf).amax(-1).unbind(-1))
    return [x.narrow(dim, start, size).amax(dim) for start, size in bounds(x.shape[dim], count)]


@lru_cache(maxsize=1024)
def bounds(length: int, count: int) -> list[tuple[int, int]]:
    """Start and length of each chunk of an axis; both arguments are at least 1."""
    size = -(-length // count)
    if (count - 1) * size < length:  # rule 1
        return [(k * size, min(size, length - k * size)) for k in range(count)]
    if length >= count:  # rule 2
        small, longer = divmod(length, count)
        return [(k * small + min(k, longer), small + (k < longer)) for k in range(count)]
    starts = [k * length // count for k in range(count)]  # rule 3
    ends = [-(-(k + 1) * length // count) for k in range(count)]
    return [(start, end - start) for start, end in zip(starts, ends, strict=True)]


def membership(x: Tensor, dim: int, count: int) -> Tensor:
    """Which chunk holds which index of the axis ``dim``: (count, length), boolean.

    The same as ``bounds``, in operations that a recorded graph repeats for any length: it
    neither branches on the length nor divides negative numbers, which ONNX rounds up.
    """
    index = torch.arange(x.shape[dim], device=x.device)
    length = index[-1] + 1
    k = torch.arange(count, device=x.device)[:, None]
    size, small, longer = (length + count - 1) // count, length // count, length % count
    start = torch.where(length >= count, k * small + k.minimum(longer), k * length // count)
    end = torch.where(
        length >= count,
        (k + 1) * small + (k + 1).minimum(longer),
        ((k + 1) * length + count - 1) // count,
    )
    rule_1 = (count - 1) * size < length
    start, end = torch.where(rule_1, k * size, start), torch.where(rule_1, (k + 1) * size, end)
    return (start <= index) & (index < end)


def _size_may_change() -> bool:
    """Whether a graph is being recorded that may run at other sizes."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
