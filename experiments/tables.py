"""The paper's Tables 1-7, cell by cell, beside what our networks come to.

Parameters and GFLOPs are counted without any data.
Accuracies need the paper's data sets and trainings: they are printed, but not measured here.

Examples:
    python -m experiments.tables
    python -m experiments.tables --table 4 --markdown
    python -m experiments.tables --json > assets/tables.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models import Spec
from models.complexity import Complexity
from models.paper import DIGITS, GFLOPS, PARAMS, ROWS, PaperRow, measure, notes

TABLES = tuple(sorted({row.table for row in ROWS}))


@dataclass(frozen=True)
class Cell:
    """One printed cell.

    Attributes:
        table: its number.
        row: as in ``PaperRow``.
        column: as printed.
        paper: the printed number.
        measured: ours, rounded to the printed digits; None where it needs a training.
    """

    table: int
    row: str
    column: str
    paper: float
    measured: float | None

    @property
    def printed(self) -> str:
        """The paper's number with its digits."""
        return f"{self.paper:.{DIGITS[self.column]}f}"

    @property
    def ours(self) -> str:
        """Ours with the same digits; empty where it was not measured."""
        return "" if self.measured is None else f"{self.measured:.{DIGITS[self.column]}f}"


def compare(rows: Iterable[PaperRow]) -> list[Cell]:
    """Every cell of the rows, with ours beside it; progress goes to standard error."""
    found: dict[Spec, Complexity] = {}
    cells = []
    for row in track(list(rows), "Counting", console=Console(stderr=True), transient=True):
        ours: dict[str, float] = {}
        if PARAMS in row.cells:
            if row.spec not in found:
                found[row.spec] = measure(row)
            ours = {PARAMS: found[row.spec].params / 1e6, GFLOPS: found[row.spec].gflops}
        for column, paper in row.cells.items():
            value = ours.get(column)
            measured = None if value is None else round(value, DIGITS[column])
            cells.append(Cell(row.table, row.row, column, paper, measured))
    return cells


def head(cells: Sequence[Cell]) -> list[str]:
    """The columns of a table: each measured one twice."""
    columns = dict.fromkeys(cell.column for cell in cells)
    measured = {cell.column for cell in cells if cell.measured is not None}
    return [name for column in columns for name in (column, "ours")[: 1 + (column in measured)]]


def lines(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """The cells of a table by row."""
    return {
        name: [c for c in cells if c.row == name] for name in dict.fromkeys(c.row for c in cells)
    }


def show(table: int, cells: Sequence[Cell], console: Console) -> None:
    """A table for a terminal; what is printed otherwise than in the paper is coloured."""
    view = Table(
        title=f"Table {table}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    view.add_column("network")
    for name in head(cells):
        view.add_column(name, justify="right", no_wrap=True)
    for name, row in lines(cells).items():
        values = []
        for cell in row:
            values.append(cell.printed)
            if cell.measured is not None:
                same = cell.ours == cell.printed
                values.append(f"[{'green' if same else 'bold yellow'}]{cell.ours}[/]")
        view.add_row(name, *values)
    console.print(view)
    for note in notes(table):
        console.print(f"  {note}")


def markdown(table: int, cells: Sequence[Cell]) -> str:
    """A table as Markdown; what is printed otherwise than in the paper is bold."""
    names = head(cells)
    text = [
        f"### Table {table}",
        "",
        f"| network | {' | '.join(names)} |",
        "|---|" + "--:|" * len(names),
    ]
    for name, row in lines(cells).items():
        values = []
        for cell in row:
            values.append(cell.printed)
            if cell.measured is not None:
                values.append(cell.ours if cell.ours == cell.printed else f"**{cell.ours}**")
        text.append(f"| {name} | {' | '.join(values)} |")
    return "\n".join([*text, "", *(f"- {note}" for note in notes(table)), ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", type=int, choices=TABLES, help="only this one")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one object for each printed cell")
    form.add_argument("--markdown", action="store_true")
    options = parser.parse_args(arguments)
    wanted = TABLES if options.table is None else (options.table,)
    cells = compare(row for row in ROWS if row.table in wanted)
    if options.json:
        rows = (json.dumps(asdict(cell)) for cell in cells)
        sys.stdout.write("[\n" + ",\n".join(rows) + "\n]\n")
        return
    console = Console()
    for table in wanted:
        own = [cell for cell in cells if cell.table == table]
        if options.markdown:
            print(markdown(table, own))
        else:
            show(table, own, console)


if __name__ == "__main__":
    main()
