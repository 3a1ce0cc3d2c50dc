"""The browser of the tests and of the page's benchmark: Debian's Chromium, without a screen."""

from __future__ import annotations

from playwright.sync_api import Browser, Playwright

PATH = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium(playwright: Playwright) -> Browser:
    """A new browser; the caller closes it."""
    return playwright.chromium.launch(executable_path=PATH, args=FLAGS)
