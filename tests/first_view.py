"""How long a visitor waits for the first view: PYTHONPATH=. python tests/first_view.py

From opening the address of a fresh app, with an empty cache, until the layers' maps and the class
scores are there.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, sync_playwright
from visitor import analysed

from experiments.browser import chromium
from experiments.server import running_app

TIMES = 7


def first_view(browser: Browser, url: str) -> tuple[float, float]:
    """Seconds until it is there, and megabytes that came."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    client, sent = page.context.new_cdp_session(page), []
    client.send("Network.enable")
    client.on("Network.dataReceived", lambda event: sent.append(event["encodedDataLength"]))
    start = time.perf_counter()
    page.goto(url)
    analysed(page)
    seconds = time.perf_counter() - start
    page.close()
    return seconds, sum(sent) / 1e6


def main() -> None:
    """Print the median and the range."""
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        running_app(Path(folder) / "log.txt") as app,
    ):
        browser = chromium(playwright)
        views = [first_view(browser, app.url) for _ in range(TIMES)]
        browser.close()
    seconds, megabytes = zip(*views, strict=True)
    print(
        f"first view after {median(seconds):.2f} s (median of {TIMES}, "
        f"{min(seconds):.2f} to {max(seconds):.2f}), {median(megabytes):.1f} MB"
    )


if __name__ == "__main__":
    main()
