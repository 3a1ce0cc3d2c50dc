"""Networks by name."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch import nn
from torchvision.models import (
    MobileNetV2,
    ResNet,
    mobilenet_v2,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
)

from drtam import CBAM, DRTAM, AttentionModule, CoordinateAttention, NoAttention
from drtam.checks import check_range
from drtam.rank_one import Options
from models.detection import DETECTORS
from models.placement import MakeAttention, attend_blocks, attend_depthwise, attend_stages
from models.segmentation import SEGMENTERS

Placement = Literal["block", "stage"]
Implementation = Literal["paper", "authors", "released"]
_seeding = threading.Lock()  # torch's default generator is one for all threads

IMPLEMENTATIONS: dict[str, Options] = {
    "paper": {},
    "authors": {"least_hidden": 1, "channel_norm": True},
    "released": {"least_hidden": 1, "channel_norm": True, "max_pools": True},
}
"""DRTAM as the paper writes it, as its authors' code does, and with their released settings."""

ATTENTIONS: dict[str, type[AttentionModule]] = {
    "drtam": DRTAM,
    "cbam": CBAM,
    "ca": CoordinateAttention,
}
CLASSIFIERS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet152": resnet152,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v2_075": partial(mobilenet_v2, width_mult=0.75),
    "mobilenet_v2_050": partial(mobilenet_v2, width_mult=0.5),
}
BACKBONES = CLASSIFIERS | DETECTORS | SEGMENTERS
MAX_CLASSES = 100_000


@dataclass(frozen=True)
class Spec:
    """All that ``build_model`` has to know to build a network again; its arguments.

    Raises:
        ValueError: a value is not one of its choices, or out of its range.
    """

    backbone: str
    attention: str | None = None
    s: int = 3
    n: int = 1
    r: int = 32
    placement: Placement = "block"
    num_classes: int = 1000
    implementation: Implementation = "paper"

    def __post_init__(self) -> None:
        _check_choice("backbone", self.backbone, BACKBONES)
        _check_choice("attention", self.attention, (None, *ATTENTIONS))
        _check_choice("placement", self.placement, get_args(Placement))
        _check_choice("implementation", self.implementation, IMPLEMENTATIONS)
        least = 2 if self.backbone in DETECTORS else 1  # the background is one of them
        ranges = {"s": (1, 16), "n": (1, 64), "r": (1, 128), "num_classes": (least, MAX_CLASSES)}
        for name, (low, high) in ranges.items():
            whole = check_range(name, getattr(self, name), low, high)
            object.__setattr__(self, name, whole)  # JSON has no NumPy numbers
        if self.placement == "stage" and "resnet" not in self.backbone:
            raise ValueError(
                f"placement must be 'block' for {self.backbone!r}: 'stage' is for ResNet"
            )


def build_model(
    backbone: str,
    attention: str | None = None,
    *,
    s: int = 3,
    n: int = 1,
    r: int = 32,
    placement: Placement = "block",
    num_classes: int = 1000,
    implementation: Implementation = "paper",
    seed: int | None = None,
) -> nn.Module:
    """An untrained network of torchvision's with attention in its backbone.

    Its tensors keep torchvision's names, so torchvision's weights load with ``strict=False``,
    except in the classifier of an FCN. All parameters train.

    Args:
        backbone: a key of ``BACKBONES``.
        attention: a key of ``ATTENTIONS``, or None for the plain backbone.
        s: S of DRTAM, 1 to 16.
        n: N of DRTAM, 1 to 64.
        r: reduction ratio of the attention, 1 to 128.
        placement: ``block``: in every block (section 4.1); ``stage``: after the stem and after
            each stage of a ResNet (Table 7, "Pool.").
        num_classes: K, 1 to 100000; of a detector with the background, so at least 2.
        implementation: a key of ``IMPLEMENTATIONS``, for DRTAM.
        seed: of the weights, at least 0, whatever the default device and in any thread; torch's
            generators stay untouched. The backbone's weights are the same for every attention.

    Returns:
        The network in training mode; its ``spec`` is the ``Spec`` of the arguments. It maps

        - as a classifier (B, 3, H, W) to (B, K);
        - as ``fcn_*`` (B, 3, H, W) to ``out`` and ``aux``, both (B, K, H, W), in a dictionary;
        - as ``maskrcnn_*`` what torchvision's ``MaskRCNN`` does: B images (3, H, W) in a list,
          of 0 to 1, to their boxes, labels, scores and masks; in training mode, with targets,
          to the losses.

    Raises:
        ValueError: a value is not one of its choices, or out of its range.
    """
    spec = Spec(backbone, attention, s, n, r, placement, num_classes, implementation)
    if seed is None:
        return _build(spec)
    seed = check_range("seed", seed, 0, 2**63 - 1)
    with _seeding, torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
        model = _build(spec)
    return model.to(torch.get_default_device())


def _build(spec: Spec) -> nn.Module:
    model = BACKBONES[spec.backbone](num_classes=spec.num_classes)
    model.spec = spec  # type: ignore[assignment]
    if spec.attention is None:
        return model
    kind = ATTENTIONS[spec.attention]
    make: MakeAttention = partial(kind, r=spec.r)
    if kind is DRTAM:
        options = IMPLEMENTATIONS[spec.implementation]
        make = partial(DRTAM, s=spec.s, n=spec.n, r=spec.r, **options)
    _attend(model, spec.placement, make, first=kind is not CoordinateAttention)
    return model


def with_places(plain: nn.Module) -> nn.Module:
    """A copy with ``NoAttention`` where networks with attention have theirs.

    It computes the same, its tensors have the same names, and ``analyze`` explains it there.

    Args:
        plain: of ``build_model`` without attention.
    """
    model = copy.deepcopy(plain)
    spec: Spec = model.spec  # type: ignore[assignment]
    _attend(model, spec.placement, NoAttention, first=True)
    return model


def _attend(model: nn.Module, placement: Placement, make: MakeAttention, *, first: bool) -> None:
    if isinstance(model, MobileNetV2):
        attend_depthwise(model, make, first=first)
    elif placement == "stage":
        attend_stages(_resnet(model), make)
    else:
        attend_blocks(_resnet(model), make)


def _resnet(model: nn.Module) -> ResNet:
    """The ResNet that a network is or has, there without its classifier."""
    backbone = getattr(model, "backbone", model)
    return getattr(backbone, "body", backbone)


def _check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    allowed = list(choices)
    if value not in allowed:
        listed = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"{name} must be one of {listed}, not {value!r}")
