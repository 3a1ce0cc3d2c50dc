"""Photos with the class of every pixel, in the layout of PASCAL VOC 2012."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from experiments.pictures import open_labels, open_photo

IGNORED = 255  # the value of pixels on the edges of objects
CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)


@dataclass(frozen=True)
class Voc:
    """One part of a data set.

    Attributes:
        photos: their files.
        labels: the file of each photo's classes.
        classes: the name of each class, by pixel value.
    """

    photos: tuple[Path, ...]
    labels: tuple[Path, ...]
    classes: tuple[str, ...]

    def read(self, index: int) -> tuple[Image.Image, npt.NDArray[np.uint8]]:
        """A photo, RGB, and the classes of its pixels, (H, W).

        Raises:
            ValueError: a file is missing or damaged, the two have different sizes, or a pixel
                has a class that is not known.
        """
        labels = np.asarray(open_labels(self.labels[index]))
        height, width = labels.shape
        unknown = labels[(labels >= len(self.classes)) & (labels != IGNORED)]
        if unknown.size:
            raise ValueError(
                f"{self.labels[index]} has pixels of class {unknown[0]}, but there are "
                f"{len(self.classes)} classes and {IGNORED} for ignored pixels: correct it, or "
                "name all classes in classes.txt"
            )
        return open_photo(self.photos[index], (width, height)), labels


def open_voc(source: str, split: Literal["train", "val"]) -> Voc:
    """A part of a data set.

    Args:
        source: the folder ``VOCdevkit`` or ``VOC2012``, or one laid out like it: JPEGImages,
            SegmentationClass and ImageSets/Segmentation with ``train.txt`` and ``val.txt``. Its
            file ``classes.txt``, one name a line in the order of the pixel values, replaces
            VOC's names.
        split: which part; ``train`` is ``trainaug.txt`` where there is one, with labels of
            SegmentationClassAug for the photos that have none in SegmentationClass.

    Raises:
        ValueError: the folder is laid out differently, or a list is empty.
    """
    root = Path(source)
    folders = (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012")
    lists = [folder / "ImageSets" / "Segmentation" for folder in folders]
    place = next((k for k in lists if (k / f"{split}.txt").is_file()), None)
    if place is None:
        raise ValueError(
            f"{source} must hold JPEGImages, SegmentationClass and "
            f"ImageSets/Segmentation/{split}.txt, as VOC2012 does"
        )
    root = place.parent.parent
    augmented = place / "trainaug.txt"
    chosen = augmented if split == "train" and augmented.is_file() else place / f"{split}.txt"
    names = [line.strip() for line in chosen.read_text().splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{chosen} is empty: it must name photos, one a line, without .jpg")
    return Voc(
        tuple(_photo(root / "JPEGImages" / name) for name in names),
        tuple(_labels(root, name) for name in names),
        _classes(root / "classes.txt"),
    )


def _photo(stem: Path) -> Path:
    """VOC's photos are JPEG files; those of small sets may be PNG."""
    png = stem.with_name(stem.name + ".png")
    return png if png.is_file() else stem.with_name(stem.name + ".jpg")


def _labels(root: Path, name: str) -> Path:
    own = root / "SegmentationClass" / f"{name}.png"
    augmented = root / "SegmentationClassAug" / f"{name}.png"
    return augmented if augmented.is_file() and not own.is_file() else own


def _classes(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return CLASSES
    names = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    if not 2 <= len(names) <= IGNORED:
        raise ValueError(f"{path} must name 2 to {IGNORED} classes, not {len(names)}")
    return names
