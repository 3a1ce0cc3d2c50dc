"""Photos and networks that many tests share."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from gradio.media import get_image
from PIL import Image

from drtam.explain import load_photo, prepare


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def lion() -> Image.Image:
    return load_photo(get_image("lion.jpg"))


@pytest.fixture(scope="session")
def lion_tensor(lion: Image.Image) -> torch.Tensor:
    return prepare(lion, 96).tensor


@pytest.fixture(scope="session")
def encode() -> Callable[..., io.BytesIO]:
    """A Pillow image as a file in memory."""

    def encode(image: Image.Image, kind: str, **options: object) -> io.BytesIO:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        buffer.seek(0)
        return buffer

    return encode
