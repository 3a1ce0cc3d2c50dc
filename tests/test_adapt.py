"""Batch norms and temperature against their definitions, and the command."""

from __future__ import annotations

import copy
import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from shapes import CLASSES, photo, write_folder
from torch import nn

from experiments.accuracy import batches, classified, measure
from experiments.adapt import best_temperature, divide_logits, drawn, main, renew_statistics
from experiments.photos import Photos, open_photos
from models import build_model
from models.build import Spec
from models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from models.description import Description

NORMAL = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CPU = torch.device("cpu")
KNOWN = {"classes": CLASSES, "input_size": 32, "mean": NORMAL[0], "std": NORMAL[1]}


def test_statistics_are_those_of_what_the_norms_are_given():
    photos = by_class(600)
    model = build_model("resnet18", "drtam", num_classes=3, seed=0).eval()
    about = Description(Spec("resnet18", "drtam", num_classes=3), CLASSES, 32, *NORMAL)
    whole = copy.deepcopy(model).train()
    for norm in (m for m in whole.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)):
        norm.momentum = 1
    some = drawn(photos, 600)
    assert len(some.labels) == 500, "two whole batches"
    (_, first, _), (_, second, _) = batches(some, 32, *NORMAL, CPU)
    with torch.no_grad():
        whole(torch.cat((first, second)))
        model.bn1.running_mean += 5  # as after a training on something else
    modes = [module.training for module in model.modules()]
    renew_statistics(Checkpoint(model, about), some, 32, CPU)
    assert [module.training for module in model.modules()] == modes
    for name in ("bn1", "layer2.0.bn2", "layer3.1.attention.complement.row_norm"):
        found, wanted = model.get_submodule(name), whole.get_submodule(name)
        torch.testing.assert_close(found.running_mean, wanted.running_mean, rtol=0.1, atol=0.03)
        torch.testing.assert_close(found.running_var, wanted.running_var, rtol=0.1, atol=0.03)
        assert (found.num_batches_tracked, found.momentum) == (2, 0.1)


def test_every_batch_holds_photos_of_all_classes():
    some = drawn(by_class(600), 300)
    assert len(some.labels) == 250, "whole batches alone"
    assert (np.bincount(some.labels) > 50).all()
    assert len(drawn(by_class(60), 10_000).labels) == 60


def by_class(count: int) -> Photos:
    """Photos in the order of their classes, each brighter than the last."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), count // 3)
    images = np.stack([np.asarray(photo("disc", random)) // (3 - label) for label in labels])
    return Photos(images, labels, None, CLASSES)


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
    pairs = classified(adapted.model, val, 32, *NORMAL, CPU)
    logits, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    temperature = float(re.search(r"Temperature (\S+)\. ", printed)[1])
    assert abs(temperature - 1) > 0.1
    scaled = adapted.model.fc.weight * temperature
    torch.testing.assert_close(scaled, network.fc.weight, rtol=0.05, atol=1e-4)
    other_half = (logits[1::2].argmax(1) == labels[1::2]).float().mean()
    assert adapted.description.accuracy["top1"] == pytest.approx(100 * float(other_half))
    for row in ("as trained", "statistics of whole photos", "and the temperature"):
        assert f"| {row} | " in printed


def learned(folder: Path, cache: Path) -> nn.Module:
    """A small network that has learned with brighter photos than there are."""
    torch.manual_seed(0)
    network = build_model("resnet18", num_classes=3, seed=0).train()
    photos = open_photos(str(folder), "train", 32, cache)
    _, x, labels = next(batches(photos, 32, *NORMAL, CPU))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(15):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(1.5 * x + 2), labels).backward()
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
    for more, message in (
        (["--photos", "1"], "photos must be a whole number of at least 2, not 1"),
        (["--size", "5000"], "size must be a whole number from 1 to 4096, not 5000"),
        (["--out", str(tmp_path)], "out must be another folder than"),
    ):
        with pytest.raises(ValueError, match=message):
            main([str(path), *where, "--out", str(tmp_path / "out"), *more])
