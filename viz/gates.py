"""The vectors from which a module builds its map, whichever module it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from drtam import AttentionTrace, CATrace, CBAMTrace, DRTAMTrace
from viz.color import INITIAL, SEQUENTIAL
from viz.factors import factors_figure
from viz.layout import INK, array, finish
from viz.overlay import value_range


def gates_figure(trace: AttentionTrace, title: str) -> go.Figure:
    """The figure that suits the trace; a new module adds its function to ``FIGURES``.

    Raises:
        ValueError: there is no figure for that kind of trace.
    """
    for kind, figure in FIGURES.items():
        if isinstance(trace, kind):
            return figure(trace, title)
    raise ValueError(
        f"no figure for {type(trace).__name__}: {', '.join(k.__name__ for k in FIGURES)} have one"
    )


def cbam_figure(trace: CBAMTrace, title: str) -> go.Figure:
    """The channel attention by channel and sorted; the spatial attention."""
    figure = make_subplots(
        rows=1,
        cols=3,
        subplot_titles=["channel attention", "channel attention, sorted", "spatial attention"],
        horizontal_spacing=0.1,
    )
    ranked = trace.channel.sort(dim=1, descending=True).values
    for column, (values, index) in enumerate(((trace.channel, "channel"), (ranked, "rank")), 1):
        line = go.Scatter(
            y=array(values),
            line={"color": INITIAL, "width": 1.5},
            hovertemplate=f"{index} %{{x}}: %{{y:.5f}}<extra></extra>",
            showlegend=False,
        )
        figure.add_trace(line, row=1, col=column)
        figure.update_xaxes(title=index, row=1, col=column)
    low, high = value_range(trace.spatial_map)
    heatmap = go.Heatmap(
        z=array(trace.spatial_map),
        zmin=low,
        zmax=high,
        colorscale=SEQUENTIAL,
        colorbar={"thickness": 10, "tickfont": {"color": INK, "size": 10}},
        hovertemplate="row %{y}, column %{x}: %{z:.5f}<extra></extra>",
    )
    figure.add_trace(heatmap, row=1, col=3)
    figure.update_xaxes(title="column", row=1, col=3)
    figure.update_yaxes(title="row", autorange="reversed", row=1, col=3)
    figure.update_yaxes(title="gate, in (0, 1)", row=1, col=1)
    return finish(figure, title, height=400)


def ca_figure(trace: CATrace, title: str) -> go.Figure:
    """The gates along the height and along the width, for every channel."""
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=["gate along the height", "gate along the width"],
        horizontal_spacing=0.12,
    )
    low, high = value_range(trace.h, trace.w)
    for column, (values, index) in enumerate(((trace.h, "row"), (trace.w, "column")), start=1):
        heatmap = go.Heatmap(
            z=array(values),
            zmin=low,
            zmax=high,
            colorscale=SEQUENTIAL,
            colorbar={"thickness": 10, "tickfont": {"color": INK, "size": 10}},
            showscale=column == 2,
            hovertemplate=f"channel %{{y}}, {index} %{{x}}: %{{z:.5f}}<extra></extra>",
        )
        figure.add_trace(heatmap, row=1, col=column)
        figure.update_xaxes(title=index, row=1, col=column)
    figure.update_yaxes(title="channel", autorange="reversed")
    return finish(figure, title, height=430)


FIGURES: dict[type, Callable[[Any, str], go.Figure]] = {
    DRTAMTrace: factors_figure,
    CBAMTrace: cbam_figure,
    CATrace: ca_figure,
}
