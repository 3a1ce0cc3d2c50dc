"""What a training step keeps between its passes, and how the memory of ``analyze`` grows."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import torch

from drtam.explain.memory import bytes_per_pixel, kept_bytes
from experiments.benchmarks import Table
from experiments.timing import Ratio
from experiments.workloads import compared, feature, loss, network

SIDES = (224, 448, 896)
PEAK = r"""
import json, re, sys
from pathlib import Path
from drtam.explain import analyze
from experiments.workloads import feature, network
model = network(sys.argv[1], sys.argv[2]).eval().requires_grad_(False)
peaks, status = [], Path("/proc/self/status")
Path("/proc/self/clear_refs").write_text("5")  # the largest resident set so far is forgotten
for side in [64, *map(int, sys.argv[3:])]:
    analyze(model, feature(1, 3, side, "float32").cpu())
    peaks.append(1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]))
print(json.dumps(peaks))
"""


def bench_memory(options: argparse.Namespace) -> Table:
    """Bytes that a training step keeps for its backward pass, over the plain network's.

    Weights do not count, and what two operations keep counts once.
    """
    x = feature(options.batch, 3, options.size, options.dtype)
    kept = {}
    for name, model in compared(options.backbone).items():
        model.train().to(x.device).to(memory_format=torch.channels_last)
        kept[name] = kept_bytes(model, lambda model=model: loss(model, x))  # type: ignore[misc]
    least = kept.pop("none")
    rows = {name: Ratio(*[count / least] * 3) for name, count in kept.items()}
    size = f"{options.dtype}, batch {options.batch}, {options.size} px"
    title = f"{options.backbone}, kept for the backward pass, {size}"
    return Table(title, "the plain network's bytes", rows, growth(options.backbone))


def growth(backbone: str) -> list[str]:
    """What ``analyze`` took at most in a process of its own, beside what it expects to take."""
    command = [sys.executable, "-c", PEAK, backbone, "drtam", *map(str, SIDES)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    first, *peaks = json.loads(found.splitlines()[-1])
    measured = [
        f"{(peak - first) / (side**2 - 64**2):.0f} at {side} px"
        for side, peak in zip(SIDES, peaks, strict=True)
    ]
    model = network(backbone, "drtam").eval().requires_grad_(False)
    expected = bytes_per_pixel(model, feature(1, 3, 64, "float32").cpu())
    return [
        f"`analyze` takes {', '.join(measured)} bytes for each pixel more, measured as the "
        f"largest resident set of a process on the CPU; it expects {expected:.0f}."
    ]
