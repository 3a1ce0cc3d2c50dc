"""Data sets in each layout, decoded once; and what training makes of their photos."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import CLASSES, write_folder
from torch import nn

from drtam.explain.photo import IMAGENET_MEAN, IMAGENET_STD
from experiments.accuracy import measure
from experiments.augment import GROUP, Augment
from experiments.photos import Photos, list_photos, open_photos, recognisable
from experiments.recipe import Recipe

CPU = torch.device("cpu")
NORMAL = (IMAGENET_MEAN, IMAGENET_STD)


def test_tiny_imagenet_as_distributed(tiny, tmp_path):
    train, val = (open_photos(str(tiny), split, 32, tmp_path) for split in ("train", "val"))
    assert train.classes == val.classes == ("lion", "tower")
    assert train.images.shape == (6, 32, 32, 3)
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert train.boxes is None
    assert val.labels.tolist() == [1, 0]
    assert val.boxes.tolist() == [[0, 16, 22.5, 32], [26, 27.5, 29, 30]]
    assert np.ptp(val.images[1].astype(int), axis=2).max() <= 2  # the grey one
    expected = np.asarray(Image.open(tiny / "val/images/val_0.JPEG").resize((32, 32), 3))
    np.testing.assert_array_equal(val.images[0], expected)


def test_photos_are_decoded_once(tmp_path):
    source = write_folder(tmp_path / "shapes", train=2, val=1)
    photos = open_photos(str(source), "train", 16, tmp_path / "cache")
    assert (photos.classes, photos.labels.tolist()) == (CLASSES, [0, 0, 1, 1, 2, 2])
    (folder,) = (tmp_path / "cache").iterdir()
    mark = folder / "images.npy"
    before = mark.stat().st_mtime_ns
    again = open_photos(str(source), "train", 16, tmp_path / "cache")
    assert mark.stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.images, photos.images)
    Image.new("RGB", (9, 9)).save(source / "train" / "bars" / "0.png")  # another content
    assert open_photos(str(source), "train", 16, tmp_path / "cache").images[0].max() == 0


def test_a_photo_that_cannot_be_read_leaves_no_half_cache(tmp_path):
    source = write_folder(tmp_path / "shapes", train=2, val=1)
    (source / "train" / "bars" / "0.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"^\S*train/bars/0.png is no photo, or damaged"):
        open_photos(str(source), "train", 16, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_photo_may_be_narrower_than_the_page_takes(tmp_path):
    source = write_folder(tmp_path / "shapes", train=2, val=1)
    Image.new("RGB", (200, 5), "red").save(source / "train" / "bars" / "0.png")
    photos = open_photos(str(source), "train", 16, tmp_path / "cache")
    assert (photos.images[0] == (255, 0, 0)).all()


def test_photos_that_have_no_room_are_refused_before_one_is_decoded(tmp_path, monkeypatch):
    source = write_folder(tmp_path / "shapes", train=2, val=1)
    usage = types.SimpleNamespace(free=6 * 16 * 16 * 3 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match=r"room for 0\.0 GB, but the decoded photos take 0\.0 GB"):
        open_photos(str(source), "train", 16, tmp_path / "cache")
    usage.free += 1
    assert len(open_photos(str(source), "train", 16, tmp_path / "cache").labels) == 6


def test_other_labels_or_boxes_are_read_anew(tiny, tmp_path):
    assert open_photos(str(tiny), "val", 16, tmp_path).labels.tolist() == [1, 0]
    file = tiny / "val" / "val_annotations.txt"
    file.write_text(file.read_text().replace("val_0.JPEG\tn2\t0", "val_0.JPEG\tn1\t4"))
    val = open_photos(str(tiny), "val", 16, tmp_path)
    assert (val.labels.tolist(), val.boxes[0, 0]) == ([0, 0], 1)


def test_tiny_imagenet_with_a_class_left_out_is_refused(tiny, tmp_path):
    shutil.rmtree(tiny / "train" / "n1")
    with pytest.raises(ValueError, match=r"in train the folders that wnids\.txt names: see n1"):
        open_photos(str(tiny), "train", 16, tmp_path)


def test_a_folder_of_another_layout_is_explained(tmp_path):
    with pytest.raises(ValueError, match="must hold the folders train and val"):
        open_photos(str(tmp_path), "train", 16, tmp_path)


def test_a_data_set_of_the_hub(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["grey", "red"])
    )
    deep = Image.fromarray(np.full((10, 10), 32896, dtype=np.uint16))
    nothing = Image.new("RGBA", (10, 10))
    images = [Image.new("L", (20, 10), 128), Image.new("RGB", (10, 20), "red"), deep, nothing]
    rows = {"image": images, "label": [0, 1, 0, 1]}
    part = datasets.Dataset.from_dict(rows, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda _: {"validation": part, "train": part})
    photos = open_photos("someone/something", "val", 8, tmp_path)
    assert photos.classes == ("grey", "red")
    assert photos.labels.tolist() == [0, 1, 0, 1]
    grey, red, white = [128] * 3, [255, 0, 0], [255] * 3
    assert photos.images[:, 4, 4].tolist() == [grey, red, grey, white]
    row = {"image": images[:1], "label": [0]}
    unlabelled, missing, empty = (
        datasets.Dataset.from_dict(row | change, features=features)
        for change in ({"label": [-1]}, {"image": [None]}, {"image": [], "label": []})
    )
    for content, says in (
        ({"test": unlabelled}, "a class for every photo, but in its split test some have -1"),
        ({"val": missing}, "photo 0 of the data set cannot be read: its row has none"),
        ({"val": empty}, "someone/something has no photos in val"),
        ({"train": part, "extra": part}, r"split val or validation or .* but it has train, extra"),
        ({"val": part.remove_columns("image")}, "columns image and label, .* but it has label"),
    ):
        monkeypatch.setattr(datasets, "load_dataset", lambda _, content=content: content)
        with pytest.raises(ValueError, match=says):
            open_photos("someone/something", "val", 8, tmp_path)


def test_photos_are_decoded_by_processes_that_are_no_forks(tmp_path):
    source = write_folder(tmp_path / "shapes", train=2, val=1)
    listing = list_photos(str(source), "train")
    copied = pickle.loads(pickle.dumps(listing))
    assert copied.read(3).tobytes() == listing.read(3).tobytes()


def test_without_a_network_the_hub_is_named(tmp_path, monkeypatch):
    def offline(_: str) -> Any:
        raise ConnectionError("no route to host")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=offline))
    with pytest.raises(ValueError, match=r"'a/b' is no folder, and not found on the hub: no rou"):
        open_photos("a/b", "train", 8, tmp_path)


def test_names_are_short_but_unique():
    names = recognisable(["crane, bird", "goldfish, Carassius auratus", "crane, machine"])
    assert names == ("crane, bird", "goldfish", "crane, machine")


@pytest.mark.parametrize(("mixup", "cutmix"), [(0, 0), (0.2, 0), (0, 1.0), (0.2, 1.0)])
def test_augmented_batches_hold_every_photo_and_its_class(mixup, cutmix):
    recipe = Recipe(1, 16, 0.1, 0, size=24, smallest_crop=0.5, mixup=mixup, cutmix=cutmix)
    augment = Augment(recipe, 5, *NORMAL)
    grey = torch.arange(16, dtype=torch.uint8) * 10  # one colour for each photo
    images = grey[:, None, None, None].expand(16, 32, 32, 3)
    labels = torch.arange(16) % 5
    torch.manual_seed(5)
    x, targets = augment(images, labels)
    assert x.shape == (16, 3, 24, 24)
    torch.testing.assert_close(targets.sum(1), torch.ones(16))
    assert (targets.gather(1, labels[:, None]) > 0).all()
    mean, std = (torch.tensor(value)[:, None, None] for value in NORMAL)
    if not mixup and not cutmix:
        torch.testing.assert_close(x * std + mean, (grey / 255)[:, None, None, None].expand_as(x))
    torch.manual_seed(5)
    assert torch.equal(augment(images, labels)[0], x)
    assert not torch.equal(augment(torch.rand(16, 32, 32, 3).mul(255).byte(), labels)[0], x)


def test_groups_are_cropped_differently():
    recipe = Recipe(1, 32, 0.1, 0, size=16, smallest_crop=0.1)
    photo = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8)
    x, _ = Augment(recipe, 2, *NORMAL)(photo.expand(32, 32, 32, 3), torch.zeros(32).long())
    groups = x.split(GROUP)
    assert all((group == group[:1]).all() for group in groups)
    assert not torch.equal(groups[0][0], groups[1][0])


def test_every_side_around_the_recipes_is_drawn():
    augment = Augment(Recipe(1, 8, 0.1, 0, size=48, spread=20), 2, *NORMAL)
    photos = torch.zeros(8, 32, 32, 3, dtype=torch.uint8)
    shapes = {augment(photos, torch.zeros(8).long())[0].shape for _ in range(40)}
    assert shapes == {(8, 3, side, side) for side in (32, 48, 64)}
    with pytest.raises(ValueError, match="spread must be from 0 to below the size of 48, not 48"):
        Augment(Recipe(1, 8, 0.1, 0, size=48, spread=48), 2, *NORMAL)


class Oracle(nn.Module):
    """Scores each photo by its mean colour: known, and not always right."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        level = x.float().mean((1, 2, 3), keepdim=True)[:, 0, 0] * 3
        return -((level - torch.arange(7)) ** 2)


def test_accuracy_and_calibration_are_those_of_their_definitions():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (600, 1, 1, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    labels = rng.integers(0, 7, 600)
    photos = Photos(images, labels, None, tuple("abcdefg"))
    found = measure(Oracle(), photos, 8, *NORMAL, CPU)
    mean, std = (np.array(value, dtype=np.float32) for value in NORMAL)
    x = torch.from_numpy((images.astype(np.float32) / 255 - mean) / std).movedim(3, 1)
    with torch.autocast("cpu", torch.bfloat16):
        probabilities = Oracle()(x).float().softmax(1).numpy()
    best = probabilities.argsort(1)[:, ::-1]
    right = best[:, 0] == labels
    assert found.top1 == pytest.approx(100 * right.mean())
    assert found.top5 == pytest.approx(100 * (best[:, :5] == labels[:, None]).any(1).mean())
    confidence, error = probabilities.max(1), 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert found.calibration_error == pytest.approx(100 * error, abs=0.01)


def test_class_names_survive_the_cache(tmp_path):
    source = write_folder(tmp_path / "shapes", train=1, val=1)
    open_photos(str(source), "val", 8, tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    assert json.loads((folder / "classes.json").read_text()) == list(CLASSES)
