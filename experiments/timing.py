"""Ratios of running times, measured so that a busy machine spoils all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How many times as long something took as the reference beside it.

    Attributes:
        median: over the rounds.
        low: lower quartile.
        high: upper quartile.
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        spread = f" ({self.low:.2f}-{self.high:.2f})" if self.low < self.high else ""
        return f"{self.median:.2f}{spread}"


def ratios(
    reference: Callable[[], object], *others: Callable[[], object], rounds: int = 15
) -> list[Ratio]:
    """The time of each function over the reference's, run in turn, round by round.

    Each function runs once unmeasured before the first round.
    """
    functions = (reference, *others)
    for function in functions:
        function()
    times = [[_seconds(function) for function in functions] for _ in range(rounds)]
    results = []
    for i in range(1, len(functions)):
        low, median, high = statistics.quantiles([row[i] / row[0] for row in times], n=4)
        results.append(Ratio(median, low, high))
    return results


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
