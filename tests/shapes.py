"""A small data set whose answer is known: discs, upright and lying stripes in any colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

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
