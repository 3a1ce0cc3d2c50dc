"""The learning rate over a training."""

from __future__ import annotations

import math

from experiments.recipe import Optimisation

MILESTONES = {  # after which the rate is divided by 10, as shares of the epochs
    "step": (0.3, 0.6, 0.9),  # 30, 60 and 90 of 100
    "1x": (8 / 12, 11 / 12),
}
POWER, END = 0.9, 0.01  # of the polynomial policy; END as a share of the largest rate
KEPT = 0.98  # by each epoch of the policy that is named after it
START = 1 / 25  # of the one-cycle policy, as a share of the largest rate


def rate_at(recipe: Optimisation, epoch: float) -> float:
    """The share of the largest rate after ``epoch`` epochs, a fraction of one included."""
    rising = epoch / recipe.warmup if recipe.warmup else 1.0
    if recipe.schedule == "onecycle" and rising < 1:
        return START + (1 - START) * (1 - math.cos(math.pi * rising)) / 2
    if rising < 1:
        return rising
    if recipe.schedule in MILESTONES:
        return 0.1 ** sum(epoch >= share * recipe.epochs for share in MILESTONES[recipe.schedule])
    if recipe.schedule == "epoch":
        return KEPT ** math.floor(epoch)
    falling = (epoch - recipe.warmup) / (recipe.epochs - recipe.warmup)
    if recipe.schedule == "poly":
        return END + (1 - END) * math.pow(1 - falling, POWER)
    return (1 + math.cos(math.pi * falling)) / 2
