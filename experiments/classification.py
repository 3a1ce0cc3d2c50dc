"""Classifying photos: the loss, perhaps with a teacher, and the accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from drtam.explain.photo import IMAGENET_MEAN, IMAGENET_STD
from experiments.accuracy import measure
from experiments.augment import Augment
from experiments.mixed_precision import autocast
from experiments.photos import Photos
from experiments.recipe import Recipe
from experiments.task import Part

TEMPERATURE, SOFT_SHARE = 2.0, 0.5  # of distillation


class Classification:
    """A ``Task``.

    Args:
        recipe: of the training.
        train: photos to learn from.
        val: photos to be measured on.
        device: where the network is.
        teacher: a network whose probabilities are half of the target.
    """

    headline: ClassVar[dict[str, str]] = {"top-1": "top1"}

    def __init__(
        self,
        recipe: Recipe,
        train: Photos,
        val: Photos,
        device: torch.device,
        teacher: nn.Module | None = None,
    ) -> None:
        self.recipe, self.train, self.val = recipe, train, val
        self.device, self.teacher, self.classes = device, teacher, train.classes
        self.augment = Augment(recipe, len(train.classes), IMAGENET_MEAN, IMAGENET_STD)

    def __len__(self) -> int:
        return len(self.train.labels)

    def feed(self, parts: Iterator[Part]) -> Iterator[Tensor]:
        """The indices alone: the photos are in memory."""
        return (part.indices for part in parts)

    def running(self, model: nn.Module) -> nn.Module:
        """The model itself."""
        return model

    def loss(self, runs: nn.Module, batch: Tensor) -> Tensor:
        """Cross-entropy of augmented photos, and how far the teacher is."""
        chosen = batch.numpy()
        images = torch.from_numpy(self.train.images[chosen]).to(self.device)
        labels = torch.from_numpy(self.train.labels[chosen]).to(self.device)
        x, targets = self.augment(images, labels)
        x = x.contiguous(memory_format=torch.channels_last)
        with autocast(self.device):
            logits = runs(x)
        smoothing = self.recipe.label_smoothing
        hard = cross_entropy(logits.float(), targets, label_smoothing=smoothing)
        if self.teacher is None:
            return hard
        with torch.no_grad(), autocast(self.device):
            taught = self.teacher(x)
        soft = kl_div(
            (logits.float() / TEMPERATURE).log_softmax(1),
            (taught.float() / TEMPERATURE).log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )
        return (1 - SOFT_SHARE) * hard + SOFT_SHARE * TEMPERATURE**2 * soft

    def measure(self, model: nn.Module) -> dict[str, float]:
        """``Accuracy`` on the validation photos."""
        size = self.recipe.size
        return asdict(measure(model, self.val, size, IMAGENET_MEAN, IMAGENET_STD, self.device))
