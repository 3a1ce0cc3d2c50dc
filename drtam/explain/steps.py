"""What happens inside DRTAM, step by step: Eqn 3-11 of both passes, with their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from drtam.chunks import bounds
from drtam.descriptors import Descriptors
from drtam.dual import DRTAM, DRTAMTrace
from drtam.explain.copying import copied
from drtam.factors import Factors
from drtam.rank_one import RankOneAttention

READ = (
    *("channel", "channel_norm", "mlp.2"),
    *("row", "row_norm", "column", "column_norm"),
)
Descriptor = Literal["ch", "cw", "hw"]
Pooling = Literal["Avg", "Max"]


@dataclass(frozen=True)
class Strip:
    """One row of P_c, P_h or P_w: a descriptor's chunk, pooled.

    Attributes:
        descriptor: that was cut.
        pooling: of the chunk.
        number: of the chunk, from 1.
        count: of the chunks into which the axis was cut; 1 for Eqn 9.
        start: the chunk's first index.
        size: its length, at least 1.
    """

    descriptor: Descriptor
    pooling: Pooling
    number: int
    count: int
    start: int
    size: int


@dataclass(frozen=True)
class Embedding:
    """From pooled strips to one factor; L is C, H or W.

    Attributes:
        strips: what each of the K rows of ``pooled`` is, in the paper's order.
        pooled: (B, K, L), P (Eqn 3, 4 or 7-9).
        weight: (K, 1) for c and (K, 3) for h and w, of the convolution.
        mixed: (B, L), S (Eqn 5 or 10).
        normed: (B, L), BN(S); S itself for c, unless the module has a ``channel_norm``.
        norm: slope and intercept of that BN, which is a straight line in evaluation; (1, 0)
            where there is none.
        hidden: (B, hidden width), >= 0, for c: F0 and ReLU (Eqn 6).
        logit: (B, L), what enters the sigmoid.
        factor: (B, L), in (0, 1) (Eqn 6 or 11).
    """

    strips: tuple[Strip, ...]
    pooled: Tensor
    weight: Tensor
    mixed: Tensor
    normed: Tensor
    norm: tuple[float, float]
    hidden: Tensor | None
    logit: Tensor
    factor: Tensor


@dataclass(frozen=True)
class RTAMSteps:
    """One rank-1 tensor attention module at work.

    Attributes:
        descriptors: that it was given.
        c: how the channel factor came about.
        h: likewise for the rows.
        w: likewise for the columns.
    """

    descriptors: Descriptors
    c: Embedding
    h: Embedding
    w: Embedding


@dataclass(frozen=True)
class DRTAMSteps:
    """Both passes: the initial one on X, the complement one on the residual."""

    initial: RTAMSteps
    complement: RTAMSteps


def drtam_steps(module: DRTAM, trace: DRTAMTrace) -> DRTAMSteps:
    """The steps that led to a trace, on the CPU in float32 or better.

    A copy of the module runs again on the trace's descriptors, which are small, and what
    enters and leaves its layers is written down. The module itself is not touched.

    Args:
        module: that made the trace, in evaluation mode.
        trace: of it; its output is not needed.
    """
    dtype = torch.promote_types(trace.initial.c.dtype, torch.float32)
    own = copied(module).to("cpu", dtype).eval()
    initial, complement = (
        Descriptors(*(t.to("cpu", dtype) for t in (d.ch, d.cw, d.hw)))
        for d in (trace.descriptors, trace.residual)
    )
    with torch.no_grad():
        return DRTAMSteps(_rtam(own.initial, initial), _rtam(own.complement, complement))


def _rtam(module: RankOneAttention, descriptors: Descriptors) -> RTAMSteps:
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    handles = [
        module.get_submodule(name).register_forward_hook(_writer(name, seen)) for name in READ
    ]
    factors: Factors = module(descriptors)
    for handle in handles:  # the MLP belongs to the other pass too
        handle.remove()

    def embedding(layer: str, strips: list[Strip], factor: Tensor) -> Embedding:
        order = sorted(range(len(strips)), key=lambda k: _place(strips[k], layer))
        pooled, mixed = seen[layer]
        normed = seen[f"{layer}_norm"][1][:, 0]
        hidden, logit = seen["mlp.2"] if layer == "channel" else (None, normed)
        return Embedding(
            strips=tuple(strips[k] for k in order),
            pooled=pooled[:, order],
            weight=getattr(module, layer).weight.detach()[0, order],  # computed, where pruned
            mixed=mixed[:, 0],
            normed=normed,
            norm=_line(module.get_submodule(f"{layer}_norm")),
            hidden=hidden,
            logit=logit,
            factor=factor,
        )

    height, width = descriptors.hw.shape[1:]
    return RTAMSteps(
        descriptors,
        embedding("channel", _channel_strips(module.s, height, width), factors.c),
        embedding("row", _spatial_strips(module, "ch", width), factors.h),
        embedding("column", _spatial_strips(module, "cw", height), factors.w),
    )


def _line(norm: nn.Module) -> tuple[float, float]:
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm):  # nn.SyncBatchNorm too
        return 1.0, 0.0
    assert norm.running_mean is not None
    assert norm.running_var is not None
    slope = norm.weight / (norm.running_var + norm.eps).sqrt()
    return float(slope), float(norm.bias - norm.running_mean * slope)


def _writer(
    name: str, seen: dict[str, tuple[Tensor, Tensor]]
) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
    def write_down(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        seen[name] = inputs[0], output

    return write_down


def _place(strip: Strip, layer: str) -> tuple[bool, int, bool, str]:
    """Sorts as Eqn 5 and 10 do: chunk by chunk, the maxima over C behind."""
    first = "cw" if layer == "channel" else "hw"
    behind = layer != "channel" and strip.descriptor != "hw" and strip.pooling == "Max"
    return behind, strip.number, strip.descriptor != first, strip.pooling


def _strips(descriptor: Descriptor, pooling: Pooling, length: int, count: int) -> list[Strip]:
    return [
        Strip(descriptor, pooling, k, count, start, size)
        for k, (start, size) in enumerate(bounds(length, count), start=1)
    ]


def _channel_strips(s: int, height: int, width: int) -> list[Strip]:
    """The rows of P_c in the module's order, which only permutes the convolution's weights."""
    return [
        *_strips("ch", "Avg", height, s),
        *_strips("ch", "Max", height, s),
        *_strips("cw", "Avg", width, s),
        *_strips("cw", "Max", width, s),
    ]


def _spatial_strips(module: RankOneAttention, descriptor: Descriptor, across: int) -> list[Strip]:
    """Likewise of P_h or P_w: ``descriptor`` is cut along C, X_hw along the axis ``across``."""
    maxima = module.n if module.max_pools else 1
    return [
        *_strips(descriptor, "Avg", module.channels, module.n),
        *_strips(descriptor, "Max", module.channels, maxima),
        *_strips("hw", "Avg", across, module.s),
        *(_strips("hw", "Max", across, module.s) if module.max_pools else ()),
    ]
