"""Two photos or two networks side by side, and a variant shown in every tab."""

from __future__ import annotations

import re

import torch
from playwright.sync_api import Page, expect
from visitor import open_tab, shoot, violations

from drtam.explain import difference, rank_correlation


def test_a_difference_is_taken_cell_by_cell():
    first, second = torch.rand(4, 6), torch.rand(4, 6)
    torch.testing.assert_close(difference(first, second), first - second)
    coarse = torch.tensor([[0.0, 1.0]])
    fine = difference(torch.ones(1, 4), coarse)
    torch.testing.assert_close(fine, 1 - torch.tensor([[0.0, 0.25, 0.75, 1.0]]))
    assert rank_correlation(torch.arange(4.0)[None], coarse) > 0.9


def pin(page: Page) -> None:
    open_tab(page, "A and B")
    expect(page.locator("#sides-about")).to_contain_text("Nothing is pinned")
    page.locator("#pin").click()
    expect(page.locator("#sides-maps .tile")).to_have_count(3)


def captions(page: Page) -> list[str]:
    return page.locator("#sides-maps .caption b").all_inner_texts()


def test_two_photos_of_one_network_stand_side_by_side(page):
    pin(page)
    assert captions(page) == ["A: layer4.2", "B: layer4.2", "A − B"]
    expect(page.locator("#sides-about")).to_contain_text("two maps: 1.000")
    expect(page.locator("#sides-maps .range").last).to_have_text("00")
    expect(page.locator("#sides-maps .untrained")).to_have_count(3)
    page.get_by_role("button", name="a tower").click()
    ratios = "all => all.map(tile => tile.style.getPropertyValue('--ratio'))"
    expect(page.locator("#sides-about")).not_to_contain_text("1.000")
    shown = page.locator("#sides-maps .tile").evaluate_all(ratios)
    assert shown[0] != shown[1] == "128/128"
    scales = page.locator("#sides-maps .range").all_inner_texts()
    assert scales[0] == scales[1] != scales[2]
    assert violations(page) == []
    shoot(page, "two-photos")


def test_a_variant_is_shown_in_every_tab_and_compared(page):
    pin(page)
    open_tab(page, "Variants")
    page.get_by_label("CBAM", exact=True).check()
    expect(page.locator("#variants-table")).to_contain_text("CBAM-ResNet-50 (r=32)")
    page.locator("#variants-use").click()
    expect(page.locator("#status")).to_contain_text("CBAM-ResNet-50 (r=32), untrained")
    expect(page.locator("#status")).to_contain_text("26.83 M")
    open_tab(page, "A and B")
    about = page.locator("#sides-about")
    expect(about).to_contain_text(re.compile("A: CBAM-ResNet-50.*B: DRTAM-ResNet-50", re.DOTALL))
    open_tab(page, "Layer")
    expect(page.locator("#layer-factors")).to_contain_text("channel attention, sorted")


def test_a_plain_network_cannot_be_shown(page):
    open_tab(page, "Variants")
    page.get_by_label("none", exact=True).check()
    expect(page.locator("#variants-table")).to_contain_text("has no attention, hence no map")
    page.locator("#variants-use").click()
    expect(page.locator(".toast-wrap")).to_contain_text("choose one first")
    expect(page.locator("#status")).to_contain_text("DRTAM-ResNet-50")
