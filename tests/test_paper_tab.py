"""The Paper tab: every printed table, ours beside it, each row a way to its network."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from visitor import open_tab, shoot

from models.paper import ROWS

OPENED = (
    (7, "ResNet-50 + DRTAM r=32 Pool.", "r=32, after stages", "49.83 M", 4),
    (5, "ResNet-50 + CA", "CA-Mask R-CNN ResNet-50 (r=32)", "46.08 M", 3),
    (2, "MobileNetV2-1.0 + DRTAM N=8 S=3", "DRTAM-MobileNetV2-1.0 (S=3, N=8", "3.80 M", 4),
    (4, "ResNet50", "ResNet-50, untrained", "25.56 M", 2),
)


def open_table(page: Page, table: int) -> None:
    open_tab(page, "Paper")
    page.locator("#paper-choice label").nth(table - 1).click()
    expect(page.locator("#paper-table caption")).to_contain_text(f"Table {table}:")


def test_each_row_of_a_table_is_a_button_and_its_cells_stand_beside_ours(page):
    for table in range(1, 8):
        open_table(page, table)
        names = page.locator("#paper-table tbody button").all_inner_texts()
        assert names == [row.row for row in ROWS if row.table == table]
        shoot(page, f"paper-{table}")
    rows = page.locator("#paper-table tbody tr")
    text = rows.nth(5).locator("td").all_inner_texts()
    assert text == ["50.75", "50.75 ✓", "196.71", "196.70 ≠", "75.47"]
    expect(page.locator("#paper-table td.differs")).to_have_count(2)
    expect(page.locator("#paper-table")).to_contain_text("the auxiliary head")


def test_a_row_opens_its_network_as_an_untrained_variant(page):
    costs, notes = page.locator("#variants-table"), page.locator("#variants-tiles .untrained")
    for table, row, label, cells, count in OPENED:
        open_table(page, table)
        page.locator(f'[data-row="{row}"]').click()
        expect(costs).to_be_visible()
        expect(costs).to_contain_text(label)
        expect(costs).to_contain_text(f"(Table {table})")
        expect(costs).to_contain_text(cells)
        expect(notes).to_have_count(count)
    open_table(page, 1)
    page.locator("#paper-table button").nth(1).focus()
    page.keyboard.press("Enter")  # the keyboard alone opens a row too
    expect(costs).to_contain_text("S=2, N=1, r=32")
