"""Photos and networks that many tests share."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gradio.media import get_image
from PIL import Image
from small_networks import ABOUT, trained
from visitor import browser, context, default_page, page, url

from drtam.explain import load_photo, prepare
from models.checkpoints import save_checkpoint

__all__ = ["browser", "context", "default_page", "page", "url"]  # fixtures


# What takes minutes begins first, or at the end one process waits for the others.
LONG = (
    *("space", "segmentation_training", "detection_training", "page", "accessibility", "export"),
    *("take_away", "what_if_tab", "bench", "training", "cli", "hostile_photos", "models"),
    *("algebra_tab", "tables", "faithfulness_tab", "memory", "paper_tab", "dense_networks"),
    *("side_by_side", "links", "hostile_checkpoints", "hostile_calls", "evaluate", "adapt"),
    *("hostile_page", "load", "devices", "api", "notebook", "mcp"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))


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


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Tiny-ImageNet-200's layout with two classes, one photo grey."""
    root = tmp_path / "tiny"
    (root / "val" / "images").mkdir(parents=True)
    (root / "wnids.txt").write_text("n2\nn1\n")
    (root / "words.txt").write_text("n1\tlion, king of beasts\nn2\ttower\nn3\tbus, autobus\n")
    lion = Image.open(get_image("lion.jpg")).convert("RGB").resize((64, 64))
    for wnid in ("n1", "n2"):
        folder = root / "train" / wnid / "images"
        folder.mkdir(parents=True)
        for i in range(3):
            lion.rotate(90 * i).save(folder / f"{wnid}_{i}.JPEG")
    lion.save(root / "val" / "images" / "val_0.JPEG")
    lion.convert("L").save(root / "val" / "images" / "val_1.JPEG")
    rows = ["val_0.JPEG\tn2\t0\t32\t44\t63", "val_1.JPEG\tn1\t52\t55\t57\t59"]
    (root / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint of a small MobileNetV2."""
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(trained("mobilenet_v2_050", s=2, n=3), path, **ABOUT)
    return path.read_bytes()


@pytest.fixture
def file(tmp_path: Path, saved: bytes) -> Path:
    """The same in a file that a test may damage."""
    path = tmp_path / "small.safetensors"
    path.write_bytes(saved)
    return path
