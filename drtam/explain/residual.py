"""How well Eqn 12-14 approximate the descriptors of the residual."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from drtam.descriptors import Descriptors
from drtam.dual import DRTAMTrace


@dataclass(frozen=True)
class ResidualCheck:
    """The residual descriptors against exact pooling of X (1 - A_I).

    Attributes:
        exact: the descriptors pooled from X (1 - A_I).
        error: (B, 3), for ch, cw and hw: the norm of the difference over the exact norm.
    """

    exact: Descriptors
    error: Tensor


def exact_residual(x: Tensor, trace: DRTAMTrace) -> Descriptors:
    """Descriptors of X (1 - A_I) by pooling, without building that tensor.

    A_I is c o h o w, so its share of X_ch is c o h times the mean of X over W weighted by w,
    and likewise for the other two: what Eqn 12-14 leave out is that weight.
    """
    c, h, w = trace.initial.c, trace.initial.h, trace.initial.w
    seen = trace.descriptors
    along_w = torch.einsum("bchw,bw->bch", x, w / w.shape[1])
    along_h = torch.einsum("bchw,bh->bcw", x, h / h.shape[1])
    along_c = torch.einsum("bchw,bc->bhw", x, c / c.shape[1])
    return Descriptors(
        ch=seen.ch - c[:, :, None] * h[:, None, :] * along_w,
        cw=seen.cw - c[:, :, None] * w[:, None, :] * along_h,
        hw=seen.hw - trace.initial.spatial() * along_c,
    )


def check_residual(approximate: Descriptors, exact: Descriptors) -> ResidualCheck:
    """The relative error of each residual descriptor."""
    pairs = (
        (approximate.ch, exact.ch),
        (approximate.cw, exact.cw),
        (approximate.hw, exact.hw),
    )
    errors = [_relative(ours.float(), theirs.float()) for ours, theirs in pairs]
    return ResidualCheck(exact=exact, error=torch.stack(errors, dim=1))


def _relative(ours: Tensor, theirs: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(theirs.flatten(1), dim=1)
    difference = torch.linalg.vector_norm((ours - theirs).flatten(1), dim=1)
    error: Tensor = difference / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    return error
