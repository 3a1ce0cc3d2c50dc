"""Photos to try: one of our own, and what the gradio package carries."""

from __future__ import annotations

from pathlib import Path

from gradio.media import get_image

EXAMPLES = {
    "an espresso": str(Path(__file__).parent.parent / "assets" / "espresso.jpg"),
    "a lion": get_image("lion.jpg"),
    "a cheetah": get_image("cheetah1.jpg"),
    "a tower": get_image("tower.jpg"),
}
"""Their paths; the first one is there when the page opens."""
