"""Every printed number of the paper's tables; ours against those that arithmetic can check."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from experiments import tables
from experiments.server import ROOT
from models import Spec
from models.complexity import Complexity
from models.paper import DIGITS, GFLOPS, PARAMS, READINGS, ROWS, PaperRow, find_row, measure

COUNTED = [row for row in ROWS if PARAMS in row.cells]


@pytest.fixture(scope="module")
def counted() -> dict[Spec, Complexity]:
    """Of every network that a row describes."""
    rows = {row.spec: row for row in COUNTED}
    return {spec: measure(row) for spec, row in rows.items()}


def each_row(*tables: int) -> pytest.MarkDecorator:
    rows = [row for row in COUNTED if row.table in tables]
    return pytest.mark.parametrize("row", rows, ids=lambda row: f"{row.table}: {row.row}")


def printed(value: float, column: str) -> str:
    return f"{value:.{DIGITS[column]}f}"


def test_all_rows_are_here():
    assert Counter(row.table for row in ROWS) == {1: 8, 2: 9, 3: 6, 4: 22, 5: 6, 6: 6, 7: 14}
    assert len({(row.table, row.row) for row in ROWS}) == 71


def test_each_row_has_the_numbers_of_its_table():
    numbers = {row.table: tuple(row.cells) for row in ROWS}
    accuracies = ("Top-1 (%)", "Top-5 (%)")
    aps = ("AP", "AP50", "AP75", "APS", "APM", "APL")
    assert numbers == {
        **dict.fromkeys((1, 2, 3, 4), ("Param.", "GFlops", *accuracies)),
        5: ("Param.", "GFlops", *aps),
        6: aps,
        7: ("Param.", "GFlops", "mIoU"),
    }
    assert all(tuple(row.cells) == numbers[row.table] for row in ROWS)
    assert sum(len(row.cells) for row in ROWS) == 306


def test_no_number_has_more_digits_than_its_column_prints():
    for row in ROWS:
        for column, value in row.cells.items():
            assert float(printed(value, column)) == value


@each_row(1, 2, 3, 4, 5, 7)
def test_param_cells(row: PaperRow, counted):
    ours = counted[row.spec].params / 1e6
    assert printed(ours, PARAMS) == printed(row.cells[PARAMS], PARAMS)


@each_row(1, 2, 3, 4, 7)
def test_gflops_cells_are_within_two_hundredths(row: PaperRow, counted):
    assert counted[row.spec].gflops == pytest.approx(row.cells[GFLOPS], abs=0.02)


@each_row(5)
def test_gflops_cells_of_mask_rcnn_are_within_a_thousandth(row: PaperRow, counted):
    assert counted[row.spec].gflops == pytest.approx(row.cells[GFLOPS], rel=1e-3)


@each_row(1, 2, 3, 4, 5, 7)
def test_a_note_says_why_where_gflops_do_not_come_out_as_printed(row: PaperRow, counted):
    ours = printed(counted[row.spec].gflops, GFLOPS)
    assert bool(row.note) == (ours != printed(row.cells[GFLOPS], GFLOPS))


def test_51_of_65_gflops_cells_come_out_as_printed():
    assert len(COUNTED) == 65
    assert Counter(row.table for row in COUNTED if row.note) == {4: 6, 5: 6, 7: 2}


def test_the_counter_of_table_7_knows_only_the_norms_of_attention(counted):
    row = next(row for row in ROWS if row.row == "ResNet-50 + CA Pool.")
    layers = counted[row.spec].by_layer
    assert {"backbone.conv1", "backbone.relu.attention.norm"} <= layers.keys()
    assert not {"backbone.bn1", "classifier.convs.0.1"} & layers.keys()
    assert set(READINGS) == {5, 6, 7}


def test_a_row_is_named_as_its_table_prints_it():
    labels = {row.row for row in ROWS}
    assert {
        "ResNet-50 + DRTAM S=2 N=1",
        "MobileNetV2-1.0 + DRTAM N=8 S=3",
        "ResNet-101 + DRTAM r=16 S=3 N=1",
        "ResNet50 + DRTAM r=32",
        "ResNet101",
        "ResNet-50 + CA",
        "ResNet-101 + DRTAM r=16 Pool.",
    } <= labels


@pytest.mark.parametrize(
    ("spec", "table", "row"),
    [
        (Spec("resnet50", "drtam"), 4, "ResNet50 + DRTAM r=32"),
        (Spec("mobilenet_v2", "drtam", n=4, r=16), 3, "MobileNetV2-1.0 + DRTAM r=16 S=3 N=4"),
        (Spec("resnet50", "drtam", n=2), 2, "ResNet-50 + DRTAM N=2 S=3"),
        (Spec("resnet50", "drtam", s=2), 1, "ResNet-50 + DRTAM S=2 N=1"),
        (Spec("mobilenet_v2", "ca", s=5, n=4), 4, "MobileNetV2-1.0 + CA r=32"),
        (Spec("resnet101", s=2, n=9, r=16, placement="stage"), 4, "ResNet101"),
        (Spec("maskrcnn_resnet50", "drtam", r=16, num_classes=81), 5, "ResNet-50 + DRTAM"),
        (
            Spec("fcn_resnet50", "cbam", r=16, placement="stage", num_classes=21),
            7,
            "ResNet-50 + CBAM Pool.",
        ),
    ],
)
def test_a_network_finds_its_row(spec, table, row):
    found = find_row(spec)
    assert found is not None
    assert (found.table, found.row) == (table, row)


@pytest.mark.parametrize(
    "spec",
    [
        Spec("resnet18", "drtam"),
        Spec("resnet50", "drtam", s=5),
        Spec("resnet50", "drtam", placement="stage"),
        Spec("resnet50", "drtam", num_classes=10),
        Spec("resnet50", num_classes=10),
        Spec("mobilenet_v2", "cbam", r=32),
        Spec("maskrcnn_resnet50", "drtam", num_classes=81),
        Spec("fcn_resnet50", "drtam", placement="stage"),
    ],
)
def test_a_network_that_is_not_in_the_paper_has_no_row(spec):
    assert find_row(spec) is None


def test_the_pages_numbers_are_what_the_command_prints(counted, monkeypatch, capsys):
    monkeypatch.setattr(tables, "measure", lambda row: counted[row.spec])
    tables.main(["--json"])
    assert capsys.readouterr().out == (ROOT / "assets" / "tables.json").read_text()


def test_each_printed_cell_is_one_object(counted, monkeypatch, capsys):
    monkeypatch.setattr(tables, "measure", lambda row: counted[row.spec])
    tables.main(["--json", "--table", "4"])
    cells = json.loads(capsys.readouterr().out)
    assert len(cells) == 22 * 4
    assert {
        "table": 4,
        "row": "ResNet50 + DRTAM r=32",
        "column": "Param.",
        "paper": 26.83,
        "measured": 26.83,
    } in cells
    assert {cell["measured"] for cell in cells if cell["column"].startswith("Top")} == {None}


@pytest.mark.parametrize("form", [[], ["--markdown"]])
def test_a_table_shows_the_paper_beside_ours_and_says_why_they_differ(
    form, counted, monkeypatch, capsys
):
    monkeypatch.setattr(tables, "measure", lambda row: counted[row.spec])
    tables.main(["--table", "7", *form])
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if "DRTAM r=16 Bott." in line)
    found = re.findall(r"[\d.]+", row.partition("Bott.")[2])
    assert found == ["73.25", "73.25", "274.63", "274.61", "76.61"]
    assert ("**274.61**" in row) == bool(form)
    assert "auxiliary head" in " ".join(lines)
