"""What maps and charts show, in words for who cannot see them."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

PLACES = (
    ("in the upper left", "at the top", "in the upper right"),
    ("at the left", "in the centre", "at the right"),
    ("in the lower left", "at the bottom", "in the lower right"),
)
UNIFORM = (
    0.05  # the largest range of a nearly uniform map, relative to the mean size of its values
)
FEW = 12  # bars that are read out one by one


def extremes(values: npt.ArrayLike) -> str:
    """Where a map (H, W) is highest and where lowest, on a grid of 3 x 3 places."""
    cells = np.nan_to_num(np.asarray(values, dtype=np.float64))
    span = np.ptp(cells)
    if span == 0:
        return "the same everywhere"
    high, low = (_place(int(at), cells.shape) for at in (cells.argmax(), cells.argmin()))
    uniform = "nearly uniform, " if span <= UNIFORM * np.abs(cells).mean() else ""
    return f"{uniform}highest {high}, lowest {low}"


def _place(at: int, shape: tuple[int, ...]) -> str:
    row, column = (
        int((2 * i + 1) * 3 // (2 * n)) for i, n in zip(divmod(at, shape[1]), shape, strict=True)
    )
    return PLACES[row][column]


def describe(figure: go.Figure) -> str:
    """The title of a chart, and of each panel and each line its name and its values."""
    panels = [_plain(note.text) for note in figure.layout.annotations]
    seen = []
    for trace in figure.data:
        number = int((trace.xaxis or "x")[1:] or 1) - 1
        names = [panels[number]] if number < len(panels) else []
        names += [_plain(trace.name)] if trace.name else []
        seen.append(": ".join([*filter(None, names), _values(trace)]))
    return f"{_plain(figure.layout.title.text)}. {'; '.join(seen)}."


def _plain(text: str) -> str:
    return unescape(re.sub(r"<[^>]*>", " ", text or "")).replace("  ", " ").strip()


def _values(trace: Any) -> str:
    if trace.type == "heatmap":
        return _matrix(trace)
    if trace.type == "bar":
        return _bars(trace)
    values = np.asarray(trace.y, dtype=np.float64)
    if not np.isfinite(values).any():
        return "no values"
    if len(values) == 1:
        return f"marked at {values[0]:.4g}"
    ends = "" if trace.x is None else f"from {values[0]:.4g} to {values[-1]:.4g}, "
    return f"{ends}between {values.min():.4g} and {values.max():.4g}"


def _matrix(trace: Any) -> str:
    values = np.asarray(trace.z, dtype=np.float64)
    if trace.x is None:
        rows, columns = values.shape
        size = f"{rows} rows, {columns} columns"
        return f"{size}, from {values.min():.4g} to {values.max():.4g}, {extremes(values)}"
    return ", ".join(
        f"{trace.y[i]} and {trace.x[j]} {trace.text[i][j]}"
        for i, j in zip(*np.triu_indices(len(values), 1), strict=True)
    )


def _bars(trace: Any) -> str:
    across = trace.orientation == "h"
    names, sizes = (trace.y, trace.x) if across else (trace.x, trace.y)
    values = np.array([np.nan if v is None else v for v in sizes], dtype=np.float64)
    if names is not None and len(values) <= FEW:
        texts = trace.text if trace.text is not None else [f"{v:.4g}" for v in values]
        return ", ".join(f"{_plain(name)} {text}" for name, text in zip(names, texts, strict=True))
    said = f"{len(values)} bars"
    if not np.isfinite(values).any():
        return said
    largest = int(np.nanargmax(np.abs(values)))
    where = "" if names is None else f", the largest at {_plain(names[largest])}"
    return f"{said} between {np.nanmin(values):.4g} and {np.nanmax(values):.4g}{where}"
