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
from pkgutil import resolve_name
from typing import Any

STEPS = {  # and where the app finds them, which is imported by whoever serves it alone
    "decoding": ["ui.compute.load_photo", "ui.compute.prepare"],
    "network": ["ui.compute.run"],
    "figures": ["ui.overview.scores_figure", "ui.tiles.map_picture"],
    "encoding": ["ui.tiles.data_uri", "gradio.Plot.postprocess"],
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
    file, app = Path(sys.argv[1]), resolve_name("app")
    for step, places in STEPS.items():
        for place in places:
            owner, _, name = place.rpartition(".")
            setattr(resolve_name(owner), name, timed(step, resolve_name(place), file))
    app.main()


if __name__ == "__main__":
    main()
