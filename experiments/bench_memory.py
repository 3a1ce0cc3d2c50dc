"""The peak of memory: of a training step, and of ``analyze`` as its image grows."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch

from drtam.explain import analyze
from drtam.explain.memory import bytes_per_pixel
from experiments.benchmarks import Table
from experiments.timing import Ratio
from experiments.workloads import NAMES, feature, named, network, step

T = TypeVar("T")
SIDES = (224, 448, 896)
SMALL = 64  # side of what runs first, so that what the libraries set up once does not count
STATUS = Path("/proc/self/status")


def bench_memory(options: argparse.Namespace) -> Table:
    """What a training step takes at most, over the plain network's step.

    Weights do not count, their gradients do.
    """
    given = options.backbone, options.batch, options.size, options.dtype
    peaks = {name: _alone(step_peak, name, *given) for name in NAMES}
    least = peaks.pop("none")
    rows = {name: Ratio(*[peak / least] * 3) for name, peak in peaks.items()}
    size = f"{options.dtype}, batch {options.batch}, {options.size} px"
    title = f"{options.backbone}, the largest memory of a training step, {size}"
    return Table(title, "the plain network's bytes", rows, growth(options.backbone))


def growth(backbone: str) -> list[str]:
    """What ``analyze`` took at most, beside what it expects to take."""
    first, *peaks = _alone(analyze_peaks, backbone, (SMALL, *SIDES))
    measured = [
        f"{(peak - first) / (side**2 - SMALL**2):.0f} at {side} px"
        for side, peak in zip(SIDES, peaks, strict=True)
    ]
    model = network(backbone, "drtam").eval().requires_grad_(False)
    expected = bytes_per_pixel(model, feature(1, 3, SMALL, "float32").cpu())
    return [
        f"`analyze` takes {', '.join(measured)} bytes for each pixel more, measured as the "
        f"largest resident set of a process on the CPU; it expects {expected:.0f}."
    ]


def step_peak(name: str, backbone: str, batch: int, size: int, dtype: str) -> int:
    """Bytes that a training step of one of ``NAMES`` takes at most beyond what is there."""
    x = feature(batch, 3, size, dtype)
    model = named(backbone, name).train().to(x.device).to(memory_format=torch.channels_last)
    step(model, x[:2, :, :SMALL, :SMALL])()
    before = torch.cuda.memory_allocated() if x.is_cuda else _resident("VmRSS")
    return _peak(step(model, x), x.device) - before


def analyze_peaks(backbone: str, sides: tuple[int, ...]) -> list[int]:
    """Bytes of a process on the CPU that analyses an image of each size, at most."""
    model = network(backbone, "drtam").eval().requires_grad_(False)
    images = [feature(1, 3, side, "float32").cpu() for side in sides]
    return [_peak(lambda x=x: analyze(model, x), x.device) for x in images]  # type: ignore[misc]


def _alone(measure: Callable[..., T], *given: object) -> T:
    """In a process of its own, whose memory nothing else has used."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *given).result()


def _peak(work: Callable[[], object], device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # the largest resident set so far is forgotten
    work()
    return _resident("VmHWM")


def _resident(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+)", STATUS.read_text())
    assert found is not None
    return 1024 * int(found[1])
