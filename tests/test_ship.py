"""What is shipped comes with its card, and the results say all that was measured."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from drtam import attention_layers
from experiments import evaluation
from experiments.ablations import CHANGES
from experiments.accuracy import Accuracy
from experiments.cards import card
from experiments.evaluate import main
from experiments.evaluation import Evaluation, Report, best_size
from experiments.ship import influence, ship, spread
from models import build_model
from models.checkpoints import load_checkpoint, save_checkpoint
from models.description import Description

NORMAL = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def write_run(
    run: Path,
    attention: str | None,
    classes: tuple[str, ...] = ("lion", "tower"),
    recipe: str = "",
    backbone: str = "resnet18",
) -> Path:
    """The folder of a training that has ended."""
    run.mkdir(parents=True, exist_ok=True)
    network = build_model(backbone, attention, num_classes=2, seed=0)
    about = {"classes": classes, "mean": NORMAL[0], "std": NORMAL[1], "input_size": 64}
    save_checkpoint(network, run / "model.safetensors", **about, recipe=recipe)
    return run


def run_example(card: str, photo: Path) -> dict[str, Any]:
    """What the card's code defines."""
    (example,) = re.findall(r"```\n(from .*?)```", card, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example.replace("photo.jpg", str(photo)), names)
    return names


def test_shipped_networks_come_with_their_card_and_their_best_resolution(
    tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluation, "_latency", lambda *_: 1.25)
    runs = [
        write_run(tmp_path / name, attention, recipe=f"first {tmp_path / name}\nsecond")
        for name, attention in (("ours", "drtam"), ("theirs", None))
    ]
    for run in runs:
        (run / "log.csv").write_text("epoch,loss,top1,top5\n1,5.25,1.5,6.25\n")
    paths = [str(run / "model.safetensors") for run in runs]
    where = ["--data", str(tiny), "--cache", str(tmp_path), "--out", str(tmp_path / "out")]
    main([*paths, *where, "--sizes", "64", "96"])
    report = Report.read(tmp_path / "out" / "results.json")
    best = report.size
    assert best == best_size([r.accuracy for r in report.results], photos=2)
    (tmp_path / "experiments").mkdir()
    ship(runs[:1], report, runs[1:], tmp_path)
    shelf = tmp_path / "assets" / "checkpoints"
    assert sorted(path.name for path in shelf.iterdir()) == [
        "drtam-resnet18.md",
        "drtam-resnet18.safetensors",
    ]
    shipped = load_checkpoint(shelf / "drtam-resnet18.safetensors")
    assert shipped.description.input_size == best
    assert shipped.description.accuracy["top1"] == report.results[0].accuracy[best].top1
    image = torch.randn(1, 3, 64, 64)
    expected = load_checkpoint(runs[0] / "model.safetensors").model(image)
    torch.testing.assert_close(shipped.model(image), expected, rtol=0.01, atol=0.01)  # float16
    card = (shelf / "drtam-resnet18.md").read_text()
    assert f"looked at at {best} pixels: of the resolutions whose top-1" in card
    for text in (f"first {runs[0]}", "second", "| 1 | 5.25 | 1.50 | 6.25 |", *CHANGES):
        assert text in card
    assert "torchvision's resnet18 with DRTAM (S=3, N=1, r=32) in every block;\n" in card
    monkeypatch.chdir(tmp_path)
    names = run_example(card, tiny / "train" / "n1" / "images" / "n1_0.JPEG")
    assert list(names["analysis"].layers) == list(attention_layers(shipped.model))
    results = (tmp_path / "experiments" / "RESULTS.md").read_text()
    assert f"| drtam-resnet18 | ours | {best} | " in results
    assert "### theirs" in results
    assert f"first {runs[1]}" in results
    ship(runs[:1], report, [], tmp_path)  # the other's folder may be gone
    assert (tmp_path / "experiments" / "RESULTS.md").read_text().rstrip() == results.rstrip()
    later = replace(report, command="later", results=report.results[1:])
    ship(runs[1:], later, [], tmp_path)  # what is not evaluated again stays
    results = (tmp_path / "experiments" / "RESULTS.md").read_text()
    for name in ("ours", "theirs"):
        assert results.count(f"| {name} | 11.") == 2, "a line for each resolution"
        assert f"## Evaluation of {name}\n" in results
    assert results.count("`later`") == 1
    assert "between seeds\n" not in results


