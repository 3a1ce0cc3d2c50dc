"""Trainings by the command, in processes of their own: stopped, or shared by two."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from experiments.server import ROOT
from experiments.train import main

TRAIN = ["-m", "experiments.train"]


def kill_after(steps: int, arguments: list[str], out: Path) -> None:
    """Start a training and kill it as soon as it has saved so many steps."""
    command = [sys.executable, *TRAIN, *arguments, "--out", str(out), "--save-seconds", "0"]
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while run.poll() is None and not reached(out, steps):
        time.sleep(0.01)
    assert run.poll() is None, "it ended before it could be killed"
    run.send_signal(signal.SIGKILL)
    run.wait()


def reached(out: Path, steps: int) -> bool:
    path = out / "state.pt"
    return path.exists() and torch.load(path, weights_only=True, mmap=True)["step"] >= steps


def one_and_two(arguments: list[str], folder: Path) -> tuple[Path, Path]:
    """The folders of a training in two parts by one process, and by two of one part each."""
    shared = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    one, two = folder / "one", folder / "two"
    for command in (
        [*shared, "--nproc-per-node", "2", *TRAIN, *arguments, "--out", str(two)],
        [sys.executable, *TRAIN, *arguments, "--out", str(one), "--accumulate", "2"],
    ):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # rounding depends on their number
        subprocess.run(
            command, cwd=ROOT, check=True, capture_output=True, env=environment, timeout=300
        )
    return one, two


def assert_goes_on(arguments: list[str], folder: Path) -> None:
    """A training that is killed in its second epoch of two steps ends as one that was not."""
    killed, whole = folder / "killed", folder / "whole"
    kill_after(3, [*arguments, "--workers", "2"], killed)
    for out in (killed, whole):
        main([*arguments, "--workers", "0", "--out", str(out)])
    assert rows(killed) == rows(whole)
    resumed = weights(killed)
    assert all(torch.equal(resumed[k], v) for k, v in weights(whole).items())


def weights(out: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(out / "state.pt", weights_only=True)["model"]
    return found


def learned(out: Path) -> dict[str, torch.Tensor]:
    """The weights without the batch norms' statistics, which are each process's own."""
    return {k: v for k, v in weights(out).items() if "running" not in k and "num_b" not in k}


def rows(out: Path) -> list[dict[str, float]]:
    """The log of the epochs, without the speed."""
    with (out / "log.csv").open() as file:
        found = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    for row in found:
        del row["photos_per_second"]
    return found
