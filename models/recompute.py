"""Attention behind a batch norm, without keeping what lies between them for the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from drtam.base import AttentionModule
from drtam.recorded import recorded


def attend_normed(attention: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """``attention(norm(x))``.

    A batch norm in training keeps ``x``, and attention would keep the feature X that the norm
    makes of it: a third more than a ResNet without attention keeps. X is made again from ``x``
    where the backward pass needs it, by the same operation, so it is the same to the bit.

    Args:
        attention: of ``drtam``; any other module keeps what it wants.
        norm: a batch norm; any other layer, and all in evaluation, works as usual.
        x: (B, C, H, W).

    Returns:
        What ``attention`` returns.
    """
    feature = norm(x)
    if not (
        isinstance(attention, AttentionModule)
        and isinstance(norm, nn.BatchNorm2d)
        and norm.training
        and not recorded(x)
        and torch.is_grad_enabled()
    ):
        return attention(feature)  # type: ignore[no-any-return]
    kept, layout = x.detach(), _layout(feature)  # not the feature: hooks would keep it alive

    def pack(saved: Tensor) -> Tensor | None:
        return None if _layout(saved) == layout else saved

    def unpack(saved: Tensor | None) -> Tensor:
        if saved is not None:
            return saved
        with torch.no_grad():
            return functional.batch_norm(
                kept, None, None, norm.weight, norm.bias, training=True, eps=norm.eps
            )

    with saved_tensors_hooks(pack, unpack):
        return attention(feature)  # type: ignore[no-any-return]


def _layout(x: Tensor) -> tuple[int, torch.dtype, torch.Size, tuple[int, ...]]:
    return x.data_ptr(), x.dtype, x.shape, x.stride()
