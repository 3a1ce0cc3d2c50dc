"""Every benchmark runs and prints ratios, on a small network."""

from __future__ import annotations

import re

import pytest

from experiments import bench

SMALL = ["--backbone", "resnet18", "--size", "32", "--rounds", "3"]
RATIO = r"\d+\.\d\d \(\d+\.\d\d-\d+\.\d\d\)"


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["network", *SMALL], 3),
        (["train", *SMALL, "--batch", "2", "--dtype", "bfloat16"], 3),
        (["module", "--rounds", "3"], 12),
        (["analyze", *SMALL], 2),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_benchmark_prints_its_ratios_below_the_machine(arguments, count, capsys):
    bench.main(arguments)
    first, *lines = capsys.readouterr().out.splitlines()
    assert "torch" in first
    assert "threads" in first
    assert len(re.findall(RATIO, "\n".join(lines))) == count
