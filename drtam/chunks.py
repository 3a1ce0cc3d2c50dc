"""Strips: an axis cut into chunks, and what is pooled from them."""

from __future__ import annotations

import torch
from torch import Tensor


def bounds(length: int, count: int) -> list[tuple[int, int]]:
    """Start and length of each of ``count`` chunks of an axis.

    The paper writes chunks of length / count and leaves open what happens when that is no
    whole number. Three rules, the first that gives ``count`` chunks:

    1. ``torch.chunk``: all but the last have the length ceil(length / count). 7 in 3: 3+3+1.
    2. ``torch.tensor_split``: lengths differ by at most one. 4 in 3: 2+1+1.
    3. The axis is shorter than ``count``: the windows of adaptive pooling, which overlap.

    Args:
        length: of the axis, >= 1. May be symbolic (``torch.export``) or traced.
        count: number of chunks, >= 1.

    Raises:
        ValueError: while tracing (``torch.jit.trace``, the TorchScript ONNX exporter) at a
            length where rule 1 does not apply: the trace would freeze that length.
    """
    size = (length + count - 1) // count  # not -(-length // count): ONNX rounds that to zero
    if (count - 1) * size < length:  # rule 1
        last = (count - 1) * size
        return [(i * size, size) for i in range(count - 1)] + [(last, length - last)]
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        raise ValueError(
            f"an axis of length {int(length)} in {count} chunks cannot be traced for other "
            "sizes: trace at a larger size, or export with torch.export "
            "(torch.onnx.export(..., dynamo=True))"
        )
    if length >= count:  # rule 2
        small, longer = divmod(length, count)
        return [(i * small + min(i, longer), small + (i < longer)) for i in range(count)]
    starts = [i * length // count for i in range(count)]  # rule 3
    ends = [-(-(i + 1) * length // count) for i in range(count)]
    return [(start, end - start) for start, end in zip(starts, ends, strict=True)]


def averages(x: Tensor, dim: int, chunks: list[tuple[int, int]]) -> list[Tensor]:
    """The mean of ``x`` over each chunk of the axis ``dim``, which disappears."""
    return [x.narrow(dim, start, size).mean(dim) for start, size in chunks]


def maxima(x: Tensor, dim: int, chunks: list[tuple[int, int]]) -> list[Tensor]:
    """The maximum of ``x`` over each chunk of the axis ``dim``, which disappears."""
    return [x.narrow(dim, start, size).amax(dim) for start, size in chunks]
