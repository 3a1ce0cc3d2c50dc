"""The tab that explains DRTAM: every step of it clicked, in a real browser."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from torch import nn
from visitor import SECONDS, open_tab, shoot

from ui import algebra
from ui.compute import Photo
from ui.inputs import EXAMPLES
from ui.networks import Untrained, load
from ui.session import MOST_PROBABLE
from viz.algebra.nodes import NODES

SMALL = Untrained("resnet18").label
CLICKED = [  # the others are made from the same templates
    *(key for key in NODES if not key.startswith(("initial.w.", "complement."))),
    *("initial.w.factor", "complement.c.cut", "complement.h.pooled", "complement.map"),
]


def open_figure(page: Page) -> None:
    open_tab(page, "How it works")
    expect(page.locator('[data-node="x"]')).to_be_visible()
    expect(page.locator("#algebra-text h2")).to_have_text("The feature X")


def choose(page: Page, key: str) -> None:
    """Click a node; of the two Figures 3 only one is there, its RTAM opens the other."""
    button = page.locator(f'[data-node="{key}"]:visible').first
    if not button.count():
        page.locator(f'[data-node="{key.partition(".")[0]}.rtam"]').click()
    button.click()


def test_a_visitor_clicks_through_every_step(page):
    page.locator("#network input").click()
    page.get_by_role("option", name=SMALL).click()
    expect(page.locator("#filmstrip .tile")).to_have_count(8, timeout=SECONDS)
    open_figure(page)
    expect(page.locator("#algebra-figure .gtitle")).to_contain_text("layer4.1")
    for key in CLICKED:
        node = NODES[key]
        choose(page, key)
        expect(page.locator("#algebra-text h2")).to_have_text(node.title)
        expect(page.locator("#algebra-text .katex-display .katex-html")).to_have_count(1)
        expect(page.locator("#algebra-text .katex-error")).to_have_count(0)
        expect(page.locator("#algebra-text")).to_contain_text(node.where)
        expect(page.locator("#algebra-figure .gtitle")).to_have_text(
            f"{node.title} · layer4.1 · untrained"
        )
        pressed = page.locator('#algebra-diagram [aria-pressed="true"]')
        assert {button.get_attribute("data-node") for button in pressed.all()} == {key}


def test_of_clicks_that_come_faster_than_the_answers_the_last_one_counts(page):
    open_figure(page)
    page.route("**/run/**", lambda route: (time.sleep(1), route.continue_()))
    page.evaluate("""async () => {
      for (const key of ['x.ch', 'x.cw', 'x.hw']) {
        document.querySelector(`[data-node="${key}"]`).click();
        await new Promise(resolve => setTimeout(resolve, 100));
      }
    }""")
    expect(page.locator("#algebra-text h2")).to_have_text(NODES["x.hw"].title)
    expect(page.locator("#algebra-figure .gtitle")).to_contain_text(NODES["x.hw"].title)


def test_previous_next_and_the_list_walk_through_the_steps(page):
    open_figure(page)
    page.get_by_role("button", name="Previous").click()
    expect(page.locator("#algebra-text h2")).to_have_text(list(NODES.values())[-1].title)
    page.locator("#algebra-next").click()
    expect(page.locator("#algebra-text h2")).to_have_text("The feature X")
    page.locator("#algebra-next").click()
    expect(page.locator("#algebra-text h2")).to_have_text(NODES["x.ch"].title)
    page.locator("#algebra-node input").click()
    page.get_by_role("option", name=NODES["complement.h.mixed"].title).click()
    expect(page.locator("#algebra-text h2")).to_have_text(NODES["complement.h.mixed"].title)
    expect(page.locator('[data-pass="complement"]')).to_be_visible()
    expect(page.locator('[data-pass="initial"]')).to_be_hidden()
    expect(page.locator("#algebra-figure .hm")).to_have_count(2)
    shoot(page, "algebra-complement")


def test_a_step_is_small_to_send(page):
    open_figure(page)
    sent: list[int] = []
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    client.on("Network.dataReceived", lambda event: sent.append(event["dataLength"]))
    choose(page, "initial.c.mixed")
    expect(page.locator("#algebra-figure .gtitle")).to_contain_text("convolution of P_c")
    page.wait_for_timeout(300)
    assert 10_000 < sum(sent) < 400_000


@pytest.fixture(scope="module")
def photo() -> Photo:
    return Photo.open(next(iter(EXAMPLES.values())))


def test_a_click_runs_no_network(photo):
    choices = (photo, SMALL, 96, MOST_PROBABLE, "layer2.0")
    assert 'data-node="x.ch"' in algebra.draw(*choices, "x")
    ran: list[nn.Module] = []
    handle = load(Untrained("resnet18")).model.register_forward_hook(lambda *_: ran.append(_[0]))
    try:
        text, _ = algebra.draw_node(*choices, "x.ch")
    finally:
        handle.remove()
    assert NODES["x.ch"].title in text
    assert not ran


@pytest.mark.parametrize("attention", ["cbam", "ca"])
def test_other_modules_get_a_sentence(photo, attention, monkeypatch):
    source = Untrained("resnet18", attention)
    sources: dict[str, Any] = {source.label: source}
    monkeypatch.setattr("ui.session.catalogue", lambda: sources)
    choices = (photo, source.label, 96, MOST_PROBABLE, None, "x")
    sentence, (text, figure) = algebra.draw(*choices), algebra.draw_node(*choices)
    assert "choose a network whose name begins with DRTAM" in sentence
    assert source.label in sentence
    assert text == ""
    assert not figure.visible
