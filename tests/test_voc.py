"""VOC's layout, the crops a segmenter learns from, and its measure by definition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import SOLIDS, write_voc
from torchvision import tv_tensors

from experiments.overlap import confusion, overlap
from experiments.recipe import SegmentationRecipe
from experiments.segmentation import GREY, augment, scaled
from experiments.voc import CLASSES, IGNORED, open_voc

RECIPE = SegmentationRecipe(1, 4, 0.1, 0, size=48, largest_share=1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "data", train=3, val=2)


def test_labels_are_the_indices_of_the_palette(data):
    train = open_voc(str(data), "train")
    assert train.classes == ("background", *SOLIDS)
    photo, labels = train.read(0)
    assert (photo.mode, photo.size, labels.shape) == ("RGB", (96, 96), (96, 96))
    assert set(np.unique(labels)) <= {0, 1, 2, 3, IGNORED}
    assert (labels == IGNORED).any()
    assert [p.stem for p in open_voc(str(data), "val").photos] == ["val0", "val1"]


def test_the_augmented_part_replaces_the_list_and_adds_the_labels_that_are_missing(data):
    lists = data / "ImageSets" / "Segmentation"
    (lists / "trainaug.txt").write_text("train2\nmore\n")
    (data / "SegmentationClassAug").mkdir()
    Image.new("RGB", (96, 96)).save(data / "JPEGImages" / "more.jpg")
    for name in ("train2", "more", "val0"):
        Image.new("L", (96, 96), 2).save(data / "SegmentationClassAug" / f"{name}.png")
    train, val = (open_voc(str(data), split) for split in ("train", "val"))
    assert [p.stem for p in train.photos] == ["train2", "more"]
    assert [p.parent.name for p in train.labels] == ["SegmentationClass", "SegmentationClassAug"]
    assert (train.read(1)[1] == 2).all()
    assert {p.parent.name for p in val.labels} == {"SegmentationClass"}  # VOC's own, never SBD's


def test_names_may_hold_spaces(data):
    for folder, kind in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (data / folder / f"val0.{kind}").rename(data / folder / f"my cat.{kind}")
    (data / "ImageSets" / "Segmentation" / "val.txt").write_text("my cat \r\n\nval1\n")
    val = open_voc(str(data), "val")
    assert [p.stem for p in val.photos] == ["my cat", "val1"]
    assert val.read(0)[0].size == (96, 96)


def test_voc2012_is_found_in_its_devkit_with_21_classes(data, tmp_path):
    (data / "classes.txt").unlink()
    (tmp_path / "VOCdevkit").mkdir()
    data.rename(tmp_path / "VOCdevkit" / "VOC2012")
    for root in (tmp_path, tmp_path / "VOCdevkit", tmp_path / "VOCdevkit" / "VOC2012"):
        train = open_voc(str(root), "train")
        assert train.classes == CLASSES
        assert len(train.classes) == 21


def test_what_cannot_be_used_is_named(data, tmp_path):
    train = open_voc(str(data), "train")
    Image.new("L", (96, 96), 4).save(data / "SegmentationClass" / "train0.png")
    with pytest.raises(ValueError, match=r"train0.png has pixels of class 4, but there are 4"):
        train.read(0)
    Image.new("RGB", (96, 96)).save(data / "SegmentationClass" / "train1.png")
    with pytest.raises(ValueError, match=r"train1.png must hold the class of each pixel.* RGB"):
        train.read(1)
    Image.new("L", (96, 90)).save(data / "SegmentationClass" / "train2.png")
    with pytest.raises(ValueError, match=r"train2.jpg has 96 x 96 pixels, but .* for 96 x 90"):
        train.read(2)
    (data / "SegmentationClass" / "train2.png").unlink()
    with pytest.raises(ValueError, match=r"there is no file .*train2.png"):
        train.read(2)
    with pytest.raises(ValueError, match=r"must hold JPEGImages, SegmentationClass and Image"):
        open_voc(str(tmp_path), "train")
    (data / "classes.txt").write_text("background\n")
    with pytest.raises(ValueError, match=r"classes.txt must name 2 to 255 classes, not 1"):
        open_voc(str(data), "train")
    (data / "ImageSets" / "Segmentation" / "val.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"val.txt is empty: it must name photos"):
        open_voc(str(data), "val")


def coloured(height: int, width: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """A photo that is bright where its label is 1; the labels know where they come from."""
    labels = torch.zeros(height, width, dtype=torch.uint8)
    labels[: height // 2, : width // 3] = 1
    return tv_tensors.Image(labels.expand(3, -1, -1) * 200), tv_tensors.Mask(labels)


@pytest.mark.parametrize("seed", range(8))
def test_photo_and_labels_are_cropped_alike_and_filled_with_grey(seed):
    torch.manual_seed(seed)
    photo, labels = augment(*coloured(60, 100), RECIPE)
    assert (photo.shape, labels.shape) == ((3, 48, 48), (48, 48))
    filled = labels == IGNORED
    assert (photo.movedim(0, 2)[filled] == torch.tensor(GREY, dtype=torch.uint8)).all()
    bright = photo.float().mean(0) > 60
    known = ~filled
    assert (bright[known] == (labels[known] == 1)).float().mean() > 0.95  # but for the edge


def test_a_crop_of_almost_one_class_is_drawn_again():
    photo, labels = coloured(60, 100)
    strict = replace(RECIPE, largest_share=0.75)
    shares = {}
    for recipe in (RECIPE, strict):
        crops = []
        for seed in range(30):
            torch.manual_seed(seed)
            part = augment(photo, labels, recipe)[1]
            known = part[part != IGNORED]
            crops.append(float((known == 1).float().mean()))
        shares[recipe.largest_share] = np.mean([max(s, 1 - s) > 0.75 for s in crops])
    assert shares[0.75] < 0.5 * shares[1]


def test_photos_keep_their_proportions_up_to_four_to_one():
    assert scaled(torch.zeros(375, 500), 512) == [512, 683]
    assert scaled(torch.zeros(100, 1000), 512) == [205, 2048]


def test_overlap_is_that_of_a_loop_over_classes():
    random = np.random.default_rng(0)
    labels = random.choice([0, 1, 2, 4, IGNORED], (3, 20, 30)).astype(np.uint8)
    guesses = np.where(random.random(labels.shape) < 0.6, labels % 6, 1)
    guesses[labels == IGNORED] = 5  # where nobody counts
    shares = []
    known = labels != IGNORED
    for k in (0, 1, 2, 4):  # 3 and 5 are neither there nor predicted
        both = ((labels == k) & (guesses == k)).sum()
        either = (((labels == k) | (guesses == k)) & known).sum()
        shares.append(both / either)
    counts = sum(
        confusion(torch.from_numpy(a), torch.from_numpy(b), 6)
        for a, b in zip(labels, guesses, strict=True)
    )
    found = overlap(counts)
    assert found["mIoU"] == pytest.approx(100 * np.mean(shares))
    assert found["pixel_accuracy"] == pytest.approx(100 * (labels == guesses)[known].mean())
