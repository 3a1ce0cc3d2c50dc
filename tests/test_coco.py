"""COCO's format as people write it, and average precision by its definition."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from shapes import GAPS, SOLIDS, annotation, write_coco

from drtam.explain import load_photo
from experiments.coco import open_coco
from experiments.pictures import open_photo
from experiments.precision import average_precision


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "data", train=4, val=3)


def change(data: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit the annotations of the training part."""
    content = json.loads((data / "train.json").read_text())
    edit(content)
    (data / "train.json").write_text(json.dumps(content))


def test_categories_with_gaps_become_classes_and_masks_fill_their_boxes(data):
    train = open_coco(str(data), "train")
    assert train.classes == ("background", *SOLIDS)
    assert train.categories == (None, *GAPS.values())
    content = json.loads((data / "train.json").read_text())
    for key in train.ids:
        objects = train.objects(key)
        own = [a for a in content["annotations"] if a["image_id"] == key]
        assert [train.categories[label] for label in objects.labels] == [
            a["category_id"] for a in own
        ]
        for box, mask, a in zip(objects.boxes, objects.masks, own, strict=True):
            rows, columns = np.nonzero(mask)
            corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_array_equal(box, corners)
            assert mask.sum() == a["area"]


def test_photos_without_objects_and_crowds_are_not_trained_on(data):
    def make_crowds(content):
        for a in content["annotations"]:
            if a["image_id"] == 0:
                a["iscrowd"] = 1

    change(data, make_crowds)
    train = open_coco(str(data), "train")
    assert train.ids == [0, 1, 2, 3]
    assert train.with_objects() == [1, 2]
    for key in (0, 3):
        objects = train.objects(key)
        assert (objects.boxes.shape, objects.masks.shape) == ((0, 4), (0, 96, 96))
    assert train.photo(3).mode == "RGB"  # the grey one


def test_polygons_rle_and_uncompressed_rle_are_the_same_mask(data):
    square = [10, 20, 30, 20, 30, 50, 10, 50]
    mask = np.zeros((96, 96), dtype=bool)
    mask[20:50, 10:30] = True
    runs = np.diff(np.flatnonzero(np.diff(mask.ravel("F"), prepend=2, append=2)))
    plain = {"size": [96, 96], "counts": runs.tolist()}

    def write(content):
        forms = ([square], annotation(1, 0, "disc", mask)["segmentation"], plain)
        content["annotations"] = [
            {"id": k, "image_id": 0, "category_id": 3, "bbox": [10, 20, 20, 30], "segmentation": f}
            for k, f in enumerate(forms, start=1)
        ]

    change(data, write)
    train = open_coco(str(data), "train")
    for found in train.objects(0).masks:
        np.testing.assert_array_equal(found, mask)
    assert [train.truth.anns[k]["area"] for k in (1, 2, 3)] == [600, 600, 600]  # filled in


def test_boxes_are_cut_at_the_photo_and_slivers_left_out(data):
    def write(content):
        first, second = content["annotations"][0], dict(content["annotations"][0], id=99)
        first["bbox"], second["bbox"] = [-5, 90, 20, 30], [95.5, 0, 10, 10]
        first["image_id"] = second["image_id"] = 0
        content["annotations"] = [first, second]

    change(data, write)
    assert open_coco(str(data), "train").objects(0).boxes.tolist() == [[0, 90, 15, 96]]


def test_the_layout_of_coco_2017(data, tmp_path):
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (data / "train.json").rename(root / "annotations" / "instances_train2017.json")
    data.rename(root / "train2017")
    train = open_coco(str(root), "train")
    assert train.photo(0).size == (96, 96)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda c: c.pop("images"), "must hold the lists images, annotations, categories"),
        (lambda c: c["images"][1].pop("width"), "number 1 of images needs width"),
        (lambda c: c["annotations"][0].pop("bbox"), "number 0 of annotations needs bbox"),
        (
            lambda c: c["annotations"][0].update(category_id=4),
            "annotation 1 cannot be used, its category_id 4 is not listed: correct it or leave",
        ),
        (lambda c: c["annotations"][0].update(image_id=77), "its image_id 77 is not listed"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2]), r"its bbox is \[1, 2\], not \[x, y"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, None, 4]), r"bbox is \[1, 2, None, 4\]"),
        (lambda c: c["annotations"][0].update(segmentation=[]), "neither polygons nor RLE"),
        (lambda c: c["annotations"][0].update(segmentation=[[1] * 7]), "neither polygons nor RLE"),
        (lambda c: c["annotations"][0].update(segmentation=[3]), "neither polygons nor RLE"),
        (
            lambda c: c["annotations"][0].update(segmentation={"size": [1, 2], "counts": [2]}),
            r"the size of its RLE is \[1, 2\], not \[96, 96\]",
        ),
        (
            lambda c: c["annotations"][0].update(
                segmentation={"size": [96, 96], "counts": [5, -5, 96 * 96]}
            ),
            "its counts do not cover 9216 pixels",
        ),
    ],
)
def test_annotations_that_cannot_be_used_are_named(data, edit, says):
    change(data, edit)
    with pytest.raises(ValueError, match=rf"train.json:? .*{says}"):
        open_coco(str(data), "train")


