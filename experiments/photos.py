"""Labelled photos from disk or from the Hugging Face hub, decoded once into mapped memory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch.distributed as dist
from PIL import Image, ImageOps
from torchvision.datasets import ImageFolder
from tqdm import tqdm

from drtam.checks import check_range
from drtam.explain.photo import to_rgb
from experiments.pictures import opened
from experiments.task import load

Split = Literal["train", "val"]
# What splits are called on the hub; a set whose authors kept no part back is measured on its test.
HUB_SPLITS = {"train": ("train",), "val": ("val", "validation", "valid", "dev", "test")}


@dataclass(frozen=True)
class Photos:
    """One split of a data set.

    Attributes:
        images: (N, S, S, 3), uint8, mapped from disk.
        labels: (N,), int64.
        boxes: (N, 4), float32: x0, y0, x1, y1 of the object in pixels, the last ones outside;
            None where the data set has none.
        classes: the name of each class.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32] | None
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Listing:
    """What is to be decoded.

    Attributes:
        key: changes when the photos do.
        read: the photo of an index, RGB.
        labels: class of each photo.
        classes: names.
        boxes: for each photo, in pixels of a photo of ``box_side``; empty where there are none.
    """

    key: str
    read: Callable[[int], Image.Image]
    labels: Sequence[int]
    classes: tuple[str, ...]
    boxes: Sequence[tuple[int, int, int, int]] = ()
    box_side: int = 1


def open_photos(source: str, split: Split, size: int, cache: Path) -> Photos:
    """A split of a data set, from the cache or decoded into it with a progress bar.

    Args:
        source: a folder with ``train`` and ``val`` in ImageFolder layout, the unpacked folder
            of Tiny-ImageNet-200, or the name of a data set on the Hugging Face hub.
        split: which part.
        size: S; photos are scaled to it by their shorter side and cut at the centre.
        cache: folder of the decoded splits; can be deleted at any time.

    Raises:
        ValueError: the source is none of these, or a photo in it cannot be read.
    """
    check_range("size", size, 1, 4096)
    listing = list_photos(source, split)
    if not listing.labels:
        raise ValueError(f"{source} has no photos in {split}")
    content = (listing.key, list(listing.labels), listing.classes, list(listing.boxes))
    digest = hashlib.sha256(f"{source} {split} {size} {content}".encode()).hexdigest()[:16]
    folder = cache / f"{Path(source).name}-{split}-{size}-{digest}"
    with _first_process_first():
        if not folder.is_dir():
            _decode(listing, size, folder)
    boxes = folder / "boxes.npy"
    return Photos(
        images=np.load(folder / "images.npy", mmap_mode="r"),
        labels=np.load(folder / "labels.npy"),
        boxes=np.load(boxes) if boxes.exists() else None,
        classes=tuple(json.loads((folder / "classes.json").read_text())),
    )


@contextmanager
def _first_process_first() -> Iterator[None]:
    """Of the processes of one training, the others wait until the first is through."""
    together = dist.is_initialized()
    if together and dist.get_rank() > 0:
        dist.barrier()
    yield
    if together and dist.get_rank() == 0:
        dist.barrier()


def list_photos(source: str, split: Split) -> Listing:
    """What a source holds; see ``open_photos``."""
    root = Path(source)
    if (root / "wnids.txt").is_file():
        return _tiny_imagenet(root, split)
    if (root / split).is_dir():
        folder = ImageFolder(str(root / split))
        return _of_paths([p for p, _ in folder.samples], folder.targets, tuple(folder.classes))
    if root.exists():
        raise ValueError(
            f"{source} must hold the folders train and val, each with a folder of photos for "
            "every class, or be the unpacked Tiny-ImageNet-200"
        )
    return _hub(source, split)


def _of_paths(paths: list[str], labels: Sequence[int], classes: tuple[str, ...]) -> Listing:
    stats = map(os.stat, paths)
    stamps = [(path, s.st_size, s.st_mtime_ns) for path, s in zip(paths, stats, strict=True)]
    return Listing(str(stamps), partial(_open, paths), labels, classes)


def _open(paths: Sequence[str], index: int) -> Image.Image:
    return to_rgb(opened(Path(paths[index])))


