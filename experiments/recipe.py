"""How a network is trained, as data."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from models.build import CLASSIFIERS
from models.detection import DETECTORS
from models.segmentation import SEGMENTERS

RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {  # of the settings; NaN is in none
    **dict.fromkeys(("epochs", "batch", "regions"), ("at least 1", lambda x: x >= 1)),
    **dict.fromkeys(("rate", "smallest_scale"), ("above 0", lambda x: x > 0)),
    **dict.fromkeys(
        ("weight_decay", "warmup", "spread", "mixup", "cutmix", "aux_weight"),
        ("at least 0", lambda x: x >= 0),
    ),
    **dict.fromkeys(
        ("momentum", "ema", "label_smoothing"), ("from 0 to below 1", lambda x: 0 <= x < 1)
    ),
    **dict.fromkeys(("smallest_crop", "largest_share"), ("in (0, 1]", lambda x: 0 < x <= 1)),
    "size": ("from 1 to 4096", lambda x: 1 <= x <= 4096),
    "frozen_stages": ("from 0 to 4", lambda x: 0 <= x <= 4),
}


@dataclass(frozen=True)
class Optimisation:
    """The settings that every training has.

    Attributes:
        epochs: passes over the data.
        batch: photos in one step, over all processes.
        rate: largest learning rate of SGD.
        weight_decay: of all parameters.
        momentum: of SGD.
        nesterov: whether SGD looks ahead.
        schedule: ``step`` divides the rate by 10 after 30, 60 and 90 % of the epochs, ``1x``
            after 8 and 11 of 12; ``epoch`` takes 2 % off it after each; ``cosine`` lets it fall
            to 0; ``poly`` to 1 %, almost in a
            straight line; ``onecycle`` lets it rise over the warm-up, then fall to 0.
        warmup: epochs over which the rate rises from near 0.
        size: of the photos that the network sees, in pixels; see each task.
        ema: decay of the averaged weights for each step, 0 for none.
    """

    epochs: int
    batch: int
    rate: float
    weight_decay: float
    momentum: float = 0.9
    nesterov: bool = False
    schedule: Literal["step", "1x", "epoch", "cosine", "poly", "onecycle"] = "step"
    warmup: float = 0
    size: int = 224
    ema: float = 0

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            value, choices = getattr(self, field.name), get_args(hints[field.name])
            if choices and value not in choices:
                raise ValueError(f"{field.name} must be one of {', '.join(choices)}, not {value}")
            says, fits = RANGES.get(field.name, ("", None))
            if fits is not None and not fits(value):
                raise ValueError(f"{field.name} must be {says}, not {value}")
        if self.warmup >= self.epochs:
            raise ValueError(
                f"warmup must be below epochs = {self.epochs}, not {self.warmup}: the rate would "
                "only rise"
            )


@dataclass(frozen=True)
class Recipe(Optimisation):
    """The settings of a classifier's training.

    Attributes:
        size: side of the photos.
        spread: pixels; each batch draws its own side, so far from ``size`` at most, in steps of
            16.
        smallest_crop: share of a photo's area that a random crop has at least.
        label_smoothing: 0 to below 1.
        mixup: alpha of mixup, 0 for none; with both, each batch draws one.
        cutmix: alpha of cutmix, 0 for none.
        zero_residuals: whether a ResNet from random weights starts with the last norm of every
            block at 0, so that each block passes on what it gets (Goyal et al., 2017).
    """

    spread: int = 0
    smallest_crop: float = 0.08
    label_smoothing: float = 0
    mixup: float = 0
    cutmix: float = 0
    zero_residuals: bool = False


@dataclass(frozen=True)
class DetectionRecipe(Optimisation):
    """The settings of a Mask R-CNN's training.

    Attributes:
        size: shorter side of the photos; the longer one has at most 5/3 of it.
        regions: that the heads learn from in each photo; at most a quarter are on objects.
        frozen_stages: 0: everything is trained; 1 to 4: the stem and so many stages of the ResNet
            keep the weights they start from, and all its batch norms keep their statistics. What
            has no weights to start from, such as attention in a plain ResNet, is trained.
    """

    size: int = 800
    regions: int = 512
    frozen_stages: int = 0


@dataclass(frozen=True)
class SegmentationRecipe(Optimisation):
    """The settings of an FCN's training.

    Attributes:
        size: side of the crops, and shorter side of the photos it is measured on.
        smallest_scale: a photo's shorter side before the crop is at least this many times
            ``size``...
        largest_scale: ...and at most this many times.
        largest_share: a crop of which one class fills more is drawn again, up to ten times.
        aux_weight: of the auxiliary classifier's loss.
    """

    size: int = 512
    smallest_scale: float = 0.5
    largest_scale: float = 2
    largest_share: float = 0.75
    aux_weight: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.largest_scale < self.smallest_scale:
            raise ValueError(
                f"largest_scale must be at least smallest_scale = {self.smallest_scale}, "
                f"not {self.largest_scale}"
            )


AnyRecipe = Recipe | DetectionRecipe | SegmentationRecipe
PRESETS: dict[str, AnyRecipe] = {
    # Section 4.1. The schedules are not in the paper: its toolbox's defaults. Neither are the
    # crops; unlike the toolbox's, ours are of the centre square that is decoded once.
    "paper-resnet50": Recipe(epochs=100, batch=128, rate=0.2, weight_decay=1e-4),
    "paper-resnet101": Recipe(epochs=100, batch=96, rate=0.2, weight_decay=1e-4),
    "paper-mobilenetv2": Recipe(
        epochs=300, batch=64, rate=0.045, weight_decay=4e-5, schedule="epoch"
    ),
    # Sections 4.4 and 4.5: the toolboxes' defaults, for 16 photos in a step. 500 of COCO's 7,329
    # steps warm up; 20,000 steps are 30 epochs of VOC's augmented part.
    **dict.fromkeys(
        ("paper-maskrcnn-resnet50", "paper-maskrcnn-resnet101"),
        DetectionRecipe(
            epochs=12,
            batch=16,
            rate=0.02,
            weight_decay=1e-4,
            schedule="1x",
            warmup=500 / 7329,
            frozen_stages=1,
        ),
    ),
    **dict.fromkeys(
        ("paper-fcn-resnet50", "paper-fcn-resnet101"),
        SegmentationRecipe(epochs=30, batch=16, rate=0.01, weight_decay=5e-4, schedule="poly"),
    ),
    # Ours, for small sets and from random weights.
    "short-maskrcnn": DetectionRecipe(
        epochs=12,
        batch=4,
        rate=0.004,
        weight_decay=1e-4,
        schedule="onecycle",
        warmup=2,
        size=256,
        regions=128,
    ),
    "short-fcn": SegmentationRecipe(
        epochs=12,
        batch=8,
        rate=0.05,
        weight_decay=1e-4,
        schedule="onecycle",
        warmup=3,
        size=128,
    ),
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
        zero_residuals=True,
        ema=0.998,
    ),
}
KINDS = {  # of recipes: the networks they train, the usual one, and the preset if none is named
    Recipe: (CLASSIFIERS, "resnet50", "short"),
    DetectionRecipe: (DETECTORS, "maskrcnn_resnet50", "short-maskrcnn"),
    SegmentationRecipe: (SEGMENTERS, "fcn_resnet50", "short-fcn"),
}
UNUSUAL = {
    "paper-resnet101": "resnet101",
    "paper-mobilenetv2": "mobilenet_v2",
    "paper-maskrcnn-resnet101": "maskrcnn_resnet101",
    "paper-fcn-resnet101": "fcn_resnet101",
}


def documented(recipe: type[Optimisation]) -> dict[str, str]:
    """What each setting is, from the docstring of a recipe."""
    text = inspect.getdoc(recipe) or ""
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(about.replace("``", "").split()) for name, about in entries}


def choose(preset: str | None, backbone: str | None) -> tuple[str, str]:
    """Preset and backbone, where one or both may be left to follow from the other.

    Args:
        preset: a key of ``PRESETS``.
        backbone: a key of ``BACKBONES``.

    Raises:
        ValueError: the preset is for another kind of network.
    """
    if preset is None:
        shorts = (short for networks, _, short in KINDS.values() if backbone in networks)
        preset = next(shorts, "short")
    networks, usual, _ = KINDS[type(PRESETS[preset])]
    if backbone is None:
        backbone = UNUSUAL.get(preset, usual)
    if backbone not in networks:
        raise ValueError(
            f"backbone must be one of {', '.join(networks)} for {preset}, not {backbone}"
        )
    return preset, backbone


def overridden(preset: str, values: Mapping[str, Any]) -> AnyRecipe:
    """A preset with other values for some of its settings.

    Args:
        preset: a key of ``PRESETS``.
        values: None for those that stay; may hold more than settings.

    Raises:
        ValueError: a value is for a setting that only recipes of another kind have.
    """
    recipe = PRESETS[preset]
    own = {field.name for field in fields(recipe)}
    given = {
        field.name: values[field.name]
        for kind in KINDS
        for field in fields(kind)
        if values.get(field.name) is not None
    }
    if foreign := sorted(given.keys() - own):
        raise ValueError(f"{preset} has no {foreign[0]}, only {', '.join(sorted(own))}")
    return replace(recipe, **given)
