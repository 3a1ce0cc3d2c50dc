"""Attention layers with changes in place, for as long as a context is open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from drtam.base import AttentionModule, AttentionTrace, attention_layers
from drtam.cbam import CBAM, CBAMTrace
from drtam.checks import check_feature
from drtam.coordinate import CATrace, CoordinateAttention
from drtam.descriptors import Descriptors
from drtam.dual import DRTAM, DRTAMTrace
from drtam.explain.interventions import ExactResidual, Flat, LayerChange, MapRegion, Off, gains
from drtam.explain.turns import turn
from drtam.factors import Factors, combined_terms
from drtam.no_attention import NoAttentionTrace
from drtam.passes import recalibrate

Map = Literal["initial", "complement"]


@dataclass(frozen=True)
class PaintedTrace:
    """Of a layer in whose map a region is suppressed or boosted.

    Attributes:
        trace: of the same layer without the region.
        gain: (B, H, W), G, for every image the same.
        output: (B, C, H, W), X A G.
    """

    trace: AttentionTrace
    gain: Tensor
    output: Tensor

    def attention(self) -> Tensor:
        """A G: (B, C, H, W), at least 0, above 1 where a region is boosted enough."""
        return self.trace.attention() * self.gain[:, None]

    def spatial(self) -> Tensor:
        """The mean of A G over C: (B, H, W)."""
        return self.trace.spatial() * self.gain


@contextmanager
def intervening(model: nn.Module, changes: Sequence[LayerChange]) -> Iterator[None]:
    """While the context is open, the network's layers compute with all changes in place.

    Every call of a layer is changed, whether by ``forward``, ``trace`` or ``analyze``; the
    weights are not. On leaving, also by an exception, the modules are as they were. Where two
    contexts are open, a layer follows the inner one that changes it. Other threads that explain
    the network wait.

    Args:
        model: any network with attention modules inside.
        changes: any number, in any order.

    Raises:
        ValueError: a layer does not exist, or has not what a change is about.
    """
    plans = changes_by_layer(model, changes)
    modules = attention_layers(model)
    with turn(model):
        before = {name: modules[name].__dict__.get("trace") for name in plans}
        try:
            for name, plan in plans.items():
                # a copy's is of the copy
                change = partial(changed_trace, modules[name], changes=plan)
                modules[name].__dict__["trace"] = change
            yield
        finally:
            for name, trace in before.items():
                modules[name].__dict__.pop("trace", None)
                if trace is not None:
                    modules[name].__dict__["trace"] = trace


def changes_by_layer(
    model: nn.Module, changes: Sequence[LayerChange]
) -> dict[str, tuple[LayerChange, ...]]:
    """What happens in which layer, in the order of ``attention_layers``.

    Raises:
        ValueError: a layer does not exist, or has not what a change is about.
    """
    modules = attention_layers(model)
    plans: dict[str, tuple[LayerChange, ...]] = {}
    for change in changes:
        named = change.layers
        for name in named or ():
            if not applies(change, layer_of(model, name)):
                raise ValueError(_misfit(change, name, modules[name]))
        chosen = [name for name, module in modules.items() if applies(change, module)]
        if not chosen:
            raise ValueError(_misfit(change, *next(iter(modules.items()), ("", model))))
        for name in chosen if named is None else named:
            plans[name] = (*plans.get(name, ()), change)
    return {name: plans[name] for name in modules if name in plans}


def layer_of(model: nn.Module, name: str) -> AttentionModule:
    """The attention module of that layer name.

    Raises:
        ValueError: there is none.
    """
    modules = attention_layers(model)
    if name not in modules:
        raise ValueError(f"layers must be among {', '.join(modules)}, not {name!r}")
    return modules[name]


def applies(change: LayerChange, module: nn.Module) -> bool:
    """Whether a module has what the change is about."""
    if isinstance(change, MapRegion) or (isinstance(change, Off) and change.map == "attention"):
        return isinstance(module, AttentionModule)
    if isinstance(module, DRTAM):
        return True
    if not isinstance(change, Flat) or change.map != "both":
        return False
    own = {CBAM: ("c",), CoordinateAttention: ("h", "w")}
    return any(isinstance(module, kind) and change.factor in own[kind] for kind in own)


def _misfit(change: LayerChange, name: str, module: nn.Module) -> str:
    what = repr(replace(change, layers=None)).replace(", layers=None", "")
    return f"{what} makes no sense in {name or 'model'}, a {type(module).__name__}"


def changed_trace(
    module: AttentionModule, x: Tensor, changes: Sequence[LayerChange]
) -> AttentionTrace:
    """What a module computes from X (B, C, H, W) with all changes in place."""
    check_feature(x, module.channels)
    trace: AttentionTrace
    if any(isinstance(change, Off) and change.map == "attention" for change in changes):
        trace = NoAttentionTrace(x.new_ones(()).expand(x[:, 0].shape), module.channels, x.clone())
    elif isinstance(module, DRTAM):
        trace = _drtam(module, x, changes)
    elif isinstance(module, CBAM):
        trace = _cbam(module, x, changes)
    elif isinstance(module, CoordinateAttention):
        trace = _ca(module, x, changes)
    else:
        trace = type(module).trace(module, x)
    for change in changes:
        if isinstance(change, MapRegion):
            gain = gains(change, x).expand(len(x), -1, -1)
            trace = PaintedTrace(trace, gain, trace.output * gain[:, None])
    return trace


def _drtam(module: DRTAM, x: Tensor, changes: Sequence[LayerChange]) -> DRTAMTrace:
    descriptors = Descriptors.of(x)
    initial = _changed(module.initial(descriptors), "initial", changes)
    if any(isinstance(change, ExactResidual) for change in changes):
        residual = Descriptors.of(x * (1 - initial.map()))
    else:
        residual = descriptors.residual(initial)  # Eqn 12-14
    complement = _changed(module.complement(residual), "complement", changes)
    output = recalibrate(x, *combined_terms(initial, complement))  # Eqn 1
    return DRTAMTrace(descriptors, initial, residual, complement, output)


def _changed(factors: Factors, which: Map, changes: Sequence[LayerChange]) -> Factors:
    for factor in _flat(changes, which):
        factors = replace(factors, **{factor: _mean(getattr(factors, factor), 1)})
    if any(isinstance(change, Off) and change.map == which for change in changes):
        c, h, w = (torch.zeros_like(part) for part in (factors.c, factors.h, factors.w))
        return Factors(c, h, w)  # all three, because each of Eqn 12-14 leaves one out
    return factors


def _cbam(module: CBAM, x: Tensor, changes: Sequence[LayerChange]) -> CBAMTrace:
    channel = module.channel_gate(x)
    if "c" in _flat(changes):
        channel = _mean(channel, 1)
    x = x * channel[:, :, None, None]
    spatial = module.spatial_gate(x)
    return CBAMTrace(channel, spatial, x * spatial[:, None])


def _ca(module: CoordinateAttention, x: Tensor, changes: Sequence[LayerChange]) -> CATrace:
    trace, flat = CoordinateAttention.trace(module, x), _flat(changes)
    h = _mean(trace.h, 2) if "h" in flat else trace.h
    w = _mean(trace.w, 2) if "w" in flat else trace.w
    return CATrace(h, w, x * h[..., None] * w[:, :, None])


def _flat(changes: Sequence[LayerChange], which: Map | None = None) -> set[str]:
    """The factors to flatten, in one of DRTAM's maps or in a module's only one."""
    return {c.factor for c in changes if isinstance(c, Flat) and c.map in ("both", which)}


def _mean(values: Tensor, axis: int) -> Tensor:
    return values.mean(axis, keepdim=True).expand_as(values)