def _tiny_imagenet(root: Path, split: Split) -> Listing:
    """Tiny-ImageNet-200 as distributed; photos of the validation part have boxes."""
    wnids = sorted((root / "wnids.txt").read_text().split())
    words = dict(line.split("\t") for line in (root / "words.txt").read_text().splitlines())
    names = recognisable([words[wnid] for wnid in wnids])
    if split == "train":
        folder = ImageFolder(str(root / "train"))
        if folder.classes != wnids:
            odd = ", ".join(sorted(set(folder.classes) ^ set(wnids))[:5])
            raise ValueError(
                f"{root} must have in train the folders that wnids.txt names: see {odd}"
            )
        return _of_paths([path for path, _ in folder.samples], folder.targets, names)
    lines = (root / "val" / "val_annotations.txt").read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    plain = _of_paths(
        [str(root / "val" / "images" / row[0]) for row in rows],
        [wnids.index(row[1]) for row in rows],
        names,
    )
    corners = [tuple(map(int, row[2:6])) for row in rows]  # the last pixel belongs to the box
    boxes = [(x0, y0, x1 + 1, y1 + 1) for x0, y0, x1, y1 in corners]
    return Listing(plain.key, plain.read, plain.labels, names, boxes, box_side=64)


def recognisable(synonyms: Sequence[str]) -> tuple[str, ...]:
    """The first of each class's synonyms, or all of them where two classes share the first."""
    first = [names.split(",")[0] for names in synonyms]
    return tuple(
        names if first.count(short) > 1 else short
        for names, short in zip(synonyms, first, strict=True)
    )


def _hub(name: str, split: Split) -> Listing:
    """A data set of the Hugging Face hub with the columns ``image`` and ``label``."""
    from datasets import load_dataset  # noqa: PLC0415 - slow, and seldom needed

    try:
        found = load_dataset(name)
    except Exception as error:  # the library raises very different things
        raise ValueError(f"{name!r} is no folder, and not found on the hub: {error}") from error
    named = [known for known in HUB_SPLITS[split] if known in found]
    if not named:
        raise ValueError(
            f"{name} must have a split {' or '.join(HUB_SPLITS[split])}, but it has "
            f"{', '.join(found)}"
        )
    part = found[named[0]]
    label = part.features.get("label")
    if "image" not in part.features or not hasattr(label, "names"):
        raise ValueError(
            f"{name} must have the columns image and label, the latter of classes, but it has "
            f"{', '.join(part.features)}"
        )
    labels = list(part["label"])
    if unknown := {value for value in labels if value not in range(len(label.names))}:
        raise ValueError(
            f"{name} must have a class for every photo, but in its split {named[0]} some have "
            f"{unknown.pop()}, which is none"
        )
    return Listing(part._fingerprint, partial(_of_hub, part), labels, tuple(label.names))


def _of_hub(part: Any, index: int) -> Image.Image:
    try:
        image: Image.Image | None = part[index]["image"]
        if image is None:
            raise ValueError("its row has none")
        return to_rgb(image)
    except (OSError, SyntaxError, ValueError) as error:  # as Pillow raises them
        raise ValueError(f"photo {index} of the data set cannot be read: {error}") from error


def _decoded(listing: Listing, size: int, index: int) -> npt.NDArray[np.uint8]:
    """The photo of an index: (size, size, 3)."""
    return np.array(ImageOps.fit(listing.read(index), (size, size), Image.Resampling.BICUBIC))


def _decode(listing: Listing, size: int, folder: Path) -> None:
    """Decode everything into a folder that appears when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        part = Path(name) / "part"
        part.mkdir()
        count = len(listing.labels)
        needed, free = count * size * size * 3, shutil.disk_usage(name).free
        if needed > free:  # the file below takes its room bit by bit, and would end in a bus error
            raise ValueError(
                f"{folder.parent} has room for {free / 1e9:.1f} GB, but the decoded photos take "
                f"{needed / 1e9:.1f} GB: name a folder with more room, or fewer pixels"
            )
        images: Any = np.lib.format.open_memmap(
            part / "images.npy", mode="w+", dtype=np.uint8, shape=(count, size, size, 3)
        )
        one_by_one = ([index] for index in range(count))
        decoded = load(partial(_decoded, listing, size), one_by_one, os.cpu_count() or 1)
        shown = tqdm(decoded, desc="decoding", unit="photo", total=count)
        for index, (image,) in enumerate(shown):
            images[index] = image
        images.flush()
        np.save(part / "labels.npy", np.asarray(listing.labels, dtype=np.int64))
        (part / "classes.json").write_text(json.dumps(listing.classes))
        if listing.boxes:
            scale = size / listing.box_side
            np.save(part / "boxes.npy", np.asarray(listing.boxes, dtype=np.float32) * scale)
        try:
            os.rename(part, folder)
        except OSError:
            if not folder.is_dir():  # where another process was faster, its photos are as good
                raise
