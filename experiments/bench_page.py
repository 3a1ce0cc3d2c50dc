"""Where the time goes between a photo's upload and its maps on the page, in Chromium."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import CDPSession, FilePayload, Page, sync_playwright

from experiments.benchmarks import Table
from experiments.browser import chromium
from experiments.load import own_photo
from experiments.server import running_app
from experiments.timed_app import STEPS
from experiments.timing import Ratio

FILM = "() => [...document.querySelectorAll('#filmstrip .tile img')].map(i => i.src).join()"
FILM_CHANGED = f"before => {{ const now = ({FILM})(); return now && now !== before; }}"
LAYER = "() => document.querySelector('#layer-maps .js-plotly-plot')?.textContent ?? ''"
LAYER_CHANGED = f"before => {{ const now = ({LAYER})(); return now && now !== before; }}"
BROWSER = "browser, also while the server works"


def bench_page(options: argparse.Namespace) -> Table:
    """Shares of the time from an upload until every layer's map is there; and of switching."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_app(
            Path(folder) / "log.txt",
            command=("-m", "experiments.timed_app", f"{folder}/times.jsonl"),
        ) as app,
        sync_playwright() as playwright,
    ):
        browser = chromium(playwright)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(app.url)
        page.wait_for_function(FILM)
        size = page.locator("#size input[type=number]").input_value()
        shares = _shares(page, Path(folder) / "times.jsonl", options.rounds)
        browser.close()
    rows = {name: _spread(values) for name, values in shares.items()}
    title = (
        f"the page, an upload at {size} px to the network it opens on, shares of the waiting time"
    )
    return Table(title, "from the upload until all maps are there", rows)


def _shares(page: Page, times: Path, rounds: int) -> dict[str, list[float]]:
    shares: dict[str, list[float]] = defaultdict(list)
    chrome = page.context.new_cdp_session(page)
    chrome.send("Performance.enable")
    for k in range(rounds + 1):
        steps, busy = _lines(times), _busy(chrome)
        total = _waited(page, lambda: _upload(page), FILM, FILM_CHANGED)
        spent = {**dict.fromkeys(STEPS, 0.0), BROWSER: _busy(chrome) - busy}
        for step, seconds in _lines(times)[len(steps) :]:
            spent[step] += seconds
        passes = len(_lines(times))
        spent |= _switches(page)
        if any(step == "network" for step, _ in _lines(times)[passes:]):
            raise RuntimeError("switching the layer or the tab ran the network")
        if k > 0:  # the first one also loads what the page needs once
            for name, seconds in spent.items():
                shares[name].append(seconds / total)
    return shares


def _switches(page: Page) -> dict[str, float]:
    """Seconds until another tab, and another layer in it, are drawn; then back."""
    page.evaluate("document.querySelector('#layer-maps .js-plotly-plot')?.remove()")
    tab = page.get_by_role("tab", name="Layer", exact=True)
    to_tab = _waited(page, tab.click, LAYER, f"() => ({LAYER})()")
    page.get_by_role("tab", name="Overview", exact=True).click()
    other = page.locator("#filmstrip .tile[aria-pressed=false]").first
    other.wait_for()
    pressed = "() => document.querySelector('#filmstrip .tile[aria-pressed=true]').dataset.layer"
    to_layer = _waited(page, other.click, pressed, f"before => ({pressed})() !== before")
    return {"another tab": to_tab, "another layer": to_layer}


def _waited(page: Page, act: Callable[[], object], state: str, changed: str) -> float:
    before = page.evaluate(state)
    start = time.perf_counter()
    act()
    page.wait_for_function(changed, arg=before, polling="raf")
    return time.perf_counter() - start


def _upload(page: Page) -> None:
    """A photo that the app has not seen."""
    content, _ = own_photo()
    file = FilePayload(name="photo.png", mimeType="image/png", buffer=content)
    page.locator("#photo input[type=file]").set_input_files(file)


def _busy(chrome: CDPSession) -> float:
    """Seconds that the page's main thread has worked."""
    found = chrome.send("Performance.getMetrics")["metrics"]
    return next(float(m["value"]) for m in found if m["name"] == "TaskDuration")


def _lines(times: Path) -> list[tuple[str, float]]:
    return [tuple(json.loads(line)) for line in times.read_text().splitlines()]


def _spread(values: list[float]) -> Ratio:
    low, median, high = statistics.quantiles(values, n=4)
    return Ratio(median, low, high)
