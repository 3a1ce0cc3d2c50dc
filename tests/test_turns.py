"""Threads that explain the same network at once get what each alone gets."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import torch
from torch import Tensor, nn

from drtam import DRTAM
from drtam.explain import Flat, Off, ablate, analyze, channel_effects, faithfulness


class Meeting(nn.Module):
    """The first that runs is slow: time enough for others to meddle, if they can."""

    inside = Event()

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.start, self.gate = nn.Conv2d(3, 6, 3), DRTAM(6)
        self.end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        if not self.inside.is_set():
            self.inside.set()
            time.sleep(0.5)
        return self.end(self.gate(x))


def explain(network: nn.Module, x: Tensor) -> Tensor:
    return analyze(network, x).layers["gate"].gradcam


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    "other",
    [
        explain,
        lambda m, x: ablate(m, x, [Off("complement")]).change,
        lambda m, x: channel_effects(m, x, "gate", [Flat("c")], count=2).measured,
        lambda m, x: faithfulness(m, x, "gate", steps=2, draws=1).randomised,
    ],
)
def test_threads_take_turns(other: Callable[[nn.Module, Tensor], Tensor], wrapped):
    network, first, second = Meeting().eval(), *torch.rand(2, 1, 3, 12, 12).unbind(0)
    network.inside.set()
    expected = explain(network, first), other(network, second)
    network.inside.clear()
    seen = torch.compile(network) if wrapped else network
    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(explain, network, first)
        assert network.inside.wait(60)
        another = threads.submit(other, seen, second)
        results = one.result(60), another.result(60)
    for found, value in zip(results, expected, strict=True):
        torch.testing.assert_close(found, value, equal_nan=True)
