"""The app with a stopwatch on its steps: python -m experiments.timed_app FILE

Each call of a step appends a line to the file, JSON: the step and its seconds. The address is
that of ``app.py``: HOST and PORT.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

import app
from ui import compute, overview, tiles

STEPS: dict[str, list[tuple[Any, str]]] = {
    "decoding": [(compute, "load_photo"), (compute, "prepare")],
    "network": [(compute, "run")],
    "figures": [(overview, "scores_figure"), (tiles, "map_picture")],
    "encoding": [(tiles, "data_uri"), (gr.Plot, "postprocess")],
}


def timed(step: str, function: Callable[..., Any], file: Path) -> Callable[..., Any]:
    """The same function, which also writes how long it took."""

    @functools.wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            line = json.dumps([step, time.perf_counter() - start])
            with file.open("a") as log:
                log.write(line + "\n")

    return measured


def main() -> None:
    """Serve."""
    file = Path(sys.argv[1])
    for step, places in STEPS.items():
        for owner, name in places:
            setattr(owner, name, timed(step, getattr(owner, name), file))
    app.main()


if __name__ == "__main__":
    main()
