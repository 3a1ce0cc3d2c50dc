"""What is measured of checkpoints of classifiers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn

from experiments.ablations import ablations
from experiments.accuracy import Accuracy, measure
from experiments.localisation import Score, first, localise
from experiments.machine import machine
from experiments.mixed_precision import working_type
from experiments.photos import Photos
from experiments.timing import ratios
from experiments.whole import write_whole
from models import build_model
from models.build import with_places
from models.checkpoints import Checkpoint
from models.complexity import complexity


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one checkpoint.

    Attributes:
        name: the file's folder.
        params: number of parameters.
        gflops: at 224 x 224, as the paper counts.
        latency: forward passes of the same backbone without attention, batch 8.
        accuracy: by resolution.
        maps: by layer and map; empty without boxes, or if not asked for.
        ablations: the accuracy by what was changed; empty without attention, or if not asked for.
        recipe: the commands that made it; empty where nobody knows them.
        spec: the arguments of ``build_model``; empty in results that are older than the recipe.
    """

    name: str
    params: int
    gflops: float
    latency: float
    accuracy: dict[int, Accuracy]
    maps: dict[str, dict[str, Score]]
    ablations: dict[str, Accuracy]
    recipe: str = ""
    spec: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What was measured of several checkpoints on the same photos.

    Attributes:
        command: that measured.
        machine: that it ran on, with versions.
        photos: how many.
        boxes: photos that the maps were made of.
        size: resolution of the latency, the maps and the ablations: see ``best_size``.
        results: one for each checkpoint.
        working_type: in which the photos were classified.
    """

    command: str
    machine: str
    photos: int
    boxes: int
    size: int
    results: list[Evaluation]
    working_type: str = "bfloat16"  # as all were before it could be float32

    def write(self, path: Path) -> None:
        """As JSON."""
        write_whole(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Report:
        """What ``write`` wrote.

        Raises:
            ValueError: the file holds something else.
        """
        try:
            return cls.of(json.loads(path.read_text()))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} must hold the results of classifiers, as experiments.evaluate writes "
                "them, and does not"
            ) from error

    @classmethod
    def of(cls, values: dict[str, Any]) -> Report:
        """From what JSON can hold of it."""
        return cls(**{**values, "results": [_evaluation(one) for one in values["results"]]})


def _evaluation(values: dict[str, Any]) -> Evaluation:
    maps = {
        layer: {kind: Score(**score) for kind, score in kinds.items()}
        for layer, kinds in values["maps"].items()
    }
    accuracy = {int(size): Accuracy(**one) for size, one in values["accuracy"].items()}
    changed = {name: Accuracy(**one) for name, one in values["ablations"].items()}
    return Evaluation(**{**values, "accuracy": accuracy, "maps": maps, "ablations": changed})


def evaluate(
    checkpoints: Mapping[str, Checkpoint],
    photos: Mapping[int, Photos],
    device: torch.device,
    boxes: int,
    command: str,
    *,
    maps: bool = True,
    changes: bool = True,
) -> Report:
    """Measure networks by name.

    Args:
        checkpoints: by name.
        photos: by the resolution that they are decoded for; of the classes that all networks
            know.
        device: to measure on.
        boxes: so many photos are enough for the maps.
        command: that asked.
        maps: whether to judge them.
        changes: whether to measure the accuracy with changed attention, which takes longest.

    Raises:
        ValueError: a network knows other classes than the photos have.
    """
    some = next(iter(photos.values()))
    for name, checkpoint in checkpoints.items():
        if checkpoint.description.classes != some.classes:
            raise ValueError(f"{name} must know the classes of the photos, but knows others")
        checkpoint.model.to(device)
    accuracy = {
        name: {size: _accuracy(checkpoint, seen, size, device) for size, seen in photos.items()}
        for name, checkpoint in checkpoints.items()
    }
    count = len(some.labels)
    best = best_size(list(accuracy.values()), count)
    few = first(photos[best], boxes)
    results = []
    for name, (model, about) in ((k, (v.model, v.description)) for k, v in checkpoints.items()):
        counted = complexity(model)
        latency = _latency(model, about.spec.backbone, best, device)
        changed = ablations(model, about, photos[best], best, device) if changes else {}
        judged = {}
        if maps and few.boxes is not None:
            explained = model if about.spec.attention else with_places(model)
            judged = localise(explained, few, best, about.mean, about.std, device)
        results.append(
            Evaluation(
                name,
                counted.params,
                counted.gflops,
                latency,
                accuracy[name],
                judged,
                changed,
                about.recipe or "",
                asdict(about.spec),
            )
        )
    precision = str(working_type(device)).removeprefix("torch.")
    return Report(command, machine(), count, len(few.labels), best, results, precision)


def best_size(networks: Sequence[Mapping[int, Accuracy]], photos: int) -> int:
    """The resolution to look at networks at.

    Of those whose top-1 is as high as the highest, it is the one whose calibration error is
    lowest. As high: 1.96 standard errors of a share of so many photos, or less, below. All
    numbers are means over the networks.
    """

    def mean(size: int, what: str) -> float:
        return fmean(getattr(found[size], what) for found in networks)

    top1 = {size: mean(size, "top1") for size in networks[0]}
    highest = max(top1.values())
    margin = 1.96 * math.sqrt(highest * (100 - highest) / photos)
    as_high = [size for size, value in top1.items() if value >= highest - margin]
    return min(as_high, key=lambda size: mean(size, "calibration_error"))


def _accuracy(checkpoint: Checkpoint, photos: Photos, size: int, device: torch.device) -> Accuracy:
    about = checkpoint.description
    return measure(checkpoint.model, photos, size, about.mean, about.std, device)


def _latency(model: nn.Module, backbone: str, size: int, device: torch.device) -> float:
    """Forward passes of the plain backbone that one of the network takes."""
    plain = build_model(backbone, seed=0).eval().to(device)
    images = torch.randn(8, 3, size, size, device=device)

    def forward(network: nn.Module) -> None:
        with torch.inference_mode():
            network(images).sum().item()  # waits for a GPU

    return ratios(lambda: forward(plain), lambda: forward(model))[0].median