def test_files_that_cannot_be_used_are_named(data, tmp_path):
    train = open_coco(str(data), "train")
    Image.new("RGB", (20, 10)).save(data / "photos" / "train0.png")
    with pytest.raises(ValueError, match=r"train0.png has 20 x 10 pixels, but .* for 96 x 96"):
        train.photo(0)
    (data / "photos" / "train1.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"train1.png is no photo, or damaged .* copy it again"):
        train.photo(1)
    (data / "photos" / "train2.png").unlink()
    with pytest.raises(ValueError, match=r"there is no file .*train2.png"):
        train.photo(2)
    (data / "val.json").write_text("{")
    with pytest.raises(ValueError, match=r"val.json is not JSON .*: write or copy it again"):
        open_coco(str(data), "val")
    with pytest.raises(ValueError, match=r"must hold annotations/instances_train2017.json and"):
        open_coco(str(tmp_path), "train")


def test_a_photo_is_turned_only_where_its_annotations_are(tmp_path):
    photo, exif = Image.new("RGB", (30, 20)), Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    photo.save(tmp_path / "photo.jpg", exif=exif)
    assert open_photo(tmp_path / "photo.jpg", (30, 20)).size == (30, 20)
    assert open_photo(tmp_path / "photo.jpg", (20, 30)).size == (20, 30)


def test_pixels_are_those_of_the_page(tmp_path):
    ramp = np.linspace(0, 65535, 30 * 20).reshape(20, 30).astype(np.uint16)
    ink = np.zeros((20, 30, 4), dtype=np.uint8)  # black, on nothing
    ink[5:10, 5:10, 3] = 255
    for name, pixels in (("deep", ramp), ("ink", ink)):
        path = tmp_path / f"{name}.png"
        Image.fromarray(pixels).save(path)
        found = np.asarray(open_photo(path, (30, 20)))
        np.testing.assert_array_equal(found, np.asarray(load_photo(path)))
        assert (found.min(), found.max()) == (0, 255)
        assert 80 < found.mean() < 250


def guesses(truth: Any, random: np.random.Generator) -> list[dict[str, Any]]:
    """Shifted, repeated, mislabelled and invented objects with random scores."""
    found = []
    for a in list(truth.anns.values()) * 2:
        mask = np.roll(truth.annToMask(a), random.integers(-6, 7, 2), (0, 1))
        one = annotation(0, a["image_id"], "disc", mask)
        one["category_id"] = int(random.choice([a["category_id"]] * 3 + list(GAPS.values())))
        one["score"] = float(random.random())
        found.append(one)
    return found


def intersections(kind: str, one: dict[str, Any], other: dict[str, Any]) -> tuple[float, ...]:
    """Areas of the intersection and of both."""
    if kind == "mask":
        first, second = (np.asarray(rle.decode(a["segmentation"])) for a in (one, other))
        return float((first & second).sum()), float(first.sum()), float(second.sum())
    (x, y, w, h), (p, q, v, u) = one["bbox"], other["bbox"]
    both = max(0, min(x + w, p + v) - max(x, p)) * max(0, min(y + h, q + u) - max(y, q))
    return both, w * h, v * u


def naive(truth: Any, found: list[dict[str, Any]], kind: str, level: float) -> float:
    """AP at one level of overlap: the mean over categories and 101 levels of recall."""
    values = []
    for category in GAPS.values():
        theirs = [a for a in truth.anns.values() if a["category_id"] == category]
        ours = [a for a in found if a["category_id"] == category]
        count = sum(not a["iscrowd"] for a in theirs)
        taken: set[int] = set()
        right = []
        for guess in sorted(ours, key=lambda a: -a["score"]):
            best, match, in_crowd = level, None, False
            for a in theirs:
                if a["image_id"] != guess["image_id"]:
                    continue
                both, area, other = intersections(kind, guess, a)
                if a["iscrowd"]:
                    in_crowd |= both / area >= level
                elif a["id"] not in taken and both / (area + other - both) >= best:
                    best, match = both / (area + other - both), a["id"]
            if match is not None:
                taken.add(match)
            if match is not None or not in_crowd:
                right.append(match is not None)
        hits = np.cumsum(right)
        precision = hits / np.arange(1, len(hits) + 1)
        recall = hits / count
        values.append(
            np.mean([precision[recall >= r].max(initial=0) for r in np.linspace(0, 1, 101)])
        )
    return 100 * float(np.mean(values))


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_average_precision_is_that_of_its_definition(tmp_path, kind):
    data = write_coco(tmp_path / "data", train=25, val=1, seed=4)

    def make_crowds(content):
        for a in content["annotations"][::5]:
            a["iscrowd"] = 1

    change(data, make_crowds)
    truth = open_coco(str(data), "train").truth
    found = guesses(truth, np.random.default_rng(0))
    measured = average_precision(truth, found)
    levels = np.linspace(0.5, 0.95, 10)
    expected = [naive(truth, found, kind, level) for level in levels]
    assert 5 < expected[0] < 95
    assert measured[f"{kind}_AP50"] == pytest.approx(expected[0], abs=1e-6)
    assert measured[f"{kind}_AP75"] == pytest.approx(expected[5], abs=1e-6)
    assert measured[f"{kind}_AP"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert measured[f"{kind}_APS"] > 0
    assert f"{kind}_APL" not in measured  # no object is large


@pytest.mark.parametrize("ids", [lambda k: k, lambda _: 7])
def test_the_truth_itself_has_a_precision_of_100_and_nothing_has_0(data, ids):
    change(data, lambda c: [a.update(id=ids(k)) for k, a in enumerate(c["annotations"])])
    truth = open_coco(str(data), "train").truth
    perfect = [a | {"score": 1.0} for a in truth.anns.values()]
    assert set(average_precision(truth, perfect).values()) == {100.0}
    assert set(average_precision(truth, []).values()) == {0.0}
