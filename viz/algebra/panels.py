"""Tables of values side by side, with chunk borders, the photo beneath, and one cell marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from plotly.subplots import make_subplots
from torch import Tensor

from viz.color import DIVERGING, SEQUENTIAL
from viz.layout import INK, array, finish
from viz.overlay import value_range

FOLLOWED = "#ee3377"  # Tol's vibrant magenta: the number that the text follows
BORDER = "#000000"


@dataclass(frozen=True)
class Panel:
    """One table.

    Attributes:
        title: above it.
        values: (1, rows, columns).
        across: what a column is.
        down: what a row is.
        signed: whether 0 is the middle of the colours; otherwise they go from low to high.
        limit: the largest absolute value of signed colours; by default that of the values.
        photo: whether it lies over the photo.
        uprights: columns before which a chunk begins.
        levels: rows before which a chunk begins.
        mark: row and column of the followed number; None for all of them.
        labels: of the rows.
        by_row: whether each row has its own range of colours, symmetric around 0.
    """

    title: str
    values: Tensor
    across: str
    down: str
    signed: bool = True
    limit: float | None = None
    photo: bool = False
    uprights: Sequence[int] = ()
    levels: Sequence[int] = ()
    mark: tuple[int | None, int | None] | None = None
    labels: Sequence[str] = ()
    by_row: bool = False


def panels_figure(panels: Sequence[Panel], title: str, photo: Image.Image) -> go.Figure:
    """The panels in a row; each has its own colour bar."""
    spacing = 0.11 if len(panels) > 1 else 0
    figure = make_subplots(
        rows=1,
        cols=len(panels),
        subplot_titles=[panel.title for panel in panels],
        horizontal_spacing=spacing,
    )
    for column, panel in enumerate(panels, start=1):
        add_panel(figure, panel, 1, column)
        if panel.photo:
            _lay_photo(figure, panel, column, photo)
    return finish(figure, title, height=430)


def add_panel(figure: go.Figure, panel: Panel, row: int, column: int) -> None:
    """A panel in one of the figure's places."""
    values = array(panel.values)
    low, high = value_range(panel.values)
    if panel.signed:
        high = panel.limit or max(-low, high, 1e-12)
        low = -high
    place = figure.get_subplot(row, column)
    across, down = place.xaxis.domain, place.yaxis.domain
    heatmap = go.Heatmap(
        z=values,
        zmin=low,
        zmax=high,
        opacity=0.7 if panel.photo else 1,
        colorscale=DIVERGING if panel.signed else SEQUENTIAL,
        colorbar=_bar(across, down, lying=panel.photo),
        hovertemplate=f"{panel.down} %{{y}}, {panel.across} %{{x}}: %{{z:.5f}}<extra></extra>",
    )
    if panel.by_row:
        scale = np.maximum(abs(values).max(1, keepdims=True), 1e-12)
        heatmap.update(z=values / scale, zmin=-1, zmax=1, showscale=False, customdata=values)
        heatmap.hovertemplate = heatmap.hovertemplate.replace("%{z", "%{customdata")
    figure.add_trace(heatmap, row=row, col=column)
    figure.update_xaxes(title=panel.across, row=row, col=column)
    figure.update_yaxes(title=panel.down, autorange="reversed", row=row, col=column)
    if panel.labels:
        ticks = {"tickvals": list(range(len(panel.labels))), "ticktext": list(panel.labels)}
        figure.update_yaxes(**ticks, title=None, row=row, col=column)
    _draw_lines(figure, panel, row, column)


def _bar(across: tuple[float, float], down: tuple[float, float], *, lying: bool) -> dict[str, Any]:
    """A colour bar beside the panel, or below it where its shape is that of the photo."""
    look: dict[str, Any] = {
        "thickness": 8,
        "tickfont": {"color": INK, "size": 10},
        "nticks": 5,
        "exponentformat": "e",
    }
    if not lying:
        place = {"x": across[1] + 0.005, "y": sum(down) / 2, "len": down[1] - down[0]}
        return look | place
    middle, length = sum(across) / 2, min(0.3, across[1] - across[0])
    below: dict[str, Any] = {
        "x": middle,
        "xanchor": "center",
        "y": -0.2,
        "yanchor": "top",
        "len": length,
    }
    return look | below | {"orientation": "h"}


def _draw_lines(figure: go.Figure, panel: Panel, row: int, column: int) -> None:
    """Borders of chunks, dark in white; a box around the followed number, likewise."""
    rows, columns = panel.values.shape[1:]
    where = {"row": row, "col": column}
    for color, width in (("#ffffff", 4), (BORDER, 1.5)):
        line = {"color": color, "width": width}
        for x in panel.uprights:
            ends = {"x0": x - 0.5, "x1": x - 0.5, "y0": -0.5, "y1": rows - 0.5}
            figure.add_shape(type="line", line=line, **ends, **where)
        for y in panel.levels:
            ends = {"x0": -0.5, "x1": columns - 0.5, "y0": y - 0.5, "y1": y - 0.5}
            figure.add_shape(type="line", line=line, **ends, **where)
    if panel.mark is not None:
        i, j = panel.mark
        box = {
            "y0": -0.5 if i is None else i - 0.5,
            "y1": rows - 0.5 if i is None else i + 0.5,
            "x0": -0.5 if j is None else j - 0.5,
            "x1": columns - 0.5 if j is None else j + 0.5,
        }
        for color, width in (("#ffffff", 4), (FOLLOWED, 2)):
            figure.add_shape(type="rect", line={"color": color, "width": width}, **box, **where)


def _lay_photo(figure: go.Figure, panel: Panel, column: int, photo: Image.Image) -> None:
    rows, columns = panel.values.shape[1:]
    figure.add_layout_image(
        source=photo,
        x=-0.5,
        y=-0.5,
        sizex=columns,
        sizey=rows,
        sizing="stretch",
        layer="below",
        row=1,
        col=column,
    )
    number = str(column) if column > 1 else ""
    ratio = photo.height / photo.width * columns / rows
    figure.update_yaxes(
        scaleanchor=f"x{number}", scaleratio=ratio, constrain="domain", row=1, col=column
    )
    figure.update_xaxes(constrain="domain", row=1, col=column)
