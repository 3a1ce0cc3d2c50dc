"""Naming every pixel with an FCN: the losses, and the mean intersection over union."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torchvision import tv_tensors
from torchvision.transforms import v2
from tqdm import tqdm

from drtam.explain.photo import IMAGENET_MEAN, IMAGENET_STD
from drtam.explain.recording import evaluating
from experiments.mixed_precision import autocast
from experiments.overlap import confusion, overlap
from experiments.recipe import SegmentationRecipe
from experiments.task import Part, load, seed_of, seeded
from experiments.voc import IGNORED, Voc

LONGEST = 4  # times the shorter side, before the crop and when measured
TRIES = 10  # to draw a crop that is not almost all of one class
GREY = [round(255 * value) for value in IMAGENET_MEAN]  # normalised to about 0
DISTORT = v2.RandomPhotometricDistort(
    brightness=(0.875, 1.125),
    contrast=(0.5, 1.5),
    saturation=(0.5, 1.5),
    hue=(-0.1, 0.1),
)
FINISH = v2.Compose(
    [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
)


class Segmentation:
    """A ``Task``.

    Args:
        recipe: of the training.
        train: photos to learn from.
        val: photos to be measured on.
        device: where the network is.
        seed: of scales, crops, flips and colours.
        workers: processes that read photos.
    """

    headline: ClassVar[dict[str, str]] = {"mIoU": "mIoU"}

    def __init__(
        self,
        recipe: SegmentationRecipe,
        train: Voc,
        val: Voc,
        device: torch.device,
        *,
        seed: int,
        workers: int,
    ) -> None:
        self.recipe, self.train, self.val, self.classes = recipe, train, val, train.classes
        self.device, self.seed, self.workers = device, seed, workers

    def __len__(self) -> int:
        return len(self.train.photos)

    def feed(self, parts: Iterator[Part]) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Crops, (3, S, S) uint8, and their classes, (S, S) uint8."""
        keys = (
            [(i, seed_of(self.seed, part.epoch, i)) for i in part.indices.tolist()]
            for part in parts
        )
        return load(self._read, keys, self.workers)

    def _read(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        index, seed = key
        photo, labels = tensors(self.train, index)
        with seeded(seed):
            return augment(photo, labels, self.recipe)

    def running(self, model: nn.Module) -> nn.Module:
        """The model itself."""
        return model

    def loss(self, runs: nn.Module, batch: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Cross-entropy of both classifiers; ignored pixels count as 0, as in the toolbox."""
        x = FINISH(torch.stack([photo for photo, _ in batch]).to(self.device))
        labels = torch.stack([labels for _, labels in batch]).to(self.device).long()
        with autocast(self.device):
            scores = runs(x.contiguous(memory_format=torch.channels_last))
        out, aux = (
            cross_entropy(
                scores[name].float(), labels, ignore_index=IGNORED, reduction="none"
            ).mean()
            for name in ("out", "aux")
        )
        return out + self.recipe.aux_weight * aux

    def measure(self, model: nn.Module) -> dict[str, float]:
        """See ``overlap``."""
        return measure(model, self.val, self.recipe.size, self.device, self.workers)


def tensors(photos: Voc, index: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """A photo, (3, H, W), and its classes, (H, W), both uint8."""
    photo, labels = photos.read(index)
    pixels = v2.functional.pil_to_tensor(photo)
    return tv_tensors.Image(pixels), tv_tensors.Mask(torch.from_numpy(labels.copy()))


def scaled(labels: Tensor, shorter: float) -> list[int]:
    """Height and width of a photo with a shorter side, its own proportions."""
    scale = min(shorter / min(labels.shape), LONGEST * shorter / max(labels.shape))
    return [max(1, round(side * scale)) for side in labels.shape]


def augment(
    photo: tv_tensors.Image, labels: tv_tensors.Mask, recipe: SegmentationRecipe
) -> tuple[Tensor, Tensor]:
    """A crop of a scaled photo, (3, S, S) and (S, S); what it lacks is grey and ignored.

    Args:
        photo: (3, H, W), uint8.
        labels: (H, W), uint8.
        recipe: S is its ``size``.
    """
    size = recipe.size
    factor = torch.empty(()).uniform_(recipe.smallest_scale, recipe.largest_scale).item()
    sides = scaled(labels, size * factor)
    photo, labels = (v2.functional.resize(x, sides, antialias=True) for x in (photo, labels))
    for _ in range(TRIES):
        top, left = (int(torch.randint(max(side - size, 0) + 1, ())) for side in sides)
        cut = [top, left, min(size, sides[0]), min(size, sides[1])]
        part = v2.functional.crop(labels, *cut)
        counts = part[part != IGNORED].unique(return_counts=True)[1]
        if len(counts) > 1 and counts.max() <= recipe.largest_share * counts.sum():
            break
    crop, part = v2.RandomHorizontalFlip()(v2.functional.crop(photo, *cut), part)
    margins = [0, 0, size - cut[3], size - cut[2]]
    return (
        v2.functional.pad(DISTORT(crop), margins, fill=GREY).as_subclass(Tensor),
        v2.functional.pad(part, margins, fill=IGNORED).as_subclass(Tensor),
    )


@torch.no_grad()
def measure(
    model: nn.Module, photos: Voc, size: int, device: torch.device, workers: int
) -> dict[str, float]:
    """The overlap of a network that sees whole photos with a shorter side of ``size`` pixels."""
    classes = len(photos.classes)
    counts = torch.zeros(classes, classes, dtype=torch.long, device=device)
    keys = ([i] for i in range(len(photos.photos)))
    with evaluating(model):
        batches = load(partial(tensors, photos), keys, workers)
        for ((photo, labels),) in tqdm(batches, "measuring", len(photos.photos), leave=False):
            sides = scaled(labels, size)
            x = FINISH(v2.functional.resize(photo.to(device), sides, antialias=True))[None]
            with autocast(device):
                scores = model(x.contiguous(memory_format=torch.channels_last))["out"]
            large = interpolate(scores.float(), labels.shape, mode="bilinear")
            counts += confusion(labels.to(device), large.argmax(1)[0], classes)
    return overlap(counts)
