"""An analysis that would not fit is refused before it is tried."""

from __future__ import annotations

import re
import sys
import weakref
from subprocess import run

import psutil
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import interpolate

from drtam import DRTAM
from drtam.explain import analysis, analyze, memory
from models import build_model

VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


class Scaling(nn.Module):
    """Scales its images itself, as detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate, self.head = nn.Conv2d(3, 8, 3), DRTAM(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gate(self.conv(interpolate(x, (100, 100)))).mean((2, 3)))


class Kept:
    """What autograd keeps for the backward pass."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # an output that held itself would never be freed


def test_what_would_not_fit_is_refused_and_the_network_is_left_as_it_was(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 10_000_000)
    model = build_model("resnet18", "drtam", num_classes=5, seed=0).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(MemoryError, match=r"about \d\.\d GB.*fewer or smaller images"):
        analyze(model, torch.zeros(1, 3, 1024, 1024))
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    analyze(model, torch.zeros(1, 3, 64, 64))


def test_free_memory_is_what_the_system_could_give(monkeypatch):
    monkeypatch.setattr(memory, "CONTAINERS", ())
    available = psutil.virtual_memory().available
    assert memory.free_bytes(torch.device("cpu")) == pytest.approx(available, rel=0.2)
    assert memory.free_bytes(torch.device("meta")) is None


@pytest.mark.parametrize(
    ("line", "limit", "used", "cached"),
    [
        ("0::/a/b", "memory.max", "memory.current", "inactive_file"),
        ("3:cpu:/\n4:memory:/a/b", *VERSION_1),
        ("4:memory,cpu:/elsewhere/c", *VERSION_1),
    ],
)
def test_free_memory_is_what_a_container_leaves(tmp_path, monkeypatch, line, limit, used, cached):
    own = tmp_path / "own"
    own.write_text(f"{line}\n")
    found = [(pattern, tmp_path / "groups", *names) for pattern, _, *names in memory.CONTAINERS]
    monkeypatch.setattr(memory, "OWN_GROUPS", own)
    monkeypatch.setattr(memory, "CONTAINERS", found)
    free = memory.free_bytes(torch.device("cpu"))
    assert free == pytest.approx(psutil.virtual_memory().available, rel=0.2), "there is no limit"
    inner = tmp_path / "groups" / "a" / "b"
    inner.mkdir(parents=True)
    for group, most in ((inner, 10**12), (inner.parent.parent, 90_000_000)):  # the outer counts
        (group / limit).write_text(f"{most}\n")
        (group / used).write_text("50000000\n")
        counted = {"inactive_file": 7, cached: 20_000_000, "active_file": 9}
        (group / "memory.stat").write_text("".join(f"{k} {v}\n" for k, v in counted.items()))
    assert memory.free_bytes(torch.device("cpu")) == 60_000_000
    if limit == "memory.max":
        (inner.parent.parent / limit).write_text("max\n")
        assert memory.free_bytes(torch.device("cpu")) > 60_000_000


def test_the_graph_is_gone_before_the_maps_are_looked_at(monkeypatch):
    kept: weakref.WeakSet[Kept] = weakref.WeakSet()
    most, left = [], []

    def keep(tensor: Tensor) -> Kept:
        kept.add(one := Kept(tensor))
        most.append(len(kept))
        return one

    def looked_at(*args: object) -> analysis.LayerAnalysis:
        left.append(len(kept))
        return layer(*args)

    layer = analysis._layer
    monkeypatch.setattr(analysis, "_layer", looked_at)
    with saved_tensors_hooks(keep, lambda one: one.tensor):
        found = analyze(build_model("resnet18", "drtam", num_classes=5), torch.rand(1, 3, 64, 64))
    assert max(most) > 20
    assert left == [0] * len(found.layers)


def test_networks_whose_need_cannot_be_told_are_not_refused(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 1)
    analyze(Scaling(), torch.zeros(1, 3, 1024, 1024))


def test_memory_grows_with_the_pixels_as_expected():
    small = ["--backbone", "resnet18", "--size", "64", "--batch", "32"]
    command = [sys.executable, "-m", "experiments.bench", "memory", *small]
    printed = run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    *measured, expected = map(int, re.findall(r"(\d+)(?: at \d+ px|\.\n)", printed))
    assert len(measured) == 3
    assert measured[-1] == pytest.approx(expected, rel=0.4)
    peaks = dict(re.findall(r"\| ([^|]+) \| (\d+\.\d\d) ", printed))
    assert len(peaks) == 6
    assert 1 < float(peaks["drtam"]) < float(peaks["drtam, as usually written"])
