"""Many visitors at once: what they wait for, whether the server grows, whose photo they see.

Every visitor opens the page, uploads photos that nobody else has, switches layers and tabs and
moves the resolution slider, reads a little in between, and leaves for another to come.

Example:
    python -m experiments.load --visitors 50 --seconds 300
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import random
import re
import statistics
import tempfile
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

from experiments.machine import machine
from experiments.server import ROOT, App, running_app
from experiments.visitor import BusyError, FailedError, Visitor

TABS = ("Overview", "Layer", "Descriptors", "How it works", "Compare")
SIZES = (160, 192, 224, 256, 288)
SHOWN = re.compile(r"--photo:url\(data:image/webp;base64,([^)]+)\)")
EXAMPLE = np.asarray(Image.open(ROOT / "assets" / "espresso.jpg")).mean((0, 1))
FAR = 8.0  # between the mean colours of two photos, of 255: more is another photo


@dataclass
class Found:
    """What the visitors met.

    Attributes:
        seconds: that each action took until all that follows from it was there, by action.
        busy: how many actions met "busy".
        errors: what went wrong otherwise.
        foreign: how many photos were shown to somebody else than their owner.
        checked: how many photos were looked at.
        visits: how many visitors came.
        overtaken: for each upload, how many that started later were done earlier.
        behind: how many events waited before a visitor's.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    busy: int = 0
    errors: list[str] = field(default_factory=list)
    foreign: int = 0
    checked: int = 0
    visits: int = 0
    overtaken: list[int] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)
    _waiting: list[float] = field(default_factory=list)

    async def act(self, name: str, work: Awaitable[None]) -> None:
        """Do something and note how it went."""
        start = time.monotonic()
        if name == "upload":
            self._waiting.append(start)
        try:
            await work
        except BusyError:
            self.busy += 1
        except (FailedError, httpx.HTTPError) as error:
            self.errors.append(f"{name}: {error!r}"[:500])
        else:
            self.seconds.setdefault(name, []).append(time.monotonic() - start)
            if name == "upload":
                self.overtaken.append(sum(other < start for other in self._waiting))
        if name == "upload":
            self._waiting.remove(start)


async def visit(client: httpx.AsyncClient, found: Found, until: float, rest: float) -> None:
    """One visitor, from opening the page to leaving it.

    Args:
        client: with the address of the app.
        found: what is noted.
        until: when the visitor leaves, by ``time.monotonic``, but not without an upload.
        rest: mean seconds between two actions.
    """
    found.visits += 1
    visitor = Visitor(client)
    await found.act("open the page", visitor.open())
    if not visitor.config:
        return
    mine = [EXAMPLE]
    while time.monotonic() < until or len(mine) == 1:
        action = random.choices(("upload", "layer", "tab", "resolution"), (2, 4, 3, 2))[0]
        layers = visitor.choices.get(visitor.component("layer"))
        if action == "upload" or len(mine) == 1 or layers is None:
            content, color = own_photo()
            mine.append(color)
            await found.act("upload", visitor.upload("photo", "photo.png", content))
        elif action == "layer":
            layer = random.choice(layers)
            await found.act("layer", visitor.choose("layer", layer, "input"))
        elif action == "tab":
            tab = visitor.component(random.choice(TABS))
            await found.act("tab", visitor.fire(tab, "select"))
        else:
            size = random.choice(SIZES)
            await found.act("resolution", visitor.choose("size", size, "input"))
        seen = photos(visitor)
        found.checked += len(seen)
        found.foreign += strangers(seen, mine)
        await asyncio.sleep(random.expovariate(1 / rest))
    found.behind += visitor.waited_behind


def own_photo() -> tuple[bytes, np.ndarray]:
    """A photo that nobody else has, as PNG, and its mean colour (3,)."""
    color = np.random.randint(0, 256, 3)
    pixels = np.clip(color + np.random.normal(0, 6, (240, 320, 3)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue(), pixels.mean((0, 1))


def photos(visitor: Visitor) -> list[np.ndarray]:
    """The mean colours of the photos that a visitor sees, each (3,)."""
    seen = []
    for name in ("filmstrip", "layer-tiles"):
        for encoded in SHOWN.findall(str(visitor.values[visitor.component(name)])):
            shown = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
            seen.append(np.asarray(shown).mean((0, 1)))
    return seen


def strangers(seen: list[np.ndarray], mine: list[np.ndarray]) -> int:
    """How many of the photos that were seen are none of one's own, by their mean colours."""
    return sum(all(np.abs(one - own).max() > FAR for own in mine) for one in seen)


async def crowd(url: str, visitors: int, seconds: float, stay: float, rest: float) -> Found:
    """So many visitors at any time; each stays a while, then another comes."""
    found, end = Found(), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:

        async def seat(number: int) -> None:
            await asyncio.sleep(min(seconds / 4, 10) * number / visitors)
            while time.monotonic() < end:
                leaves = min(end, time.monotonic() + random.uniform(0.5, 1.5) * stay)
                await visit(client, found, leaves, rest)

        await asyncio.gather(*(seat(number) for number in range(visitors)))
    return found


def measure(app: App, visitors: int, seconds: float, stay: float, rest: float) -> dict[str, Any]:
    """One visitor alone, then the crowd; times as multiples of the lone visitor's upload."""
    process = psutil.Process(app.pid)
    alone = asyncio.run(crowd(app.url, 1, max(10, seconds / 10), stay, 0.2))
    unit = statistics.median(alone.seconds["upload"])
    memory = [process.memory_info().rss]
    found = asyncio.run(_watched(process, memory, crowd(app.url, visitors, seconds, stay, rest)))
    half = len(memory) // 2
    return {
        "visitors": visitors,
        "seconds": seconds,
        "visits": found.visits,
        "actions": sum(map(len, found.seconds.values())),
        "busy": found.busy,
        "errors": found.errors[:20],
        "error_count": len(found.errors),
        "photos_seen": found.checked,
        "photos_of_others": found.foreign,
        "most_waiting_before": max(found.behind, default=0),
        "uploads_overtaken": dict(zip(("median", "most"), _spread(found.overtaken), strict=True)),
        "latency": {
            name: dict(zip(("median", "p95"), _latency(times, unit), strict=True))
            for name, times in found.seconds.items()
        },
        "memory_mb": {
            "start": memory[0] // 10**6,
            "most": max(memory) // 10**6,
            "most_first_half": max(memory[:half]) // 10**6,
            "end": memory[-1] // 10**6,
            "growth_per_visit": round((memory[-1] - memory[half]) / 1e6 / (found.visits / 2), 2),
        },
    }


async def _watched(process: psutil.Process, memory: list[int], work: Awaitable[Found]) -> Found:
    async def watch() -> None:
        while True:
            await asyncio.sleep(1)
            memory.append(process.memory_info().rss)

    watching = asyncio.create_task(watch())
    try:
        return await work
    finally:
        watching.cancel()


def _spread(counts: list[int]) -> tuple[float, int]:
    return (statistics.median(counts), max(counts)) if counts else (0, 0)


def _latency(times: list[float], unit: float) -> tuple[float, float]:
    return round(float(np.median(times)) / unit, 2), round(
        float(np.quantile(times, 0.95)) / unit, 2
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--stay", type=float, default=60, help="mean seconds of a visit")
    parser.add_argument("--rest", type=float, default=5, help="mean seconds between two actions")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, running_app(Path(folder) / "log.txt") as app:
        found = measure(app, given.visitors, given.seconds, given.stay, given.rest)
    print(machine())
    print("latency: multiples of a lone visitor's upload, until all that follows from it is there")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
