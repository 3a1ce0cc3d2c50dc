"""Which of two formulations runs: the one for any size or the one for this size."""

from __future__ import annotations

import torch
from torch import Tensor


def recorded(x: Tensor) -> bool:
    """Whether what is done with ``x`` should be what the equations say, step by step.

    Then the modules leave it to a compiler to fuse the steps, and to a counter to find the layers.
    A tensor without data counts as recorded; see ``traced`` for the rest.
    """
    return traced(x) or x.is_meta


def traced(x: Tensor) -> bool:
    """Whether what is done with ``x`` becomes a graph that may run at other sizes.

    Then the modules use operations that hold for every size, otherwise constants of this size.
    Everything inside a transform of ``torch.func`` counts as traced.
    """
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or type(x) not in (Tensor, torch.nn.Parameter)
        or torch._C._are_functorch_transforms_active()
    )
