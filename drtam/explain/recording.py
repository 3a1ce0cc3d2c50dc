"""Traces and outputs of all attention modules, caught during an ordinary forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from drtam.base import AttentionModule, AttentionTrace, attention_layers
from drtam.descriptors import Descriptors
from drtam.dual import DRTAMTrace
from drtam.explain.residual import exact_residual
from drtam.explain.turns import turn


@dataclass(frozen=True)
class Record:
    """One call of one attention module.

    Attributes:
        trace: as the module returned it; its output is part of the autograd graph.
        exact: for DRTAM, the descriptors of X (1 - A_I) pooled from X itself.
        differentiable: whether the network lets gradients reach the output.
    """

    trace: AttentionTrace
    exact: Descriptors | None
    differentiable: bool


@contextmanager
def recording(model: nn.Module) -> Iterator[dict[str, Record]]:
    """While the context is open, every call of an attention module leaves a ``Record``.

    What is recorded is its ``trace``, through which ``forward`` goes, a subclass's own too.
    Names are those of ``attention_layers``, in the order of the calls; the second call of a
    module within one pass is named ``layer3.5#2``. The network computes what it always does.
    On leaving, also by an exception, the modules are as they were.
    """
    records: dict[str, Record] = {}
    modules = attention_layers(model)
    with turn(model):
        before = {name: module.__dict__.get("trace") for name, module in modules.items()}
        try:
            for name, module in modules.items():
                module.__dict__["trace"] = _recorder(name, module, records)
            yield records
        finally:
            for name, module in modules.items():
                del module.__dict__["trace"]
                if before[name] is not None:
                    module.__dict__["trace"] = before[name]


def _recorder(
    name: str, module: AttentionModule, records: dict[str, Record]
) -> Callable[[Tensor], AttentionTrace]:
    calls, original = 0, module.trace

    def recorded_trace(x: Tensor) -> AttentionTrace:
        nonlocal calls
        calls += 1
        trace = original(x)
        if trace.output is x:  # of NoAttention: what else X is used for is no part of its output
            trace = dataclasses.replace(trace, output=x.clone())  # type: ignore[type-var]
        if not trace.output.requires_grad:  # all weights before it are frozen
            trace.output.requires_grad_()
        with torch.no_grad():
            exact = exact_residual(x, trace) if isinstance(trace, DRTAMTrace) else None
        records[name if calls == 1 else f"{name}#{calls}"] = Record(
            trace, exact, torch.is_grad_enabled()
        )
        # networks add the shortcut in place
        return dataclasses.replace(trace, output=trace.output.clone())  # type: ignore[type-var]

    return recorded_trace


def refuse_undifferentiable(records: Mapping[str, Record]) -> None:
    """Raise ``ValueError`` for layers whose Grad-CAM would be 0 for want of a gradient."""
    blind = [name for name, record in records.items() if not record.differentiable]
    if blind:
        raise ValueError(
            f"the network runs {', '.join(blind)} without gradients, which Grad-CAM needs: is "
            "there a torch.no_grad() in its forward, or a checkpoint with use_reentrant=True?"
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode while the context is open; then every module's own mode again.

    What was compiled runs as it was written: its graph leaves out what looks into it.
    """
    with turn(model):
        modes = {module: module.training for module in model.modules()}
        try:
            with _as_written(model):
                model.eval()
                yield
        finally:
            model.train(modes[model])  # which a network may have made its own
            for module, training in modes.items():
                module.training = training


def _as_written(model: nn.Module) -> AbstractContextManager[object]:
    compiled = any(
        hasattr(module, "_orig_mod") or module._compiled_call_impl is not None
        for module in model.modules()
    )
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()
