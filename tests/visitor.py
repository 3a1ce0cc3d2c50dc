"""A visitor in a real browser, before the real page."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from experiments.browser import chromium
from experiments.server import ROOT, running_app
from ui.networks import Untrained

HARMLESS = ("svelte-i18n", "Method not implemented")  # Gradio's own
SCREENSHOTS = ROOT / "screenshots"
TRUTH = "Do maps tell the truth?"
AXE = Axe()
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
TABS = (
    *("Overview", "How it works", "Layer", "Descriptors", "Compare", "A and B"),
    *("What if", TRUTH, "Variants", "Paper"),
)
SECONDS = 60_000
SETTLED = """
() => !document.querySelector('.pending')
  && !document.getAnimations().some(each => each instanceof CSSTransition)"""
UNTRAINED = Untrained().label
T = TypeVar("T")
expect.set_options(timeout=SECONDS)  # a busy machine is no failure


def apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread of its own: Playwright's loop runs in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_app(tmp_path_factory.mktemp("app") / "log.txt") as app:
        yield app.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def context(browser: Browser) -> BrowserContext:
    """What all pages share is the browser's cache of scripts."""
    return browser.new_context(viewport={"width": 1400, "height": 1000})


@pytest.fixture
def page(context: BrowserContext, url: str) -> Iterator[Page]:
    """A link to an untrained network, so that tests do not depend on what was trained last."""
    yield from visit(context, f"{url}?{urlencode({'network': UNTRAINED, 'size': '128'})}")


@pytest.fixture
def default_page(context: BrowserContext, url: str) -> Iterator[Page]:
    """What a new visitor sees."""
    yield from visit(context, url)


def visit(context: BrowserContext, url: str) -> Iterator[Page]:
    """A page, analysed; no console error and no request to the outside is tolerated."""
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    errors: list[str] = []
    outside: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(word in message.text for word in HARMLESS):
            errors.append(message.text)

    page.on("console", on_console)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((url.partition("?")[0], "data:", "blob:"))
            else outside.append(request.url)
        ),
    )
    page.goto(url)
    analysed(page)
    yield page
    page.close()
    assert not errors
    assert not outside


def analysed(page: Page) -> None:
    """Wait until the first photo is explained."""
    page.wait_for_selector("#filmstrip .tile")
    page.wait_for_selector("#scores .js-plotly-plot .bars")


def open_tab(page: Page, name: str) -> None:
    """Click a tab, or its name in the menu of those that have no room."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if tab.is_visible():
        tab.click()
    else:
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown").get_by_text(name, exact=True).click()


def violations(page: Page, rules: Sequence[str] = RULES) -> list[str]:
    """What axe-core finds wrong once nothing is faded: impact, rule, element and why."""
    page.wait_for_function(SETTLED)
    found = AXE.run(page, options={"runOnly": rules, "resultTypes": ["violations"]})
    return [
        f"{each['impact']} {each['id']}: {node['html'][:300]} {node['failureSummary']}"
        for each in found.response["violations"]
        for node in each["nodes"]
    ]


def film(page: Page) -> list[str]:
    return page.locator("#filmstrip .tile img").evaluate_all("all => all.map(i => i.src)")


def bars(page: Page) -> str:
    return page.locator("#scores .js-plotly-plot .ytick").all_inner_texts().__str__()


def shoot(page: Page, name: str) -> None:
    """Wait until nothing moves; ``make screenshots`` keeps a picture, to be looked at."""
    if "SCREENSHOTS" not in os.environ:
        return
    page.wait_for_timeout(200)  # Plotly draws the last of a chart after its frame
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name.strip('?').replace(' ', '-')}.png"
    page.screenshot(path=path, full_page=True, animations="disabled")
