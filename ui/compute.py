"""Photos, and what the networks make of them, once for every tab and endpoint."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

import torch
from cachetools import TTLCache, cached
from PIL import Image
from torch import Tensor, nn

from drtam.explain import (
    Analysis,
    LayerAnalysis,
    Prepared,
    analyze,
    load_photo,
    of_image,
    prepare,
)
from drtam.explain.analysis import map_tensors
from ui.devices import run
from ui.networks import Source, load

MAX_SIDE = 1024  # of the copy that a session keeps: 3 MB at most for a square photo
SIZES = (96, 448)  # the analysis resolutions that the page offers...
SIZE_STEP = 32  # ...in steps
VIEWS = 1_000_000_000  # bytes of views that are kept: at 224 x 224 and ResNet-50 one takes 9 MB
HOUR = 3600  # seconds


@dataclass(frozen=True)
class Photo:
    """A decoded photo; equal to another with the same pixels.

    Attributes:
        image: upright, RGB.
        path: where it was read from; empty for bytes.
        digest: of the pixels.
    """

    image: Image.Image = field(compare=False)
    path: str = field(compare=False)
    digest: bytes

    @classmethod
    def open(cls, source: str | BinaryIO) -> Photo:
        """Decode a file, from its path or its bytes.

        Raises:
            PhotoError: see ``load_photo``.
        """
        image = load_photo(source, MAX_SIDE)
        digest = hashlib.sha256(image.tobytes() + repr(image.size).encode()).digest()
        return cls(image, source if isinstance(source, str) else "", digest)


@dataclass(frozen=True)
class View:
    """A photo, explained: all that the tabs draw from.

    Attributes:
        pixels: what the network saw.
        analysis: compact, of that one photo.
        classes: the name of each class.
        label: of the network.
        trained: whether its weights have seen data.
        device: that it ran on.
    """

    pixels: Image.Image
    analysis: Analysis
    classes: tuple[str, ...]
    label: str
    trained: bool
    device: str

    @property
    def note(self) -> str:
        """What has to stand beside every map of this network."""
        return "" if self.trained else "untrained"

    def titled(self, *parts: str) -> str:
        """A chart's title, the note first: a phone shows only the beginning of a long one."""
        return " · ".join(filter(None, (self.note, *parts)))

    def layer(self, name: str | None) -> tuple[str, LayerAnalysis]:
        """The layer of that name, or else the last one whose Grad-CAM points anywhere."""
        layers = self.analysis.layers
        if name in layers:
            return name, layers[name]
        pointing = [each for each, found in layers.items() if found.gradcam.any()]
        chosen = (pointing or list(layers))[-1]
        return chosen, layers[chosen]


def _bytes(view: View) -> int:
    """What a view takes, but for its few small objects."""
    sizes = [len(view.pixels.tobytes())]

    def count(tensor: Tensor) -> Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    map_tensors(view.analysis, count)
    return sum(sizes)


def own_size(source: Source) -> int:
    """The analysis resolution nearest to what a network was made for."""
    steps = round((source.input_size - SIZES[0]) / SIZE_STEP)
    return min(max(SIZES[0], SIZES[0] + SIZE_STEP * steps), SIZES[1])


_kept: TTLCache[Hashable, View] = TTLCache(VIEWS, HOUR, getsizeof=_bytes)


@cached(_kept, condition=threading.Condition())
def explain(photo: Photo, source: Source, size: int, target: int | None) -> View:
    """Analyse a photo once; every tab and every endpoint asks here.

    Views are kept for an hour, as far as they fit in ``VIEWS`` bytes.

    Args:
        photo: decoded.
        source: of the network.
        size: side of a square with as many pixels as the network is to see.
        target: the class that Grad-CAM explains; by default the most probable one.
    """
    ready = prepared(photo, source, size)
    return views_of(source, [ready], target)[0]


def is_explained(photo: Photo, source: Source, size: int, target: int | None) -> bool:
    """Whether ``explain`` has the answer in memory."""
    return explain.cache_key(photo, source, size, target) in _kept


def prepared(photo: Photo, source: Source, size: int) -> Prepared:
    """The photo as a network sees it."""
    network = load(source)
    return prepare(photo.image, size, network.mean, network.std)


def views_of(source: Source, ready: Sequence[Prepared], target: int | None) -> list[View]:
    """Photos of one size, explained in one batch."""
    network = load(source)
    batch = torch.cat([one.tensor for one in ready])
    ran = run(source, batch, partial(_analysed, target=target))
    return [
        View(
            one.pixels,
            of_image(ran.value, i),
            network.classes,
            source.label,
            network.trained,
            ran.device,
        )
        for i, one in enumerate(ready)
    ]


def _analysed(model: nn.Module, batch: Tensor, target: int | None) -> Analysis:
    return analyze(model, batch, target).compact()
