"""Copies of networks, also of those whose weights are computed from others."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import Tensor, nn

from drtam.explain.turns import turn

M = TypeVar("M", bound=nn.Module)


def copied(model: M) -> M:
    """A deep copy, which torch refuses where pruning or ``weight_norm`` left a computed weight.

    In the copy such a weight is detached until the next forward pass computes it anew.
    """
    with turn(model):
        computed = {
            id(value): value.detach().clone()
            for module in model.modules()
            for value in vars(module).values()
            if isinstance(value, Tensor) and not value.is_leaf
        }
        return copy.deepcopy(model, computed)
