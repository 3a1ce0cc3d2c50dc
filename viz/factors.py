"""The factor vectors of the initial and the complement attention."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from drtam import DRTAMTrace
from viz.color import COMPLEMENT, INITIAL
from viz.layout import array, finish

PANELS = (  # title, name of the index, row, column
    ("c, by channel", "channel", 1, 1),
    ("c, sorted", "rank", 1, 2),
    ("h, by row of the map", "row", 2, 1),
    ("w, by column of the map", "column", 2, 2),
)


def factors_figure(trace: DRTAMTrace, title: str) -> go.Figure:
    """c (also sorted), h and w of both maps, each panel with its own range."""
    figure = make_subplots(
        rows=2,
        cols=2,
        subplot_titles=[panel[0] for panel in PANELS],
        horizontal_spacing=0.1,
        vertical_spacing=0.2,
    )
    for name, factors, color in (
        ("initial", trace.initial, INITIAL),
        ("complement", trace.complement, COMPLEMENT),
    ):
        ranked = factors.c.sort(dim=1, descending=True).values
        for panel, values in zip(PANELS, (factors.c, ranked, factors.h, factors.w), strict=True):
            line = _line(name, values, panel[1], color)
            figure.add_trace(line, row=panel[2], col=panel[3])
    for _, index, row, column in PANELS:
        figure.update_xaxes(title=index, row=row, col=column)
    figure.update_yaxes(title="factor, in (0, 1)", col=1)
    return finish(figure, title, height=560)


def _line(name: str, values: Tensor, index: str, color: str) -> go.Scatter:
    return go.Scatter(
        y=array(values),
        name=name,
        legendgroup=name,
        showlegend=index == "channel",
        mode="lines" if values.shape[1] > 64 else "lines+markers",
        line={"color": color, "width": 1.5},
        opacity=0.8,
        hovertemplate=f"{index} %{{x}}: %{{y:.5f}}<extra>{name}</extra>",
    )
