"""Everybody can use the page: axe-core, every tab in both themes and on a phone, the keyboard."""

from __future__ import annotations

import re

from coloraide import Color
from playwright.sync_api import Page, expect
from visitor import TABS, TRUTH, film, open_tab, shoot, violations

DRAWN = {  # what a tab shows last
    "Overview": "#scores .bars",
    "How it works": "#algebra-figure .main-svg",
    "Layer": "#layer-factors .scatterlayer .trace",
    "Descriptors": "#descriptors-figure .hm",
    "Compare": "#compare-matrix .hm",
    "A and B": "#sides-about p",
    "What if": "#what-if-tiles .tile",
    TRUTH: "#faithfulness-run",
    "Variants": "#variants-tiles .tile",
    "Paper": "#paper-table tbody tr",
}
TARGETS = "button, a[href], .opacity input, input[type=number], [role=combobox]"
NO_TARGETS = ".cells, .modebar, [aria-hidden=true]"  # one area to paint on; for the mouse
THEME = "dark => document.body.classList.toggle('dark', dark)"  # as Gradio does it
SMALL = f"""
() => [...document.querySelectorAll('{TARGETS}')]
  .filter(each => each.checkVisibility() && !each.closest('{NO_TARGETS}'))
  .filter(each => {{
    const {{width, height}} = each.getBoundingClientRect();
    return Math.min(width, height) < 24;
  }})
  .map(each => each.outerHTML.slice(0, 200))"""
UNNAMED = """
() => [...document.querySelectorAll('.js-plotly-plot')]
  .filter(chart => chart.checkVisibility() && !chart.querySelector('svg[role=img][aria-label]'))
  .length"""


def test_every_tab_is_accessible_in_both_themes(page):
    for name in TABS:
        show(page, name)
        shoot(page, f"light-{name.lower()}")
        assert violations(page) == [], name
        page.evaluate(THEME, True)
        shoot(page, f"dark-{name.lower()}")
        assert violations(page, ["color-contrast"]) == [], name
        page.evaluate(THEME, False)
        assert page.evaluate(UNNAMED) == 0, name
        for text in page.locator(".tile img:visible").evaluate_all("all => all.map(i => i.alt)"):
            assert re.search(r"untrained .*, from .* to .*, .*highest .*, lowest", text), text
    open_tab(page, "Overview")
    page.locator("#taking > button").click()
    expect(page.locator("#make-zip")).to_be_visible()
    assert violations(page) == []
    for dark in (True, False):
        page.evaluate(THEME, dark)
        page.wait_for_timeout(300)
        assert contrast_of_charts(page) >= 4.5


def test_every_tab_is_accessible_on_a_phone_and_does_not_scroll_sideways(page):
    page.set_viewport_size({"width": 360, "height": 740})
    for name in TABS:
        show(page, name)
        shoot(page, f"phone-{name.lower()}")
        assert violations(page) == [], name
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= 360, f"{name} is {width} px wide"
        assert page.evaluate(SMALL) == [], name
        for title in page.locator(".js-plotly-plot:visible .gtitle").all_text_contents():
            assert "untrained" in title[:36], title  # what 360 pixels show of it


def show(page: Page, name: str) -> None:
    """Open a tab and wait until it shows everything."""
    open_tab(page, name)
    page.wait_for_selector(f"{DRAWN[name]}:visible")


def contrast_of_charts(page: Page) -> float:
    """Of the letters of a chart with the page; axe-core passes over SVG."""
    ink, paper = page.evaluate(
        "[getComputedStyle(document.querySelector('#scores .ytick text')).fill,"
        " getComputedStyle(document.querySelector('#scores')).backgroundColor]"
    )
    return Color(ink).contrast(paper)


def unseen(page: Page) -> str:
    """What has the focus and does not show it."""
    return page.evaluate(
        """() => {
          const element = document.activeElement, style = getComputedStyle(element);
          const seen = style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2;
          return seen ? '' : element.outerHTML.slice(0, 200);
        }"""
    )


def walk_to(page: Page, selector: str, *, back: bool = False) -> None:
    """Tab to an element; every stop on the way shows that it has the focus."""
    for _ in range(80):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        assert unseen(page) == ""
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"the keyboard does not reach {selector}")


def draws_anew(page: Page, key: str) -> None:
    """Press a key that makes other maps and scores, and wait until nothing more is replaced."""
    before = film(page)[0]
    chart = page.locator("#scores .js-plotly-plot").element_handle()
    page.keyboard.press(key)
    page.wait_for_function(
        "old => ![old, undefined].includes(document.querySelector('#filmstrip .tile img')?.src)",
        arg=before,
    )
    page.wait_for_function("chart => !chart.isConnected", arg=chart)
    page.wait_for_selector("#scores .js-plotly-plot .bars")


def test_the_keyboard_alone_uses_the_page_and_is_always_seen(page):
    press = page.keyboard.press
    walk_to(page, "button.gallery-item:nth-of-type(3)")
    draws_anew(page, "Enter")
    walk_to(page, "#size input[type=range]")
    draws_anew(page, "ArrowLeft")
    expect(page.locator("#status")).to_contain_text("96×96 pixels")
    walk_to(page, ".opacity input")
    press("ArrowLeft")
    expect(page.locator("#filmstrip .tile img").first).to_have_css("opacity", "0.55")
    walk_to(page, "[role=tab]")
    walk_to(page, '[data-layer="layer1.1"]')
    press("Enter")
    expect(page.locator("#layer input")).to_have_value("layer1.1")
    expect(page.locator('[data-layer="layer1.1"]')).to_have_attribute("aria-pressed", "true")
    expect(page.locator('[data-layer="layer1.1"]')).to_be_focused()
    walk_to(page, "[role=tab]", back=True)
    press("ArrowRight")
    press("Enter")
    text = page.locator("#algebra-text h2")
    expect(text).to_have_text("The feature X")
    page.wait_for_selector('[data-node="x.ch"]')  # the diagram may come after the text
    walk_to(page, '[data-node="x.ch"]')
    press("Enter")
    expect(text).to_contain_text("Descriptor X_ch")
    assert page.evaluate("document.activeElement.dataset.node") == "x.ch"
    press("Tab")
    press("Space")
    expect(text).to_contain_text("Descriptor X_cw")
    page.locator('[data-node="x.ch"]').focus()
    press("Enter")
    expect(text).to_contain_text("Descriptor X_ch")
    walk_to(page, "#algebra-next")
    press("Space")
    expect(text).to_contain_text("Descriptor X_cw")
    walk_to(page, "[role=tab]", back=True)
    press("End")
    for _ in range(TABS[::-1].index("What if")):
        press("ArrowLeft")
    press("Enter")
    expect(page.locator("#what-if-tiles .tile")).to_have_count(2)
    walk_to(page, "#what-if-region .cells button")
    press("ArrowDown")
    press("Space")
    expect(page.locator("#what-if-region .cells [aria-pressed=true]")).to_have_count(1)
    walk_to(page, "#what-if-run")


def test_who_wants_no_motion_gets_none(page):
    page.emulate_media(reduced_motion="reduce")
    still = page.evaluate(
        "[...document.querySelectorAll('*')].every(each => {"
        " const style = getComputedStyle(each);"
        " return [style.transitionDuration, style.animationDuration]"
        "   .every(times => times.split(', ').every(time => parseFloat(time) <= 0.001)) })"
    )
    assert still
