"""Weights with which a module's attention is the same everywhere."""

from __future__ import annotations

import math

from torch import nn


def gate_logit(level: float, gates: int, maps: int = 1) -> float:
    """What the sigmoid of each gate has to get for the attention to be ``level`` everywhere.

    Args:
        level: above 0 and below 1.
        gates: whose product is a map.
        maps: that are combined as in Eqn 1.

    Raises:
        ValueError: ``level`` is out of its range.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be above 0 and below 1, not {level!r}")
    of_map = 1 - (1 - level) ** (1 / maps)
    gate = of_map ** (1 / gates)
    return math.log(gate / (1 - gate))


def answer(layer: nn.Module, logit: float) -> None:
    """Make a layer give ``logit`` for whatever it gets, until training changes its weights."""
    nn.init.zeros_(layer.get_parameter("weight"))
    nn.init.constant_(layer.get_parameter("bias"), logit)
