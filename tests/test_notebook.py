"""The notebook in examples/ runs from top to bottom, and shows what it says."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from experiments.server import ROOT

PATH = ROOT / "examples" / "explore.ipynb"


@pytest.fixture(scope="module")
def ran() -> Any:
    notebook = nbformat.read(PATH, as_version=4)
    where = {"metadata": {"path": str(PATH.parent)}}
    return NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where).execute()


def kinds(cell: Any) -> set[str]:
    return {kind for output in cell.get("outputs", []) for kind in output.get("data", {})}


def outputs(notebook: Any, word: str) -> Any:
    (cell,) = [c for c in notebook.cells if c.cell_type == "code" and c.source.endswith(word)]
    return cell


def test_figures_and_pictures_display_themselves(ran):
    charts = [cell for cell in ran.cells if "application/vnd.plotly.v1+json" in kinds(cell)]
    assert len(charts) == 2
    pictures = [cell for cell in ran.cells if "image/png" in kinds(cell)]
    assert len(pictures) == 2


def test_an_analysis_displays_its_layers(ran):
    table = outputs(ran, "\nanalysis").outputs[0].data["text/html"]
    assert table.count("<tr>") == 1 + 8
    assert "layer4.1</th><td>512×5×5" in table


def test_the_arrays_are_kept(ran):
    assert outputs(ran, ".shape").outputs[0].data["text/plain"] == "(256,)"


def test_outputs_are_not_in_the_repository():
    for cell in nbformat.read(PATH, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
