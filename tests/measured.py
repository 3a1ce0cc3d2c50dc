"""Opens files one by one, each with the time and the memory that it takes, in its own process.

Reads lines of a kind (photo or checkpoint) and a path, and prints a line of JSON for each.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from drtam.explain import PhotoError, load_photo
from models.checkpoints import CheckpointError, load_checkpoint
from models.published import load_published


def open_photo(path: str) -> dict[str, Any]:
    try:
        photo = load_photo(path, 1024)
    except PhotoError as error:
        return {"error": str(error)}
    small = photo.resize((4, 4), Image.Resampling.BOX)
    centres = [(0, 0), (3, 0), (0, 3), (3, 3)]
    return {
        "mode": photo.mode,
        "size": photo.size,
        "quarters": [small.getpixel(place) for place in centres],
        "digest": hashlib.sha256(photo.tobytes()).hexdigest(),
    }


def open_checkpoint(path: str) -> dict[str, Any]:
    try:
        opener = load_published if Path(path).suffix in (".pth", ".pt") else load_checkpoint
        model: Any = opener(path)
    except (CheckpointError, ValueError) as error:
        return {"error": str(error)}
    return {"spec": str(getattr(model, "spec", None))}


def kilobytes(what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def measured(kind: str, path: str) -> dict[str, Any]:
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # or else freed memory would be used unseen
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    before, start, busy = kilobytes("VmRSS"), time.perf_counter(), time.process_time()
    outcome = {"photo": open_photo, "checkpoint": open_checkpoint}[kind](path)
    # On a busy machine the clock also counts what others do.
    seconds = min(time.perf_counter() - start, time.process_time() - busy)
    return {**outcome, "seconds": seconds, "megabytes": (kilobytes("VmHWM") - before) / 1000}


if __name__ == "__main__":
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(measured(*line.strip().split(" ", 1))), flush=True)
