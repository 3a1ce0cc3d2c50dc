"""The measures of detectors and segmenters, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from experiments import detection, segmentation
from experiments.coco import Coco, open_coco
from experiments.machine import machine
from experiments.voc import open_voc
from models.checkpoints import Checkpoint
from models.detection import DETECTORS

WORKERS = 2  # processes that read photos


@dataclass(frozen=True)
class Measures:
    """What was measured of one checkpoint.

    Attributes:
        name: the file's folder.
        params: number of parameters.
        found: by shorter side of the photos: average precisions, or the overlap, in percent.
    """

    name: str
    params: int
    found: dict[int, dict[str, float]]


def measures(
    name: str,
    checkpoint: Checkpoint,
    source: str,
    sizes: Sequence[int] | None,
    device: torch.device,
) -> Measures:
    """Measure a detector on the validation part of a set in COCO format, a segmenter on VOC's.

    Raises:
        ValueError: the network knows other classes than the data have, or see ``open_coco`` and
            ``open_voc``.
    """
    model, about = checkpoint.model.to(device), checkpoint.description
    detects = about.spec.backbone in DETECTORS
    photos = open_coco(source, "val") if detects else open_voc(source, "val")
    if photos.classes != about.classes:
        raise ValueError(f"{name} must know the classes of {source}, but knows others")
    found = {
        size: detection.measure(model, photos, size, device, WORKERS)
        if isinstance(photos, Coco)
        else segmentation.measure(model, photos, size, device, WORKERS)
        for size in sizes or [about.input_size]
    }
    return Measures(name, sum(p.numel() for p in model.parameters()), found)


def table(rows: Sequence[Measures]) -> str:
    """One row for each network and size."""
    names = list(dict.fromkeys(k for row in rows for found in row.found.values() for k in found))
    lines = [
        f"Machine: {machine()}.",
        "",
        f"| network | Param. | pixels | {' | '.join(names)} |",
        "|---" * (3 + len(names)) + "|",
    ]
    for row in rows:
        for size, found in row.found.items():
            cells = [f"{found[k]:.2f} %" if k in found else "–" for k in names]
            start = f"| {row.name} | {row.params / 1e6:.2f} M | {size} "
            lines.append(f"{start}| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
