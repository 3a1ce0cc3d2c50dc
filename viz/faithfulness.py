"""Curves of deletion, insertion and ROAD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from drtam.explain import Curves
from viz.color import COMPLEMENT, INITIAL, NEUTRAL
from viz.layout import finish


@dataclass(frozen=True)
class Style:
    """How the curve of one kind of map is drawn; no two differ in colour alone."""

    label: str
    color: str
    dash: str
    symbol: str


STYLES = {  # by the names in ``Faithfulness``; apart for the colour-blind too
    "combined": Style("attention map", "#aa3377", "solid", "circle"),
    "initial": Style("A_I (initial)", INITIAL, "solid", "square"),
    "complement": Style("A_C (complement)", COMPLEMENT, "solid", "diamond"),
    "gradcam": Style("Grad-CAM", "#00a8f0", "solid", "cross"),
    "random": Style("random map", NEUTRAL, "dot", "x"),
    "centre": Style("centre blob", NEUTRAL, "dash", "circle-open"),
}


def curves_figure(
    panels: Mapping[str, Mapping[str, Curves]], title: str, *, across: str, up: str
) -> go.Figure:
    """One panel for each network, one line for each of its maps, all on one scale.

    Args:
        panels: by network, by the map's name in ``STYLES``, the curve of that map alone.
        title: above all.
        across: what the fractions are of.
        up: what the curves are.
    """
    figure = make_subplots(
        rows=1,
        cols=len(panels),
        subplot_titles=list(panels),
        shared_yaxes=True,
        horizontal_spacing=0.04,
    )
    legend = set()
    for column, curves in enumerate(panels.values(), start=1):
        for name, curve in curves.items():
            line = _line(name, curve, showlegend=name not in legend)
            figure.add_trace(line, row=1, col=column)
            legend.add(name)
    figure.update_xaxes(title=across, tickformat=".0%", range=[-0.03, 1.03])
    figure.update_yaxes(rangemode="tozero", exponentformat="e")
    figure.update_yaxes(title=up, col=1)
    finish(figure, title, height=420)
    return figure.update_layout(
        margin={"t": 70, "b": 110},
        legend={"y": -0.28, "yanchor": "top", "x": 0, "xanchor": "left"},
    )


def _line(name: str, curve: Curves, *, showlegend: bool) -> go.Scatter:
    style = STYLES[name]
    return go.Scatter(
        x=curve.fractions.numpy(),
        y=curve.probabilities[0].float().numpy(),
        name=style.label,
        legendgroup=name,
        showlegend=showlegend,
        mode="lines+markers",
        line={"color": style.color, "width": 1.8, "dash": style.dash},
        marker={"symbol": style.symbol, "size": 7},
        hovertemplate=f"%{{x:.0%}}: %{{y:.5f}}<extra>{style.label}</extra>",
    )
