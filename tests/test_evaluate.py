"""The command that measures classifiers, and what it reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from shapes import photo

from drtam import attention_layers
from experiments.ablations import CHANGES, ablations
from experiments.accuracy import Accuracy, measure
from experiments.evaluate import main
from experiments.evaluation import Report, best_size
from experiments.photos import Photos
from models import build_model
from models.checkpoints import save_checkpoint
from models.description import Description

NORMAL = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
FILES = ("results", "faithfulness")


def test_of_equally_good_resolutions_the_best_calibrated_is_chosen():
    small, middle, large = Accuracy(35, 60, 2), Accuracy(44.2, 70, 6), Accuracy(45, 71, 18)
    networks = [{64: small, 96: middle, 128: large}, {64: small, 96: large, 128: large}]
    assert best_size(networks, photos=10_000) == 96  # means 44.6 and 45; 1.96 errors are 0.98
    assert best_size(networks[:1], photos=10_000) == 96
    assert best_size(networks[:1], photos=20_000) == 128  # 0.69
    assert best_size(networks[:1], photos=90) == 64


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
    decoded = {np.load(file, mmap_mode="r").shape for file in tmp_path.glob("tiny-*/images.npy")}
    assert decoded == {(2, 64, 64, 3), (2, 96, 96, 3)}, "each resolution has its own photos"
    for more, says in (
        (["--sizes", "0"], "sizes must be a whole number from 1 to 4096, not 0"),
        (["--photo-size", "0"], "size must be a whole number from 1 to 4096, not 0"),
        (["--faithfulness", "-3"], "faithfulness must be a whole number of at least 1, not -3"),
        (["--boxes", "0"], "boxes must be a whole number of at least 1, not 0"),
    ):
        with pytest.raises(ValueError, match=says):
            main([paths[0], *arguments, *more])
    detector = tmp_path / "detector.safetensors"
    network = build_model("maskrcnn_resnet18", num_classes=2, seed=0)
    save_checkpoint(
        network, detector, classes=("", "tower"), input_size=64, mean=NORMAL[0], std=NORMAL[1]
    )
    with pytest.raises(ValueError, match="checkpoints must all be classifiers or none: the oth"):
        main([paths[0], str(detector), *arguments])
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


def test_other_classes_are_refused(tiny, tmp_path):
    path = Path(tmp_path / "other.safetensors")
    network = build_model("resnet18", num_classes=2, seed=0)
    save_checkpoint(
        network, path, classes=("x", "y"), input_size=64, mean=NORMAL[0], std=NORMAL[1]
    )
    with pytest.raises(ValueError, match="other must know the classes of the photos"):
        main([str(path), "--data", str(tiny), "--cache", str(tmp_path)])
