"""What decoding a photo may cost: time by the number of reads and scans, memory by its kind."""

from __future__ import annotations

import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

MAX_BYTES = 165_000_000  # of memory for the pixels of a photo and what its decoder needs
MAX_READS = 200_000  # a 100 MB PNG in the usual chunks of 8 kB needs 50,000
MAX_SCANS = 600_000_000  # passes times pixels of a progressive JPEG; 10 passes are usual
MAX_MARKERS = 10_000
MAX_JPEG = 80_000_000  # bytes of a file
SMALL_MODES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
OTHER_MODES = 4  # bytes for a pixel in Pillow, RGB too
DECODER = {"AVIF": 9, "WEBP": 12}  # bytes for a pixel beside Pillow's, measured
MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")  # of a segment of a JPEG, or its end
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9

_one_at_a_time = threading.Lock()
logging.getLogger("PIL").addHandler(logging.NullHandler())  # or else its errors go to stderr


class TooMuchError(Exception):
    """Decoding would cost too much; the message is half a sentence."""


class CountedFile:
    """A file that refuses to be read piece by tiny piece, as parsers in Python read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._reads = 0

    def read(self, size: int = -1) -> bytes:
        """As of any file."""
        self._reads += 1
        if self._reads > MAX_READS:
            raise TooMuchError("This photo is cut into too many small pieces")
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def bounded(source: str | os.PathLike[str] | BinaryIO) -> Iterator[CountedFile]:
    """The file, read with bounds, without Pillow's warnings, and by nobody else meanwhile.

    ``catch_warnings`` and the memory both ask for one photo at a time.
    """
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not isinstance(source, str | os.PathLike):
            yield CountedFile(source)
            return
        with Path(source).open("rb") as file:
            yield CountedFile(file)


def check(image: Image.Image, file: CountedFile, stored: tuple[int, int]) -> None:
    """Refuse what would cost too much time or memory.

    Args:
        image: opened, and in draft mode.
        file: that it was opened from.
        stored: its size in the file.

    Raises:
        TooMuchError: it would.
    """
    each = float(SMALL_MODES.get(image.mode, OTHER_MODES) + DECODER.get(str(image.format), 0))
    needed = each * image.width * image.height
    if image.format in ("JPEG", "MPO"):  # MPO: a JPEG with further pictures behind it
        needed += _check_scans(image, file, stored)
    if needed > MAX_BYTES:
        raise TooMuchError(
            f"This {image.format} photo would take {needed / 1e6:.0f} MB to decode, more than "
            f"{MAX_BYTES // 1_000_000}"
        )


def _check_scans(image: Image.Image, file: CountedFile, stored: tuple[int, int]) -> float:
    """The bytes of the coefficients that a JPEG of several scans keeps."""
    file.seek(0)
    content = file.read(MAX_JPEG + 1)
    if len(content) > MAX_JPEG:
        raise TooMuchError(f"This JPEG photo has more than {MAX_JPEG // 1_000_000} MB")
    scans = _scans(content)
    layers: Any = image.layer  # type: ignore[attr-defined]
    # Of each component: id, horizontal and vertical sampling, quantisation table.
    highest = max(layer[1] for layer in layers) * max(layer[2] for layer in layers)
    samples = sum(layer[1] * layer[2] for layer in layers) / highest
    pixels = stored[0] * stored[1]
    if scans * pixels > MAX_SCANS:
        raise TooMuchError(f"This JPEG photo is stored in {scans} passes, too many for its size")
    return 2 * samples * pixels if scans > 1 else 0


def _scans(content: bytes) -> int:
    """The number of passes in which a JPEG is stored."""
    scans, place = 0, 0
    for _ in range(MAX_MARKERS):
        found = MARKER.search(content, place)
        if found is None or found[1][0] == END_OF_IMAGE:
            return scans
        scans += found[1][0] == START_OF_SCAN
        place = found.end() + int.from_bytes(content[found.end() : found.end() + 2])
    raise TooMuchError("This JPEG photo is cut into too many small pieces")
