"""The one place where the page runs a network."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO

from PIL import Image
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from drtam.explain import (
    Analysis,
    Faithfulness,
    LayerAnalysis,
    analyze,
    faithfulness,
    load_photo,
    prepare,
)
from ui.networks import DEVICE, Network, Source, load

MAX_SIDE = 1024  # of the copy that a session keeps: 3 MB at most for a square photo
SIZES = (96, 448)  # the analysis resolutions that the page offers


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
    """

    pixels: Image.Image
    analysis: Analysis
    classes: tuple[str, ...]
    label: str
    trained: bool

    @property
    def note(self) -> str:
        """What has to stand beside every map of this network."""
        return "" if self.trained else "untrained"

    def layer(self, name: str | None) -> tuple[str, LayerAnalysis]:
        """The layer of that name, or else the last one."""
        layers = self.analysis.layers
        chosen = name if name in layers else list(layers)[-1]
        return chosen, layers[chosen]


_one_at_a_time = threading.Lock()


@lru_cache(maxsize=24)  # at 224 x 224 and ResNet-50 a view takes 9 MB
def explain(photo: Photo, source: Source, size: int, target: int | None) -> View:
    """Analyse a photo once; every tab and every endpoint asks here.

    Args:
        photo: decoded.
        source: of the network.
        size: side of a square with as many pixels as the network is to see.
        target: the class that Grad-CAM explains; by default the most probable one.
    """
    with running(photo, source, size) as (network, pixels, tensor):
        analysis = analyze(network.model, tensor, target).compact()
    return View(pixels, analysis, network.classes, source.label, network.trained)


@contextmanager
def running(
    photo: Photo, source: Source, size: int
) -> Iterator[tuple[Network, Image.Image, Tensor]]:
    """A network, the pixels that it is to see and their tensor, for nobody else meanwhile."""
    with _one_at_a_time:
        network = load(source)
        prepared = prepare(photo.image, size, network.mean, network.std)
        if isinstance(network.model, MaskRCNN):  # or else it scales the photo itself
            network.model.transform.min_size = (min(prepared.pixels.size),)
        yield network, prepared.pixels, prepared.tensor.to(DEVICE)


def judge(
    photo: Photo,
    source: Source,
    size: int,
    layer: str,
    target: int,
    steps: int,
    progress: Callable[[float, str], None],
) -> Faithfulness:
    """Whether the maps of a layer tell the truth; see ``faithfulness``.

    Raises:
        ValueError: the network is a detector.
    """
    with running(photo, source, size) as (network, _, image):
        return faithfulness(network.model, image, layer, target, steps=steps, progress=progress)