def test_what_would_not_be_true_is_not_shipped(tmp_path):
    names, recipe = ("lion", "tower"), "first\nsecond"
    ours = write_run(tmp_path / "ours", "drtam", names, recipe)
    item = Evaluation("ours", 1, 1.0, 1.0, {64: Accuracy(45, 65, 5)}, {}, {}, recipe)
    report = Report("command", "machine", 100, 0, 64, [item])
    (tmp_path / "experiments").mkdir()
    ship([ours], report, [], tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    again, renamed = (tmp_path / name / "ours" for name in ("again", "renamed"))
    for run, says in (
        (write_run(tmp_path / "other", "ca"), "other must be evaluated, but only ours were"),
        (write_run(again, "ca", names, "x"), "ours was trained anew, or is another training"),
        (write_run(renamed, "ca", ("cat", "dog"), recipe), "ours must know the classes of"),
    ):
        with pytest.raises(ValueError, match=says):
            ship([run], report, [], tmp_path)
    detector = write_run(tmp_path / "detector", None, backbone="maskrcnn_resnet18")
    for also, says in (
        (detector, "must hold a classifier, not maskrcnn_resnet18"),
        (tmp_path / "nowhere", r"There is no file .*nowhere/model\.safetensors"),
    ):
        with pytest.raises(ValueError, match=says):
            ship([ours], report, [also], tmp_path)
    with pytest.raises(ValueError, match="one training at most can be shipped as drtam-resnet18"):
        ship([ours, ours], report, [], tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_results_of_others_than_classifiers_are_refused(tmp_path):
    (tmp_path / "results.json").write_text('{"machine": "", "results": [{"name": ""}]}')
    with pytest.raises(ValueError, match=r"results\.json must hold the results of classifiers"):
        Report.read(tmp_path / "results.json")


def test_networks_with_two_seeds_say_how_far_these_are_apart():
    tops = {
        "ours": {64: 40.5, 96: 45.0},
        "theirs": {64: 1.0, 96: 2.0},
        "ours-seed1": {64: 41.25, 96: 44.0},
    }
    found = [
        Evaluation(
            name, 1, 1.0, 1.0, {s: Accuracy(top1, 65, 5) for s, top1 in by_size.items()}, {}, {}
        )
        for name, by_size in tops.items()
    ]
    assert list(spread(found))[3:-1] == [
        "| ours | 2 | 64 | 40.50 %, 41.25 % | 0.75 points |",
        "| ours | 2 | 96 | 45.00 %, 44.00 % | 1.00 points |",
    ]
    assert list(spread(found[:2])) == []


def test_a_card_says_on_which_photos_a_temperature_was_fitted(tmp_path):
    item = Evaluation("ours", 1, 1.0, 1.0, {64: Accuracy(45, 65, 5)}, {}, {})
    report = Report("command", "machine", 100, 0, 64, [item])
    spec = build_model("resnet18", num_classes=2, seed=0).spec
    train, adapt = "python -m experiments.train x", "python -m experiments.adapt y"
    for commands, fitted in (([train], False), ([train, adapt], True), ([adapt, train], False)):
        about = Description(spec, ("lion", "tower"), 64, *NORMAL, recipe="\n".join(commands))
        text = card("ours", about, item, report, tmp_path)
        assert ("every second validation photo" in text) == fitted
        assert "at 64 pixels, the only resolution that was measured." in text
        assert all(command in text for command in commands)


def test_networks_that_are_named_after_their_settings_stand_in_a_table_of_their_own():
    found = {"r18-s4-n1-r32": 43.0, "drtam": 50.0, "s3-n8-r16-seed1": 44.0, "s3-n8-r16": 45.5}
    named = [
        Evaluation(name, 12_340_000, 1.8, 1.2, {96: Accuracy(top1, 65, 5)}, {}, {})
        for name, top1 in found.items()
    ]
    assert list(influence(named))[3:-1] == [
        "| s3-n8-r16 | 3 | 8 | 16 | 12.34 M | 96 | 45.50 % | 65.00 % |",
        "| s3-n8-r16-seed1 | 3 | 8 | 16 | 12.34 M | 96 | 44.00 % | 65.00 % |",
        "| r18-s4-n1-r32 | 4 | 1 | 32 | 12.34 M | 96 | 43.00 % | 65.00 % |",
    ]
    assert list(influence(named[1:2])) == []
