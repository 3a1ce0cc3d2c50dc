"""Every benchmark runs, prints ratios and keeps them, on a small network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments import bench, benchmarks
from experiments.timing import Ratio

SMALL = ["--backbone", "resnet18", "--size", "32", "--rounds", "3"]
RATIO = r"\d+\.\d\d \(\d+\.\d\d-\d+\.\d\d\)"


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["network", *SMALL], 6),
        (["train", *SMALL, "--batch", "2", "--dtype", "bfloat16"], 6),
        (["module", "--rounds", "3"], 24),
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


def test_recorded_numbers_stand_with_their_command_until_it_is_run_again(tmp_path: Path):
    file = tmp_path / "benchmarks.json"
    for command, median in (("a", 1.5), ("b", 2.5), ("a", 3.5)):
        rows = {"drtam": Ratio(median, 1, 9)}
        benchmarks.record(command, "a machine", benchmarks.Table("t", "it", rows), file)
    written = (tmp_path / "BENCHMARKS.md").read_text()
    assert re.findall(r"experiments.bench (\w)`", written) == ["a", "b"]
    assert re.findall(r"\| drtam \| (\S+) ", written) == ["3.50", "2.50"]
