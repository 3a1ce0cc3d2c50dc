"""How a network is trained, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """The settings of one training.

    Attributes:
        epochs: passes over the data.
        batch: photos in one step, over all processes.
        rate: largest learning rate of SGD.
        weight_decay: of all parameters.
        momentum: of SGD.
        nesterov: whether SGD looks ahead.
        schedule: ``step`` divides the rate by 10 after 30, 60 and 90 % of the epochs; ``cosine``
            lets it fall to 0; ``onecycle`` lets it rise over the warm-up, then fall to 0.
        warmup: epochs over which the rate rises from near 0.
        size: side of the photos that the network sees, in pixels.
        smallest_crop: share of a photo's area that a random crop has at least.
        label_smoothing: 0 to below 1.
        mixup: alpha of mixup, 0 for none; with both, each batch draws one.
        cutmix: alpha of cutmix, 0 for none.
        ema: decay of the averaged weights for each step, 0 for none.
    """

    epochs: int
    batch: int
    rate: float
    weight_decay: float
    momentum: float = 0.9
    nesterov: bool = False
    schedule: Literal["step", "cosine", "onecycle"] = "step"
    warmup: float = 0
    size: int = 224
    smallest_crop: float = 0.08
    label_smoothing: float = 0
    mixup: float = 0
    cutmix: float = 0
    ema: float = 0


PRESETS = {
    # Section 4.1. The schedule and the crops are not in the paper: its toolbox's defaults.
    "paper-resnet50": Recipe(epochs=100, batch=128, rate=0.2, weight_decay=1e-4),
    "paper-resnet101": Recipe(epochs=100, batch=96, rate=0.2, weight_decay=1e-4),
    "paper-mobilenetv2": Recipe(epochs=300, batch=64, rate=0.045, weight_decay=4e-5),
    # Ours, for Tiny-ImageNet-200.
    "short": Recipe(
        epochs=18,
        batch=256,
        rate=0.5,
        weight_decay=5e-5,
        nesterov=True,
        schedule="onecycle",
        warmup=4,
        size=64,
        smallest_crop=0.35,
        label_smoothing=0.1,
        ema=0.998,
    ),
}
