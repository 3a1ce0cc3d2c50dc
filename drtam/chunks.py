"""Strips: an axis cut into chunks, and what is pooled from them.

The paper writes chunks of length / count and leaves open what happens when that is no whole
number. Three rules, the first that gives ``count`` chunks:

1. ``torch.chunk``: all but the last have the length ceil(length / count). 7 in 3: 3+3+1.
2. ``torch.tensor_split``: lengths differ by at most one. 4 in 3: 2+1+1.
3. The axis is shorter than ``count``: the windows of adaptive pooling, which overlap.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from drtam.recorded import traced

SMALL = 2**16  # numbers of which a copy costs less than an operation for each chunk


def averages(x: Tensor, dim: int, lengths: tuple[int, ...], count: int) -> Tensor:
    """The mean of ``x`` over each of ``count`` chunks of its axis ``dim``.

    Args:
        x: three axes.
        dim: 1 or 2.
        lengths: of the axes that lie one behind the other in ``dim``; each is cut by itself.
        count: chunks of each.

    Returns:
        ``x`` with ``len(lengths) * count`` in place of the length of ``dim``.
    """
    if count == len(lengths) == 1:
        return x.mean(dim, keepdim=True)
    if traced(x):
        pooled = []
        for part in torch.split(x, list(lengths), dim):
            inside = membership(part, dim, count).to(x.dtype)  # (count, length)
            weights = inside / inside.sum(1, keepdim=True)
            if torch.compiler.is_compiling():  # a sum is fused with what is around it
                weights = weights[..., None] if dim == 1 else weights
                pooled.append((part.unsqueeze(dim) * weights).sum(dim + 1))
            else:
                pooled.append(weights @ part if dim == 1 else part @ weights.t())
        return torch.cat(pooled, dim)
    weights = mean_matrix(lengths, count, x.dtype, x.device).expand(x.shape[0], -1, -1)
    return torch.bmm(weights, x) if dim == 1 else torch.bmm(x, weights.transpose(1, 2))


def maxima(x: Tensor, dim: int, lengths: tuple[int, ...], count: int) -> Tensor:
    """The maximum of ``x`` over each of ``count`` chunks of its axis ``dim``, likewise.

    Indices that share a maximum share its gradient equally, as in ``amax``.
    """
    whole = count == len(lengths) == 1
    if traced(x):
        if whole:
            return x.amax(dim, keepdim=True)
        pooled = []
        for part in torch.split(x, list(lengths), dim):
            outside = ~membership(part, dim, count)  # (count, length)
            outside = outside[..., None] if dim == 1 else outside
            strips = part.unsqueeze(dim).masked_fill(outside, -torch.inf)
            pooled.append(strips.amax(dim + 1))
        return torch.cat(pooled, dim)
    if x.numel() > SMALL and not x.is_cuda:
        pool = _Maxima.apply if x.requires_grad and torch.is_grad_enabled() else _maxima
        return pool(x, dim, _chunks(lengths, count))
    if whole:
        return x.amax(dim, keepdim=True)
    members = _members(lengths, count, x.device)
    gathered = x.index_select(dim, members)
    return torch.unflatten(gathered, dim, (count * len(lengths), -1)).amax(dim + 1)


def _maxima(x: Tensor, dim: int, chunks: list[tuple[int, int]]) -> Tensor:
    return torch.stack([x.narrow(dim, *chunk).amax(dim) for chunk in chunks], dim)


class _Maxima(Function):
    """The maxima of chunks, whose gradients meet in one tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, chunks: list[tuple[int, int]]) -> Tensor:
        largest = _maxima(x, dim, chunks)
        ctx.save_for_backward(x, largest)
        ctx.dim, ctx.chunks = dim, chunks
        return largest

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        x, largest = (saved.detach() for saved in ctx.saved_tensors)
        total = torch.zeros_like(x)
        for k, chunk in enumerate(ctx.chunks):
            part = x.narrow(ctx.dim, *chunk)
            hits = torch.empty_like(part)  # 1 at a maximum, in x's type: bool would be converted
            torch.eq(part, largest.narrow(ctx.dim, k, 1), out=hits)
            share = grad.narrow(ctx.dim, k, 1) / hits.sum(ctx.dim, keepdim=True)
            total.narrow(ctx.dim, *chunk).addcmul_(hits, share)
        return total, None, None


@lru_cache(maxsize=1024)
@torch.inference_mode(False)
def mean_matrix(
    lengths: tuple[int, ...], count: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """(len(lengths) * count, sum(lengths)): times the axes it is the mean of each chunk."""
    rows = torch.zeros(count * len(lengths), sum(lengths), dtype=torch.float64, device="cpu")
    for k, (start, size) in enumerate(_chunks(lengths, count)):
        rows[k, start : start + size] = 1 / size
    return rows.to(device, dtype)


@lru_cache(maxsize=1024)
@torch.inference_mode(False)
def _members(lengths: tuple[int, ...], count: int, device: torch.device) -> Tensor:
    """The indices in each chunk, one behind the other; short ones repeat their last."""
    chunks = _chunks(lengths, count)
    longest = max(size for _, size in chunks)
    indices = [start + min(i, size - 1) for start, size in chunks for i in range(longest)]
    return torch.tensor(indices, device=device)


@lru_cache(maxsize=1024)
def _chunks(lengths: tuple[int, ...], count: int) -> list[tuple[int, int]]:
    """Start and length of each chunk of the axes, in the axis that holds them all."""
    starts = accumulate(lengths, initial=0)
    return [
        (before + start, size)
        for before, length in zip(starts, lengths, strict=False)
        for start, size in bounds(length, count)
    ]


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
