"""The Paper tab: every printed table, ours beside it, each row a way to its network."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from visitor import open_tab, shoot

from models.paper import ROWS


def open_table(page: Page, table: int) -> None:
    open_tab(page, "Paper")
    page.locator("#paper-choice label").nth(table - 1).click()
    expect(page.locator("#paper-table caption")).to_contain_text(f"Table {table}:")


@pytest.mark.parametrize("table", range(1, 8))
def test_each_row_of_a_table_is_a_button(page, table):
    open_table(page, table)
    names = page.locator("#paper-table tbody button").all_inner_texts()
    assert names == [row.row for row in ROWS if row.table == table]
    shoot(page, f"paper-{table}")


def test_cells_stand_beside_ours_and_differences_are_marked(page):
    open_table(page, 7)
    rows = page.locator("#paper-table tbody tr")
    text = rows.nth(5).locator("td").all_inner_texts()
    assert text == ["50.75", "50.75 ✓", "196.71", "196.70 ≠", "75.47"]
    expect(page.locator("#paper-table td.differs")).to_have_count(2)
    expect(page.locator("#paper-table")).to_contain_text("the auxiliary head")


@pytest.mark.parametrize(
    ("table", "row", "label", "cells"),
    [
        (7, "ResNet-50 + DRTAM r=32 Pool.", "r=32, after stages", "49.83 M"),
        (5, "ResNet-50 + CA", "CA-Mask R-CNN ResNet-50 (r=32)", "46.08 M"),
        (2, "MobileNetV2-1.0 + DRTAM N=8 S=3", "DRTAM-MobileNetV2-1.0 (S=3, N=8", "3.80 M"),
        (4, "ResNet50", "ResNet-50, untrained", "25.56 M"),
    ],
)
def test_a_row_opens_its_network_as_an_untrained_variant(page, table, row, label, cells):
    open_table(page, table)
    page.locator(f'[data-row="{row}"]').click()
    costs = page.locator("#variants-table")
    expect(costs).to_be_visible()
    expect(costs).to_contain_text(label)
    expect(costs).to_contain_text(f"(Table {table})")
    expect(costs).to_contain_text(cells)
    notes = page.locator("#variants-tiles .untrained")
    expect(notes).to_have_count({7: 4, 5: 3, 2: 4, 4: 2}[table])


def test_the_keyboard_alone_opens_a_row(page):
    open_table(page, 1)
    page.locator("#paper-table button").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#variants-table")).to_contain_text("S=2, N=1, r=32")
