"""Every benchmark runs, prints ratios and keeps them, on a small network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from drtam import attention_layers
from drtam.explain import analyze
from experiments import bench, bench_analyze, benchmarks
from experiments.bench_page import BROWSER
from experiments.timed_app import STEPS
from experiments.timing import Ratio
from experiments.workloads import network

SMALL = ["--backbone", "resnet18", "--size", "32", "--rounds", "3"]
RATIO = r"\d+\.\d\d \(\d+\.\d\d-\d+\.\d\d\)"


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["network", *SMALL], 6),
        (["train", *SMALL, "--batch", "2", "--dtype", "bfloat16"], 6),
        (["module", "--rounds", "3"], 24),
        (["analyze", *SMALL], 4),
        (["growth", *SMALL[:2], "--largest", "4", "--rounds", "3"], 14),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_benchmark_prints_its_ratios_below_the_machine(arguments, count, capsys):
    bench.main(arguments)
    first, *lines = capsys.readouterr().out.splitlines()
    assert "torch" in first
    assert "threads" in first
    assert len(re.findall(RATIO, "\n".join(lines))) == count


def test_the_pages_shares_are_of_one_wait_and_switching_runs_no_network():
    command = [sys.executable, "-m", "experiments.bench", "page", "--rounds", "2"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    medians = {name: float(m) for name, m in re.findall(r"\| ([^|]+) \| (\d+\.\d\d) ", printed)}
    assert 0.05 < medians["network"] < 1
    assert sum(medians[step] for step in STEPS) < 1.05
    assert {BROWSER, "another tab", "another layer"} < medians.keys()


def test_the_libraries_gradcam_is_that_of_analyze(lion_tensor):
    model = network("resnet18", "drtam").eval().requires_grad_(False)
    layers = analyze(model, lion_tensor, target=3).layers
    modules = attention_layers(model)
    paths = [path for path, module in model.named_modules() if module in modules.values()]
    for found in (bench_analyze.one_pass, bench_analyze.one_by_one):
        maps = found(model, lion_tensor, paths, 3)
        for layer, values in zip(layers.values(), maps, strict=True):
            torch.testing.assert_close(values.view_as(layer.gradcam).relu(), layer.gradcam)


def test_recorded_numbers_stand_with_their_command_until_it_is_run_again(tmp_path: Path):
    file = tmp_path / "benchmarks.json"
    for command, title, median in (("c", "t", 1.5), ("b", "u", 2.5), ("a", "t", 3.5)):
        rows = {"drtam": Ratio(median, 1, 9)}
        benchmarks.record(command, "a machine", benchmarks.Table(title, "it", rows), file)
    written = (tmp_path / "BENCHMARKS.md").read_text()
    assert re.findall(r"experiments.bench (\w)`", written) == ["a", "b"]
    assert re.findall(r"\| drtam \| (\S+) ", written) == ["3.50", "2.50"]


def test_a_recorded_picture_and_its_sentences_stand_in_the_report(tmp_path: Path):
    file = tmp_path / "benchmarks.json"
    table = benchmarks.Table("t", "it", {"drtam": Ratio(1, 1, 1)}, ["It grows."], b"<svg/>")
    benchmarks.record("growth --rounds 3", "a machine", table, file)
    benchmarks.record("b", "a machine", benchmarks.Table("u", "it", {}), file)
    written = (tmp_path / "BENCHMARKS.md").read_text()
    assert (tmp_path / "growth.svg").read_bytes() == b"<svg/>"
    assert "](growth.svg)" in written
    assert "It grows." in written
