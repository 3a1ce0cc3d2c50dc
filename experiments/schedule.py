"""The learning rate over a training."""

from __future__ import annotations

import math

from experiments.recipe import Recipe

MILESTONES = (0.3, 0.6, 0.9)  # of the epochs: 30, 60 and 90 of 100
START = 1 / 25  # of the one-cycle policy, as a share of the largest rate


def rate_at(recipe: Recipe, epoch: float) -> float:
    """The share of the largest rate after ``epoch`` epochs, a fraction of one included."""
    rising = epoch / recipe.warmup if recipe.warmup else 1.0
    if recipe.schedule == "onecycle" and rising < 1:
        return START + (1 - START) * (1 - math.cos(math.pi * rising)) / 2
    if rising < 1:
        return rising
    if recipe.schedule == "step":
        return 0.1 ** sum(epoch >= share * recipe.epochs for share in MILESTONES)
    falling = (epoch - recipe.warmup) / (recipe.epochs - recipe.warmup)
    return (1 + math.cos(math.pi * falling)) / 2
