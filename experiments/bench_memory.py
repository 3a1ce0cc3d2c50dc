"""The peak of memory: of a training step, and of ``analyze`` as its image grows."""

from __future__ import annotations

import argparse
import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from drtam.explain import analyze
from drtam.explain.memory import bytes_per_pixel
from experiments.benchmarks import Table
from experiments.timing import Ratio
from experiments.workloads import NAMES, feature, named, network, step

SIDES = (224, 448, 896)
SMALL = 64  # side of what runs first, so that what the libraries set up once does not count
M_MMAP_THRESHOLD = -3  # of <malloc.h>
STATUS = Path("/proc/self/status")


def bench_memory(options: argparse.Namespace) -> Table:
    """What a training step takes at most, over the plain network's step.

    Weights do not count, their gradients do.
    """
    x = feature(options.batch, 3, options.size, options.dtype)
    with freed_at_once():
        peaks = {name: step_peak(named(options.backbone, name), x) for name in NAMES}
        grown = growth(options.backbone)
    least = peaks.pop("none")
    rows = {name: Ratio(*[peak / least] * 3) for name, peak in peaks.items()}
    size = f"{options.dtype}, batch {options.batch}, {options.size} px"
    title = f"{options.backbone}, the largest memory of a training step, {size}"
    return Table(title, "the plain network's bytes", rows, grown)


def growth(backbone: str) -> list[str]:
    """What ``analyze`` took at most, beside what it expects to take."""
    model = network(backbone, "drtam").eval().requires_grad_(False)
    images = {side: feature(1, 3, side, "float32").cpu() for side in (SMALL, *SIDES)}
    analyze(model, images[SMALL])
    peaks = {side: _peak(lambda x=x: analyze(model, x), x.device) for side, x in images.items()}  # type: ignore[misc]
    measured = [
        f"{(peaks[side] - peaks[SMALL]) / (side**2 - SMALL**2):.0f} at {side} px" for side in SIDES
    ]
    expected = bytes_per_pixel(model, images[SMALL])
    return [
        f"`analyze` takes {', '.join(measured)} bytes for each pixel more, measured as the "
        f"largest resident set of a process on the CPU; it expects {expected:.0f}."
    ]


@contextmanager
def freed_at_once() -> Iterator[None]:
    """A tensor's memory goes back as soon as it is freed; glibc else keeps some, by chance."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 2**16)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_THRESHOLD, 2**25)  # where glibc's own adjustment ends


def step_peak(model: nn.Module, x: Tensor) -> int:
    """Bytes that a training step takes at most beyond what is there."""
    model = model.train().to(x.device).to(memory_format=torch.channels_last)
    step(model, x[:2, :, :SMALL, :SMALL])()
    return _peak(step(model, x), x.device)


def _peak(work: Callable[[], object], device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL(None).malloc_trim(0)  # what was freed does not count as there
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the largest resident set so far is forgotten
    work()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+)", STATUS.read_text())
    assert found is not None
    return 1024 * int(found[1])
