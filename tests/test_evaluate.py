"""Localisation by its definition, and the command that reports it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shapes import photo
from torch import nn

from drtam import DRTAM, attention_layers
from drtam.explain import analyze
from experiments import evaluation
from experiments.ablations import CHANGES, ablations
from experiments.accuracy import Accuracy, measure
from experiments.cards import card
from experiments.evaluate import main
from experiments.evaluation import Evaluation, Report, best_size
from experiments.localisation import CENTRE, box_masks, localise, score, spatial_maps
from experiments.photos import Photos
from experiments.ship import influence, ship, spread
from models import build_model
from models.checkpoints import load_checkpoint, save_checkpoint
from models.description import Description

NORMAL = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_box_masks_hold_the_pixels_of_the_box():
    masks = box_masks(torch.tensor([[1.0, 2.0, 4.0, 3.0], [0.0, 0.0, 2.5, 1.4]]), 4)
    expected = np.zeros((2, 4, 4), dtype=bool)
    expected[0, 2, 1:4] = True
    expected[1, 0, 0:2] = True
    np.testing.assert_array_equal(masks.numpy(), expected)


def test_a_map_that_is_the_box_finds_it_and_its_inverse_does_not():
    inside = box_masks(torch.tensor([[2.0, 3.0, 6.0, 8.0]]), 8)
    assert score(inside.float() + 5, inside).tolist() == [[1.0], [1.0], [0.0]]
    assert score(1 - inside.float(), inside).tolist() == [[0.0], [0.0], [0.0]]


def test_a_constant_map_points_nowhere_and_is_spread_evenly():
    inside = box_masks(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), 8)
    for level in (0.0, 0.3):
        pointing, energy, constant = score(torch.full((1, 3, 3), level), inside)
        assert pointing.item() == 0
        assert constant.item() == 1
        assert energy.item() == pytest.approx(16 / 64)


def test_a_coarse_map_points_at_the_centre_of_its_largest_cell():
    maps = torch.zeros(2, 3, 3)
    maps[:, 0, 2] = 1  # its centre is at (10.7, 53.3) of 64 pixels
    inside = box_masks(torch.tensor([[50.0, 8.0, 56.0, 12.0], [60.0, 0.0, 64.0, 4.0]]), 64)
    assert score(maps, inside)[0].tolist() == [1.0, 0.0]


def test_scores_are_those_of_a_loop_over_pixels():
    maps = torch.rand(6, 8, 8)
    boxes = torch.tensor([[0, 0, 8, 3], [2, 2, 5, 8], [7, 7, 8, 8]] * 2).float()
    pointing, energy, constant = score(maps, box_masks(boxes, 8))
    assert not constant.any()
    for b, values in enumerate(maps.numpy()):
        x0, y0, x1, y1 = boxes[b].int().tolist()
        i, j = divmod(int(values.argmax()), 8)
        assert pointing[b] == float(y0 <= i < y1 and x0 <= j < x1)
        lifted = values - values.min()
        assert energy[b] == pytest.approx(lifted[y0:y1, x0:x1].sum() / lifted.sum(), rel=1e-4)


def test_spatial_maps_are_means_over_channels():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), DRTAM(8), nn.AdaptiveAvgPool2d(1))
    network.append(nn.Flatten()).eval()
    layer = analyze(network, torch.randn(2, 3, 32, 40)).layers["1"]
    maps = spatial_maps(layer)
    assert list(maps) == ["combined", "initial", "complement", "gradcam"]
    torch.testing.assert_close(maps["combined"], layer.trace.attention().mean(1))
    torch.testing.assert_close(maps["complement"], layer.trace.complement.map().mean(1))


FILES = ("results", "faithfulness")


class Brightness(nn.Module):
    """Its attention follows the photo's brightness by hand-set weights; scores are means."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = DRTAM(3, s=1)
        for half in (self.gate.initial, self.gate.complement):
            for parameter in half.parameters():
                nn.init.zeros_(parameter)
            for conv, norm in ((half.row, half.row_norm), (half.column, half.column_norm)):
                conv.weight.data[0, :, 1] = 1  # no neighbours
                norm.weight.data.fill_(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gate(x).mean((2, 3))


def test_attention_that_follows_the_object_beats_the_baseline():
    random, count, side = np.random.default_rng(1), 40, 32
    images = np.stack([np.asarray(photo("disc", random)) for _ in range(count)])
    bright = images.mean(3) > 100
    corners = [(np.nonzero(b.any(0))[0], np.nonzero(b.any(1))[0]) for b in bright]
    boxes = np.array([(x[0], y[0], x[-1] + 1, y[-1] + 1) for x, y in corners], dtype=np.float32)
    photos = Photos(images, np.zeros(count, dtype=np.int64), boxes, ("a", "b", "c"))
    found = localise(Brightness().eval(), photos, side, *NORMAL, torch.device("cpu"), batch=16)
    assert list(found) == ["", "gate"]
    even, maps = found[""][CENTRE], found["gate"]
    area = np.mean([(x1 - x0) * (y1 - y0) / side**2 for x0, y0, x1, y1 in boxes])
    assert even.energy == pytest.approx(100 * area, rel=1e-3)
    for kind in ("combined", "initial", "complement"):
        assert maps[kind].pointing > 90
        assert maps[kind].energy > 1.5 * even.energy


def test_of_equally_good_resolutions_the_best_calibrated_is_chosen():
    small, middle, large = Accuracy(35, 60, 2), Accuracy(44.2, 70, 6), Accuracy(45, 71, 18)
    networks = [{64: small, 96: middle, 128: large}, {64: small, 96: large, 128: large}]
    assert best_size(networks, photos=10_000) == 96  # means 44.6 and 45; 1.96 errors are 0.98
    assert best_size(networks[:1], photos=10_000) == 96
    assert best_size(networks[:1], photos=20_000) == 128  # 0.69
    assert best_size(networks[:1], photos=90) == 64


def test_photos_without_boxes_are_refused():
    photos = Photos(np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1, np.int64), None, ("a",))
    with pytest.raises(ValueError, match="photos must have boxes"):
        localise(Brightness(), photos, 8, *NORMAL, torch.device("cpu"))


