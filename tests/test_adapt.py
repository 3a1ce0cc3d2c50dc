"""Batch norms and temperature against their definitions, and the command."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from shapes import CLASSES, photo, write_folder

from experiments.accuracy import batches, measure
from experiments.adapt import best_temperature, divide_logits, main, renew_statistics
from experiments.photos import Photos, open_photos
from models import build_model
from models.build import Spec
from models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from models.description import Description

NORMAL = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CPU = torch.device("cpu")
KNOWN = {"classes": CLASSES, "input_size": 32, "mean": NORMAL[0], "std": NORMAL[1]}


def test_statistics_are_those_of_what_the_norms_are_given():
    random = np.random.default_rng(0)
    images = np.stack([np.asarray(photo("disc", random)) for _ in range(40)])
    photos = Photos(images, np.zeros(40, dtype=np.int64), None, CLASSES)
    model = build_model("resnet18", "drtam", num_classes=3, seed=0).eval()
    about = Description(Spec("resnet18", "drtam", num_classes=3), CLASSES, 32, *NORMAL)
    with torch.no_grad():
        model.bn1.running_mean += 5  # as after a training on something else
    modes = [module.training for module in model.modules()]
    renew_statistics(Checkpoint(model, about), photos, 48, CPU)
    assert [module.training for module in model.modules()] == modes
    (_, x, _), *_ = batches(photos, 48, *NORMAL, CPU)
    with torch.no_grad():
        given = model.conv1(x).transpose(0, 1).flatten(1)  # (C, everything else)
    torch.testing.assert_close(model.bn1.running_mean, given.mean(1), rtol=0.02, atol=0.01)
    torch.testing.assert_close(model.bn1.running_var, given.var(1), rtol=0.02, atol=0.01)
    norm = model.layer4[1].attention.complement.row_norm
    assert norm.num_batches_tracked == 1
    assert norm.momentum == 0.1


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_what_logits_were_multiplied_by(temperature):
    logits = 2 * torch.randn(20_000, 5, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert best_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2_050"])
def test_a_temperature_in_the_last_layer_divides_the_logits(backbone):
    model = build_model(backbone, "cbam", num_classes=5, seed=0).eval()
    x = torch.randn(2, 3, 64, 64)
    before = model(x)
    divide_logits(model, 0.25)
    torch.testing.assert_close(model(x), before * 4)


def test_an_adapted_checkpoint_is_better_at_photos_that_are_not_as_it_was_trained(
    tmp_path, capsys
):
    folder = write_folder(tmp_path / "shapes", train=30, val=20)
    run, out = tmp_path / "run", tmp_path / "adapted"
    run.mkdir()
    network = learned(folder, tmp_path)
    save_checkpoint(network, run / "model.safetensors", **KNOWN, recipe="first")
    (run / "log.csv").write_text("epoch,loss\n1,2\n")
    where = ["--data", str(folder), "--cache", str(tmp_path), "--size", "32"]
    main([str(run / "model.safetensors"), *where, "--photos", "80", "--out", str(out)])
    printed = capsys.readouterr().out
    adapted = load_checkpoint(out / "model.safetensors")
    first, second = adapted.description.recipe.splitlines()
    assert first == "first"
    assert second.startswith(f"python -m experiments.adapt {run}")
    assert adapted.description.input_size == 32
    with (out / "log.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"epoch": "1", "loss": "2"}]
    val = open_photos(str(folder), "val", 32, tmp_path)
    before, after = (measure(m, val, 32, *NORMAL, CPU) for m in (network, adapted.model))
    assert after.top1 >= before.top1 + 20
    assert after.calibration_error <= before.calibration_error
    for row in ("as trained", "statistics of whole photos", "and the temperature"):
        assert f"| {row} | " in printed


def learned(folder: Path, cache: Path) -> torch.nn.Module:
    """A small network that has learned with brighter photos than there are."""
    torch.manual_seed(0)
    network = build_model("resnet18", num_classes=3, seed=0).train()
    photos = open_photos(str(folder), "train", 32, cache)
    _, x, labels = next(batches(photos, 32, *NORMAL, CPU))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(15):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(1.5 * x + 2), labels).backward()
        optimizer.step()
    return network.eval()


def test_what_cannot_be_adapted_is_refused_in_a_sentence(tmp_path):
    folder = write_folder(tmp_path / "shapes", train=2, val=1)
    where = ["--data", str(folder), "--cache", str(tmp_path), "--size", "32"]
    path = tmp_path / "other.safetensors"
    for backbone, classes, message in (
        ("resnet18", ("x", "y", "z"), "must know the classes of the photos"),
        ("fcn_resnet50", CLASSES, "must hold a classifier, not fcn_resnet50"),
    ):
        network = build_model(backbone, num_classes=3, seed=0)
        save_checkpoint(network, path, **{**KNOWN, "classes": classes})
        with pytest.raises(ValueError, match=message):
            main([str(path), *where, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
