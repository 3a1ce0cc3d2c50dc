"""Small data sets whose answer is known: discs, upright and lying stripes in any colour to be
told apart; solid shapes to be found and cut out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle

CLASSES = ("bars", "disc", "stripes")


def photo(kind: str, random: np.random.Generator, side: int = 32) -> Image.Image:
    """One photo of a class: its shape in some colour, on noise."""
    y, x = np.mgrid[:side, :side]
    cy, cx, radius = *random.integers(10, side - 10, 2), random.integers(6, 9)
    mask = {
        "disc": (y - cy) ** 2 + (x - cx) ** 2 < radius**2,
        "bars": (abs(x - cx) < radius) & (x % 4 < 2),
        "stripes": (abs(y - cy) < radius) & (y % 4 < 2),
    }[kind]
    pixels = random.integers(0, 90, (side, side, 3))
    pixels[mask] = random.integers(120, 256, 3)
    return Image.fromarray(pixels.astype(np.uint8))


def write_folder(root: Path, train: int = 40, val: int = 10, seed: int = 0) -> Path:
    """The data set in ImageFolder layout, ``train`` and ``val`` photos of each class."""
    random = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", val)):
        for kind in CLASSES:
            folder = root / split / kind
            folder.mkdir(parents=True)
            for i in range(count):
                photo(kind, random).save(folder / f"{i}.png")
    return root


SOLIDS = ("disc", "square", "triangle")
GAPS = {"disc": 3, "square": 7, "triangle": 90}  # ids of COCO's categories have gaps, too


@dataclass(frozen=True)
class Scene:
    """A photo of one to three solid shapes that do not touch, and the pixels of each."""

    photo: Image.Image
    kinds: list[str]
    masks: list[np.ndarray]


def scene(random: np.random.Generator, side: int) -> Scene:
    """Shapes in any bright colour on a dark, blotchy and noisy background."""
    blotches = Image.fromarray(random.integers(0, 90, (6, 6, 3), dtype=np.uint8))
    pixels = np.array(blotches.resize((side, side), Image.Resampling.BICUBIC))
    pixels = pixels + random.integers(0, 40, pixels.shape)
    y, x = np.mgrid[:side, :side]
    free, kinds, masks = np.ones((side, side), dtype=bool), [], []
    for _ in range(random.integers(1, 4)):
        kind = str(random.choice(SOLIDS))
        radius = int(random.integers(side // 9, side // 5))
        cy, cx = random.integers(radius, side - radius, 2)
        mask = {
            "disc": (y - cy) ** 2 + (x - cx) ** 2 < radius**2,
            "square": np.maximum(abs(y - cy), abs(x - cx)) < radius * 0.85,
            "triangle": (abs(x - cx) * 2 < y - cy + radius) & (y < cy + radius),
        }[kind]
        if (mask & ~free).any():
            continue
        free &= ~mask
        pixels[mask] = random.integers(130, 230, 3) + random.integers(-15, 16, (mask.sum(), 3))
        kinds.append(kind)
        masks.append(mask)
    return Scene(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), kinds, masks)


def annotation(key: int, photo: int, kind: str, mask: np.ndarray) -> dict[str, Any]:
    """Of a mask, in COCO format, as RLE."""
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    x, y = int(columns[0]), int(rows[0])
    encoded = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "id": key,
        "image_id": photo,
        "category_id": GAPS[kind],
        "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
        "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode()},
        "iscrowd": 0,
        "area": int(mask.sum()),
    }


def write_coco(root: Path, train: int, val: int, side: int = 96, seed: int = 0) -> Path:
    """Scenes in COCO format; the last photo of each part is grey and has no objects."""
    random = np.random.default_rng(seed)
    (root / "photos").mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        photos: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for i in range(count):
            found, name = scene(random, side), f"photos/{split}{i}.png"
            photos.append({"id": i, "file_name": name, "width": side, "height": side})
            if i == count - 1:
                Image.new("L", (side, side), 60).save(root / name)
                continue
            found.photo.save(root / name)
            for kind, mask in zip(found.kinds, found.masks, strict=True):
                annotations.append(annotation(len(annotations) + 1, i, kind, mask))
        categories = [{"id": key, "name": name} for name, key in GAPS.items()]
        content = {"images": photos, "annotations": annotations, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


def write_voc(root: Path, train: int, val: int, side: int = 96, seed: int = 0) -> Path:
    """Scenes in VOC's layout, the edges of objects ignored."""
    random = np.random.default_rng(seed)
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(("background", *SOLIDS)))
    for split, count in (("train", train), ("val", val)):
        names = [f"{split}{i}" for i in range(count)]
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            found = scene(random, side)
            labels = np.zeros((side, side), dtype=np.uint8)
            for kind, mask in zip(found.kinds, found.masks, strict=True):
                labels[mask] = 1 + SOLIDS.index(kind)
            edge = labels != np.roll(labels, 1, 1)
            labels[edge] = 255
            found.photo.save(root / "JPEGImages" / f"{name}.jpg", quality=95)
            palette = Image.fromarray(labels)
            palette.putpalette([k * step % 256 for k in range(256) for step in (37, 91, 53)])
            palette.save(root / "SegmentationClass" / f"{name}.png")
    return root
