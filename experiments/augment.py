"""Batches of decoded photos to what the network sees, on the device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchvision.transforms import v2

from experiments.recipe import Recipe

STEP = 16  # between the sides that a batch may have
GROUP = 8  # photos of a batch that share one crop and flip: eight times fewer kernels


class Augment:
    """Random sides, crops, flips, mixup and cutmix; randomness is torch's global generator's.

    Args:
        recipe: of the training.
        classes: K.
        mean: of the normalisation.
        std: likewise.

    Raises:
        ValueError: the spread leaves some batches no side.
    """

    def __init__(
        self,
        recipe: Recipe,
        classes: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        if not 0 <= recipe.spread < recipe.size:
            raise ValueError(
                f"spread must be from 0 to below the size of {recipe.size}, not {recipe.spread}"
            )
        self.classes = classes
        scale, steps = (recipe.smallest_crop, 1), recipe.spread // STEP
        self.crops = [
            v2.Compose(
                [
                    v2.RandomResizedCrop(recipe.size + k * STEP, scale=scale, antialias=True),
                    v2.RandomHorizontalFlip(),
                ]
            )
            for k in range(-steps, steps + 1)
        ]
        self.finish = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
        mixes = [
            kind(alpha=alpha, num_classes=classes)
            for kind, alpha in ((v2.MixUp, recipe.mixup), (v2.CutMix, recipe.cutmix))
            if alpha > 0
        ]
        self.mix = v2.RandomChoice(mixes) if mixes else None

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, 3) uint8 and (B,) to (B, 3, S, S) normalised and (B, K) probabilities."""
        upright = images.movedim(3, 1)
        crop = self.crops[int(torch.randint(len(self.crops), ()))]
        cropped = torch.cat([crop(group) for group in torch.split(upright, GROUP)])
        x = self.finish(cropped)
        if self.mix is None:
            return x, one_hot(labels, self.classes).float()
        x, targets = self.mix(x, labels)
        return x, targets
