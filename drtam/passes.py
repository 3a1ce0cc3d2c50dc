"""What touches a whole feature X: the pooling of its descriptors and its product with A.

Everything between the two is small. Both work in the order in which X lies in memory, and
keep for the backward pass nothing of X's size but X itself, or what X was made of.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from drtam.origin import Origin, again, origin
from drtam.recorded import recorded

CACHED = 2**20  # numbers of X that a CPU's cache keeps from one pass over them to the next


def means(x: Tensor) -> tuple[Tensor, Tensor]:
    """The means of X (B, C, H, W) over W and H, one behind the other, and over C.

    Returns:
        (B, H + W, C) and (B, H, W).
    """
    trained = x.requires_grad and torch.is_grad_enabled() and not recorded(x)
    pool = _Means.apply if trained else _means
    return pool(x)


def strip_means(x: Tensor) -> Tensor:
    """The means of X (B, C, H, W) over W and over H, one behind the other: (B, H + W, C)."""
    if recorded(x) or not _is_channels_last(x):
        return torch.cat([x.mean(i).transpose(1, 2) for i in (3, 2)], dim=1)
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1)
    over_w = _average(rows.reshape(batch * height, width, channels)).view(batch, height, channels)
    over_h = _average(rows.reshape(batch, height, width * channels)).view(batch, width, channels)
    return torch.cat((over_w, over_h), dim=1)


def laid_out_as(x: Tensor, gate: Tensor) -> Tensor:
    """A gate (B, C, L) whose channels lie in memory as those of X, with which it is multiplied."""
    if recorded(x):
        return gate
    if _is_channels_last(x):
        return gate.transpose(1, 2).contiguous().transpose(1, 2)
    return gate.contiguous()


def recalibrate(x: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
    """X times a map that is the sum of K rank-1 tensors, without keeping the map.

    Args:
        x: (B, C, H, W).
        channel: (B, K, C).
        spatial: (B, K, H, W).

    Returns:
        (B, C, H, W), laid out in memory as X.
    """
    if recorded(x):
        return x * expand(channel, spatial)
    channel, spatial = channel.to(x.dtype), spatial.to(x.dtype)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, channel, spatial)):
        return _Recalibrate.apply(x, channel, spatial, origin(x))  # type: ignore[no-any-return]
    return _recalibrate(x, channel, spatial)


def expand(channel: Tensor, spatial: Tensor, output: Tensor | None = None) -> Tensor:
    """The sum over k of channel (B, K, C) times spatial (B, K, H, W): (B, C, H, W)."""
    channel, spatial = channel[..., None, None], spatial[:, :, None]  # (B, K, C, H, W)
    total = torch.mul(channel[:, 0], spatial[:, 0], out=output)
    for k in range(1, channel.shape[1]):
        total.addcmul_(channel[:, k], spatial[:, k])
    return total


def _is_channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def _together(x: Tensor) -> int:
    """How many samples of X take all passes before the next ones take the first."""
    return len(x) if x.is_cuda else max(1, CACHED // max(1, math.prod(x.shape[1:])))


def _means(x: Tensor) -> tuple[Tensor, Tensor]:
    if recorded(x) or len(x) <= (together := _together(x)):
        return _means_at_once(x)
    strips, over_c = zip(*map(_means_at_once, torch.split(x, together)), strict=True)
    return torch.cat(strips), torch.cat(over_c)


def _means_at_once(x: Tensor) -> tuple[Tensor, Tensor]:
    if recorded(x) or not _is_channels_last(x):
        return strip_means(x), x.mean(1)
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(1, batch * height * width, channels)
    return strip_means(x), _average(rows.transpose(1, 2)).view(batch, height, width)


def _average(x: Tensor) -> Tensor:
    """The mean over the middle axis of three, which disappears."""
    if x.dtype != torch.bfloat16 or x.is_cuda:
        return x.mean(1)
    # A reduction of bfloat16 on the CPU goes through a copy in float32; a product does not.
    return torch.bmm(x.new_full((x.shape[0], 1, x.shape[1]), 1 / x.shape[1]), x)[:, 0]


class _Means(Function):
    """The means; their gradients meet in one tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.shape, ctx.channels_last = x.shape, _is_channels_last(x)
        return _means(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        _, channels, height, width = ctx.shape
        strips, over_c = grads
        over_w, over_h = torch.split(strips, [height, width], dim=1)
        over_w, over_h, over_c = over_w / width, over_h / height, over_c / channels
        if ctx.channels_last:
            total: Tensor = over_w[:, :, None] + over_h[:, None]  # (B, H, W, C)
            return total.add_(over_c[..., None]).permute(0, 3, 1, 2)
        total = over_w.transpose(1, 2)[..., None] + over_h.transpose(1, 2)[:, :, None]
        return total.add_(over_c[:, None])


def _recalibrate(x: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
    """Without a gradient; a tensor of its own, which whoever comes next may overwrite."""
    channels_last = _is_channels_last(x)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    output = torch.empty_like(x, memory_format=layout)
    if x.is_cuda or x.dtype.itemsize < 4:
        flat = spatial.flatten(2)  # (B, K, HW); the map is a product of matrices, in X's order
        if channels_last:
            there = output.permute(0, 2, 3, 1).flatten(1, 2)
            torch.bmm(flat.transpose(1, 2), channel, out=there)
        else:
            torch.bmm(channel.transpose(1, 2), flat, out=output.flatten(2))
        return output.mul_(x)
    # for K this small, MKL takes longer than K passes over the map, on AMD several times
    parts = (torch.split(t, _together(x)) for t in (channel, spatial, output, x))
    for c, s, there, part in zip(*parts, strict=True):
        expand(c, s, there).mul_(part)
    return output


class _Recalibrate(Function):
    """X times the map; keeps X or its origin and the rank-1 tensors, and builds the map again."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, channel: Tensor, spatial: Tensor, made: Origin | None
    ) -> Tensor:
        kept = (x,) if made is None else (made.x, made.weight, made.bias)
        ctx.save_for_backward(channel, spatial, *kept)
        ctx.eps = None if made is None else made.eps
        return _recalibrate(x, channel, spatial)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        channel, spatial, *kept = ctx.saved_tensors
        x = kept[0] if ctx.eps is None else again(kept[0], kept[1], kept[2], ctx.eps)
        share = grad * x  # what the map receives
        if _is_channels_last(x):
            share = share.permute(0, 2, 3, 1).flatten(1, 2)  # (B, HW, C)
            to_channel = torch.bmm(spatial.flatten(2), share)  # (B, K, C)
            to_spatial = torch.bmm(channel, share.transpose(1, 2))  # (B, K, HW)
        else:
            share = share.flatten(2)  # (B, C, HW)
            to_channel = torch.bmm(spatial.flatten(2), share.transpose(1, 2))
            to_spatial = torch.bmm(channel, share)
        to_x = recalibrate(grad, channel, spatial) if ctx.needs_input_grad[0] else None
        return to_x, to_channel, to_spatial.view_as(spatial), None
