"""Which of two formulations runs: the one for any size or the one for this size."""

from __future__ import annotations

import torch
from torch import Tensor


def recorded(x: Tensor) -> bool:
    """Whether what is done with ``x`` becomes a graph that may run at other sizes.

    Then the modules follow the equations in operations that hold for every size, and leave
    it to a compiler to fuse them. Otherwise they use constants of this size. A tensor without
    data counts as recorded, and so does everything inside a transform of ``torch.func``.
    """
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or type(x) not in (Tensor, torch.nn.Parameter)
        or x.is_meta
        or torch._C._are_functorch_transforms_active()
    )
