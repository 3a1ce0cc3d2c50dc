"""Files that are there whole or as they were before, whenever the process is killed."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace a file by one with this content, UTF-8 if it is text, in one step."""
    part = path.with_name(path.name + ".new")
    part.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(part, path)
