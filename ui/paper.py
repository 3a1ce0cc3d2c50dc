"""Paper: the printed tables beside what our networks come to, each row a way in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path

import gradio as gr

from models.paper import ROWS, PaperRow, notes
from ui.session import Session
from ui.variants import NONE

COUNTED = Path(__file__).parent.parent / "assets" / "tables.json"  # by experiments.tables --json
TITLES = {
    1: "The influence of S on ImageNet-1K",
    2: "The influence of N on ImageNet-1K",
    3: "The influence of r on ImageNet-1K",
    4: "Classification on ImageNet-1K",
    5: "Object detection on COCO with Mask R-CNN",
    6: "Instance segmentation on COCO with Mask R-CNN",
    7: "Semantic segmentation on PASCAL VOC 2012 with FCN",
}
EXPLANATION = """
Every number that the paper prints. Beside **Param.** (millions) and **GFlops** stands what our
networks come to, counted by `python -m experiments.tables`: ✓ where both print the same. The
accuracies are the paper's; they need its data sets and are not measured here. **Click a row** to
rebuild its network, untrained, in the Variants tab."""

SEND_CLICKED_ROW = """
element.addEventListener('click', event => {
  const row = event.target.closest('[data-row]');
  if (row) trigger('click', {row: row.dataset.row, table: Number(row.dataset.table)});
});"""


def build(
    session: Session, tabs: gr.Tabs, controls: Sequence[gr.Dropdown | gr.Radio | gr.Slider]
) -> None:
    """The tab and its events.

    Args:
        session: of the page.
        tabs: that this one is among.
        controls: of the Variants tab.
    """
    with gr.Tab("Paper", id="Paper"):
        gr.Markdown(EXPLANATION)
        choice = gr.Radio(
            [(f"{table}: {title}", table) for table, title in TITLES.items()],
            value=4,
            label="Table",
            elem_id="paper-choice",
        )
        view = gr.HTML(table_html(4), js_on_load=SEND_CLICKED_ROW, elem_id="paper-table")
    choice.input(
        table_html, choice, view, queue=False, show_progress="hidden", api_visibility="private"
    )
    view.click(
        open_row,
        session.revision,
        [*controls, tabs, session.open_tab, session.revision],
        show_progress="hidden",
        api_visibility="private",
    )


def open_row(revision: int, event: gr.EventData) -> list[object]:
    """The clicked row's network for the controls of the Variants tab, which opens."""
    asked = getattr(event, "table", None), getattr(event, "row", None)
    row = next((r for r in ROWS if (r.table, r.row) == asked), None)
    if row is None:
        raise gr.Error("There is no such row: click one in the table.", print_exception=False)
    spec, seed = row.spec, 0
    controls = [spec.backbone, spec.attention or NONE, spec.s, spec.n, spec.r, seed]
    tabs = gr.Tabs(selected="Variants")
    return [*controls, spec.placement, tabs, "Variants", revision + 1]


@lru_cache(maxsize=1)
def counted() -> dict[tuple[int, str, str], float | None]:
    """What ours come to, by table, row and column; None where it needs a training."""
    cells = json.loads(COUNTED.read_text("utf-8"))
    return {(cell["table"], cell["row"], cell["column"]): cell["measured"] for cell in cells}


def table_html(table: int) -> str:
    """A printed table with ours beside it, its rows as buttons, and how it counts."""
    rows = [row for row in ROWS if row.table == table]
    heads = ["<th scope=col>network</th>"]
    for column in rows[0].cells:
        heads.append(f"<th scope=col>{column}</th>")
        if counted()[table, rows[0].row, column] is not None:
            heads.append("<th scope=col>ours</th>")
    body = "".join(f"<tr>{_row_html(row)}</tr>" for row in rows)
    remarks = "".join(f"<li>{escape(note)}</li>" for note in notes(table))
    return (
        f"<table><caption>Table {table}: {TITLES[table]}</caption>"
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{body}</tbody></table>"
        f"<ul>{remarks}</ul>"
    )


def _row_html(row: PaperRow) -> str:
    name = escape(row.row)
    cells = [
        f'<th scope=row><button data-row="{name}" data-table={row.table} '
        f'title="Rebuild {name}, untrained, in the Variants tab">{name}</button></th>'
    ]
    for column, printed in row.printed().items():
        cells.append(f"<td>{printed}</td>")
        ours = counted()[row.table, row.row, column]
        if ours is not None:
            digits = len(printed.partition(".")[2])
            same = f"{ours:.{digits}f}" == printed
            mark = "✓" if same else "≠"
            kind = "same" if same else "differs"
            cells.append(f"<td class={kind}>{ours:.{digits}f} {mark}</td>")
    return "".join(cells)
