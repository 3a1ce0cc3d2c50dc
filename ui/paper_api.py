"""The Paper tab's tables as an endpoint for programs."""

from __future__ import annotations

from models.paper import ROWS
from ui.api import Json
from ui.arguments import check_range, register
from ui.paper import counted


def build() -> None:
    """Register the endpoint in the open ``gr.Blocks``."""
    register(paper)


def paper(table: int) -> list[Json]:
    """One of the paper's tables: each row's printed cells, and what our networks come to.

    Null where a number needs a training.

    Args:
        table: 1 to 7.
    """
    check_range("table", table, 1, 7)
    return [
        {
            "row": row.row,
            "paper": row.cells,
            "measured": {column: counted()[table, row.row, column] for column in row.cells},
            "note": row.note,
        }
        for row in ROWS
        if row.table == table
    ]
