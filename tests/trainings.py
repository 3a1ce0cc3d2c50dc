"""Trainings by the command that are stopped."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from experiments.server import ROOT
from experiments.train import main


def kill_after(steps: int, arguments: list[str], out: Path) -> None:
    """Start a training and kill it as soon as it has saved so many steps."""
    train = [sys.executable, "-m", "experiments.train", *arguments]
    command = [*train, "--out", str(out), "--save-seconds", "0"]
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    seen = 0
    while run.poll() is None:
        if (written := changed(out)) != seen and reached(out, steps):
            break
        seen = written
        time.sleep(0.01)
    assert run.poll() is None, "it ended before it could be killed"
    run.send_signal(signal.SIGKILL)
    run.wait()


def changed(out: Path) -> int:
    path = out / "state.pt"
    return path.stat().st_mtime_ns if path.exists() else 0


def reached(out: Path, steps: int) -> bool:
    state = torch.load(out / "state.pt", weights_only=True, mmap=True)
    return bool(state["step"] >= steps)


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


def rows(out: Path) -> list[dict[str, float]]:
    """The log of the epochs, without the speed."""
    with (out / "log.csv").open() as file:
        found = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    for row in found:
        del row["photos_per_second"]
    return found
