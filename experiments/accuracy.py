"""How often a network is right, and how well it knows that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError
from torchvision.transforms import v2
from tqdm import tqdm

from drtam.explain.recording import evaluating
from experiments.mixed_precision import autocast
from experiments.photos import Photos

BATCH = 250


@dataclass(frozen=True)
class Accuracy:
    """Of a network on labelled photos, in percent.

    Attributes:
        top1: how often the best class is the label.
        top5: how often the label is among the best five.
        calibration_error: expected calibration error, in 15 bins of equal width.
    """

    top1: float
    top5: float
    calibration_error: float


def batches(
    photos: Photos,
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    device: torch.device,
    batch: int = BATCH,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Which photos, the photos as a network sees them, and their labels."""
    transform = v2.Compose(
        [
            v2.Resize((size, size), v2.InterpolationMode.BICUBIC, antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    for start in range(0, len(photos.labels), batch):
        part = slice(start, start + batch)
        images = torch.from_numpy(np.array(photos.images[part])).to(device)
        labels = torch.from_numpy(photos.labels[part]).to(device)
        yield part, transform(images.movedim(3, 1)), labels


@torch.no_grad()
def classified(
    model: nn.Module,
    photos: Photos,
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (B, K) and labels (B,), at a resolution of ``size`` x ``size`` pixels."""
    with evaluating(model):
        parts = tqdm(
            batches(photos, size, mean, std, device),
            total=-(-len(photos.labels) // BATCH),
            desc=f"accuracy at {size} pixels",
            leave=False,
            disable=None,  # but in a terminal
        )
        for _, images, labels in parts:
            with autocast(device):
                logits = model(images.contiguous(memory_format=torch.channels_last)).float()
            yield logits, labels


def accuracy_of(pairs: Iterable[tuple[Tensor, Tensor]], classes: int) -> Accuracy:
    """Of logits (B, K) and labels (B,), batch by batch."""
    here: dict[str, Any] = {"sync_on_compute": False}  # one process measures for all
    metrics = (
        MulticlassAccuracy(classes, average="micro", **here),
        MulticlassAccuracy(classes, average="micro", top_k=min(5, classes), **here),
        MulticlassCalibrationError(classes, n_bins=15, **here),
    )
    for logits, labels in pairs:
        probabilities = logits.softmax(1)
        for metric in metrics:
            metric.to(labels.device).update(probabilities, labels)
    return Accuracy(*(100 * float(metric.compute()) for metric in metrics))


def measure(
    model: nn.Module,
    photos: Photos,
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    device: torch.device,
) -> Accuracy:
    """Classify every photo at a resolution of ``size`` x ``size`` pixels."""
    return accuracy_of(classified(model, photos, size, mean, std, device), len(photos.classes))
