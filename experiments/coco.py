"""Photos with boxes and masks in COCO format."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Container
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any, Literal, TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from experiments.pictures import open_photo

NEEDED = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox", "segmentation"),
    "categories": ("id", "name"),
}


@dataclass(frozen=True)
class Objects:
    """The objects of one photo.

    Attributes:
        boxes: (N, 4), float32: x0, y0, x1, y1 in pixels, inside the photo.
        labels: (N,), int64: indices into ``Coco.classes``, so 1 or more.
        masks: (N, H, W), uint8: 0 and 1.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    masks: npt.NDArray[np.uint8]


class Coco:
    """One part of a data set.

    Args:
        path: of the annotations.
        photos: folder that their file names are relative to.

    Attributes:
        truth: the annotations as pycocotools indexes them.
        ids: of the photos.
        categories: the id of each class; None for the background, which is the first.
        classes: their names.

    Raises:
        ValueError: the file is not in COCO format, or an annotation has no box or no mask.
    """

    def __init__(self, path: Path, photos: Path) -> None:
        self.path, self.photos = path, photos
        self.truth = COCO()
        self.truth.dataset = _checked(path)
        with contextlib.redirect_stdout(io.StringIO()):
            self.truth.createIndex()
        self.ids: list[int] = sorted(self.truth.imgs)
        known = sorted(self.truth.cats.items())
        self.categories = (None, *(key for key, _ in known))
        self.classes = ("background", *(str(category["name"]) for _, category in known))

    def photo(self, key: int) -> Image.Image:
        """The photo of an id, RGB.

        Raises:
            ValueError: it is missing or damaged, or its size is not the one in the annotations.
        """
        about = self.truth.imgs[key]
        return open_photo(self.photos / about["file_name"], (about["width"], about["height"]))

    def objects(self, key: int) -> Objects:
        """What a network learns to find in the photo of an id: crowds are left out, and boxes
        of which less than a pixel's width or height lies in the photo."""
        about = self.truth.imgs[key]
        width, height = about["width"], about["height"]
        boxes, labels, masks = [], [], []
        for annotation in self.truth.imgToAnns[key]:
            x, y, w, h = annotation["bbox"]
            box = (max(x, 0), max(y, 0), min(x + w, width), min(y + h, height))
            if annotation["iscrowd"] or min(box[2] - box[0], box[3] - box[1]) < 1:
                continue
            boxes.append(box)
            labels.append(self.categories.index(annotation["category_id"]))
            masks.append(self.truth.annToMask(annotation))
        return Objects(
            np.array(boxes, dtype=np.float32).reshape(-1, 4),
            np.array(labels, dtype=np.int64),
            np.array(masks, dtype=np.uint8).reshape(-1, height, width),
        )

    def with_objects(self) -> list[int]:
        """The ids of the photos that hold more than crowds."""
        return [
            key for key in self.ids if not all(a["iscrowd"] for a in self.truth.imgToAnns[key])
        ]


def open_coco(source: str, split: Literal["train", "val"]) -> Coco:
    """A part of a data set: COCO 2017 as distributed, or a small one.

    Args:
        source: a folder with ``annotations/instances_train2017.json`` and the photos in
            ``train2017`` (and both for ``val``), or one with ``train.json`` and ``val.json``,
            whose file names are relative to the folder.
        split: which part.

    Raises:
        ValueError: the folder holds neither, or see ``Coco``.
    """
    root = Path(source)
    distributed = root / "annotations" / f"instances_{split}2017.json"
    if distributed.is_file():
        return Coco(distributed, root / f"{split}2017")
    if (root / f"{split}.json").is_file():
        return Coco(root / f"{split}.json", root)
    raise ValueError(
        f"{source} must hold annotations/instances_{split}2017.json and the photos in "
        f"{split}2017, or {split}.json with file names relative to the folder"
    )


def _checked(path: Path) -> dict[str, Any]:
    """The content of a file in COCO format; ``iscrowd`` and ``area`` are filled in."""
    try:
        content: Any = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): write or copy it again") from error
    for name, keys in NEEDED.items():
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ValueError(f"{path} must hold the lists {', '.join(NEEDED)} of the COCO format")
        for number, entry in enumerate(entries):
            missing = [k for k in keys if not isinstance(entry, dict) or k not in entry]
            if missing:
                raise ValueError(f"{path}: number {number} of {name} needs {', '.join(missing)}")
    photos = {photo["id"]: photo for photo in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    for number, annotation in enumerate(content["annotations"], 1):
        if wrong := _wrong(annotation, photos, categories):
            raise ValueError(
                f"{path}: annotation {annotation['id']} cannot be used, {wrong}: correct it or "
                "leave it out"
            )
        annotation["id"] = number  # pycocotools takes an object 0 for none, and needs them unique
        annotation.setdefault("iscrowd", 0)
        if "area" not in annotation:
            photo, shape = photos[annotation["image_id"]], annotation["segmentation"]
            annotation["area"] = float(rle.area(_encoded(shape, photo["height"], photo["width"])))
    return dict(content)


def _wrong(annotation: dict[str, Any], photos: dict[int, Any], categories: Container[int]) -> str:
    """Why an annotation cannot be used, or nothing."""
    for name, known in (("image_id", photos), ("category_id", categories)):
        if annotation[name] not in known:
            return f"its {name} {annotation[name]} is not listed"
    box, shape = annotation["bbox"], annotation["segmentation"]
    if not _are_numbers(box) or len(box) != 4:
        return f"its bbox is {box}, not [x, y, width, height]"
    if isinstance(shape, dict):
        return _wrong_rle(shape, photos[annotation["image_id"]])
    polygons = isinstance(shape, list) and all(
        _are_numbers(corners) and len(corners) >= 6 and len(corners) % 2 == 0 for corners in shape
    )
    return "" if shape and polygons else "its segmentation is neither polygons nor RLE"


def _wrong_rle(shape: dict[str, Any], photo: dict[str, Any]) -> str:
    size, counts = [photo["height"], photo["width"]], shape.get("counts")
    if shape.get("size") != size:
        return f"the size of its RLE is {shape.get('size')}, not {size}"
    whole = _are_numbers(counts) and min(counts, default=-1) >= 0 and sum(counts) == prod(size)
    return (
        "" if whole or isinstance(counts, str) else f"its counts do not cover {prod(size)} pixels"
    )


def _are_numbers(values: object) -> TypeGuard[list[float]]:
    return isinstance(values, list) and all(
        isinstance(value, int | float) and isfinite(value) for value in values
    )


def _encoded(shape: Any, height: int, width: int) -> Any:
    """Polygons or any kind of RLE as compressed RLE."""
    if isinstance(shape, list):
        return rle.merge(rle.frPyObjects(shape, height, width))
    if isinstance(shape["counts"], list):
        return rle.frPyObjects(shape, height, width)
    return shape