def test_the_report_holds_what_was_measured(tiny, tmp_path, capsys):
    paths = []
    for attention in ("drtam", None):
        path = tmp_path / str(attention) / "model.safetensors"
        path.parent.mkdir()
        network = build_model("resnet18", attention, num_classes=2, seed=0)
        save_checkpoint(
            network, path, classes=("lion", "tower"), input_size=64, mean=NORMAL[0], std=NORMAL[1]
        )
        paths.append(str(path))
    arguments = ["--data", str(tiny), "--cache", str(tmp_path), "--out", str(tmp_path / "out")]
    main([*paths, *arguments, "--sizes", "64", "96", "--faithfulness", "1"])
    report, judged = ((tmp_path / "out" / f"{k}.md").read_text() for k in FILES)
    assert f"{report}\n{judged}".strip() == capsys.readouterr().out.strip()
    assert "drtam" in judged
    assert "None" not in judged
    ours, plain = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    assert (ours["name"], plain["name"]) == ("drtam", "None")
    assert set(ours["accuracy"]) == {"64", "96"}
    layers = list(attention_layers(build_model("resnet18", "drtam")))
    assert list(ours["maps"]) == ["", *layers]
    assert list(plain["maps"]) == ["", *layers]
    assert list(plain["maps"][layers[-1]]) == ["gradcam"]
    assert f"| {layers[-1]} | –" in report
    assert f"| None | 11.18 M | {plain['gflops']:.2f} |" in report
    whole = Report.read(tmp_path / "out" / "results.json")
    assert whole.results[1].params == plain["params"]
    main([paths[0], *arguments, "--sizes", "64", "96", "--only-accuracy"])
    (fast,) = Report.read(tmp_path / "out" / "results.json").results
    assert fast.accuracy == whole.results[0].accuracy
    assert (fast.maps, fast.ablations) == ({}, {})
    assert "maps" not in (tmp_path / "out" / "results.md").read_text()


def test_attention_that_is_off_leaves_the_accuracy_of_the_plain_backbone():
    random = np.random.default_rng(0)
    images = np.stack([np.asarray(photo("disc", random)) for _ in range(60)])
    network = build_model("resnet18", "drtam", num_classes=9, seed=0)
    plain = build_model("resnet18", num_classes=9, seed=1)
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if "attention" not in k})
    with torch.no_grad():  # each photo's class is what the plain backbone says
        seen = (torch.from_numpy(images).movedim(3, 1) / 255 - 0.5) / 0.5
        labels = plain.eval()(seen).argmax(1).numpy()
    photos = Photos(images, labels, None, tuple("abcdefghi"))
    about = Description(network.spec, photos.classes, 32, *NORMAL)
    found = ablations(network, about, photos, 32, torch.device("cpu"))
    assert list(found) == list(CHANGES)
    assert found["no attention: A = 1"].top1 > 95  # bfloat16 decides a few
    trained = measure(network, photos, 32, *NORMAL, torch.device("cpu"))
    assert trained.top1 < 95
    assert ablations(plain, about, photos, 32, torch.device("cpu")) == {}


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
    runs = [tmp_path / "runs" / name for name in ("ours", "theirs")]
    for run, attention in zip(runs, ("drtam", None), strict=True):
        run.mkdir(parents=True)
        (run / "log.csv").write_text("epoch,loss,top1,top5\n1,5.25,1.5,6.25\n")
        network = build_model("resnet18", attention, num_classes=2, seed=0)
        about = {"classes": ("lion", "tower"), "mean": NORMAL[0], "std": NORMAL[1]}
        file = run / "model.safetensors"
        save_checkpoint(network, file, **about, input_size=64, recipe=f"first {run}\nsecond")
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
    before = {path: path.stat().st_mtime_ns for path in shelf.iterdir()}
    with pytest.raises(ValueError, match="nowhere must be evaluated, but only ours, theirs were"):
        ship([runs[0], tmp_path / "nowhere"], report, [], tmp_path)
    with pytest.raises(ValueError, match="one training at most can be shipped as drtam-resnet18"):
        ship([runs[0], runs[0]], report, [], tmp_path)
    assert {path: path.stat().st_mtime_ns for path in shelf.iterdir()} == before


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


def test_other_classes_are_refused(tiny, tmp_path):
    path = Path(tmp_path / "other.safetensors")
    network = build_model("resnet18", num_classes=2, seed=0)
    save_checkpoint(
        network, path, classes=("x", "y"), input_size=64, mean=NORMAL[0], std=NORMAL[1]
    )
    with pytest.raises(ValueError, match="other must know the classes of the photos"):
        main([str(path), "--data", str(tiny), "--cache", str(tmp_path)])
