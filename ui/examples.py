"""Photos to try, which the gradio package carries."""

from __future__ import annotations

from pathlib import Path

from gradio.media import get_image

EXAMPLES = {
    "a lion": "lion.jpg",
    "a cheetah": "cheetah1.jpg",
    "a tower": "tower.jpg",
    "a bus": "bus.png",
}


def example(file: str) -> str:
    """The path of one of them."""
    return str(Path(get_image(file)))
