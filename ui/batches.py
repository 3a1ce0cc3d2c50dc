"""Many photos through one network, those of one size together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torchvision.models.detection import MaskRCNN

from drtam.explain import PhotoError, Prepared
from ui.compute import Photo, explain, prepared, views_of
from ui.folder import Job
from ui.networks import Source, load
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
    alone = isinstance(load(source).model, MaskRCNN)
    groups: dict[tuple[int, int], list[tuple[Job, Photo, Prepared]]] = defaultdict(list)
    for job in jobs:
        try:
            photo = Photo.open(str(job.photo))
            ready = prepared(photo, source, size)
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
            if alone:
                views = [explain(photo, source, size, target) for photo in photos]
            else:
                views = views_of(source, ready_ones, target)
            for job, photo, view in zip(names, photos, views, strict=True):
                yield job, result_of(photo, view, source, {})
