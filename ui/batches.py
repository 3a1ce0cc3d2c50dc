"""Many photos through one network, those of one size together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torchvision.models.detection import MaskRCNN

from drtam.explain import PhotoError, Prepared, analyze, of_image, prepare
from ui.compute import Photo, View, explain
from ui.folder import Job
from ui.networks import DEVICE, Network, Source, load
from ui.record import result_of
from viz.report import Result


@dataclass(frozen=True)
class Failure:
    """A photo that could not be explained, and a sentence why."""

    path: Path
    why: str


def explained(
    jobs: Iterable[Job], source: Source, size: int, target: int | None, batch: int
) -> Iterator[tuple[Job, Result | Failure]]:
    """Each job with its result, in an order of its own, at most ``batch`` photos at a time.

    A batch with a photo that is not done yet is explained whole, for in another batch the last
    digits could be others; a batch without one is skipped.
    Detectors get the photos one by one: their classes are counted in each batch.
    """
    network = load(source)
    groups: dict[tuple[int, int], list[tuple[Job, Photo, Prepared]]] = defaultdict(list)
    for job in jobs:
        try:
            photo = Photo.open(str(job.photo))
            ready = prepare(photo.image, size, network.mean, network.std)
        except PhotoError as error:
            yield job, Failure(job.photo, str(error))
        else:
            groups[ready.pixels.size].append((job, photo, ready))
    for group in groups.values():
        for start in range(0, len(group), batch):
            part = group[start : start + batch]
            if all(job.is_done for job, _, _ in part):
                continue
            names, photos, ready_ones = zip(*part, strict=True)
            if isinstance(network.model, MaskRCNN):
                views = [explain(photo, source, size, target) for photo in photos]
            else:
                views = _views(network, source.label, ready_ones, target)
            for job, photo, view in zip(names, photos, views, strict=True):
                yield job, result_of(photo, view, source, {})


def _views(
    network: Network, label: str, ready: tuple[Prepared, ...], target: int | None
) -> list[View]:
    batch = torch.cat([one.tensor for one in ready]).to(DEVICE)
    analysis = analyze(network.model, batch, target).compact()
    return [
        View(one.pixels, of_image(analysis, i), network.classes, label, network.trained)
        for i, one in enumerate(ready)
    ]
