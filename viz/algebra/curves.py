"""The nodes whose values are vectors: convolved, normalised, factors."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from viz.algebra.panels import FOLLOWED, Panel, add_panel
from viz.algebra.scene import INDEX, MARKS, Pass, Scene
from viz.algebra.tables import pooled_panel
from viz.algebra.thumbnails import COLORS
from viz.color import NEUTRAL
from viz.layout import array, finish


def mixed_figure(scene: Scene, which: Pass, axis: str, title: str) -> go.Figure:
    """The convolution's weights beside the rows of P that they mix, and S below."""
    found = scene.embedding(which, axis)
    taps = found.weight.shape[1]
    panel = pooled_panel(scene, which, axis)
    figure = make_subplots(
        rows=2,
        cols=2,
        column_widths=[0.22, 0.78],
        row_heights=[0.62, 0.38],
        horizontal_spacing=0.07,
        vertical_spacing=0.2,
        subplot_titles=["weights", panel.title, f"S<sub>{axis}</sub>"],
        specs=[[{}, {}], [None, {}]],
    )
    across = "" if taps == 1 else f"{INDEX[axis]} before, itself, after"
    weights = Panel("", found.weight[None], across, "", labels=panel.labels)
    add_panel(figure, weights, 1, 1)
    figure.data[0].update(texttemplate="%{z:.2f}", textfont={"size": 10}, showscale=False)
    figure.update_xaxes(showticklabels=False, row=1, col=1)
    add_panel(figure, panel, 1, 2)
    figure.update_yaxes(showticklabels=False, row=1, col=2)
    _add_curve(figure, found.mixed, scene, which, axis, row=2, column=2)
    return finish(figure, title, height=560)


def logit_figure(scene: Scene, which: Pass, axis: str, title: str) -> go.Figure:
    """S and what the MLP or the batch norm makes of it."""
    found = scene.embedding(which, axis)
    if found.hidden is None:
        names = [f"S<sub>{axis}</sub>", f"BN(S<sub>{axis}</sub>)"]
        curves = [found.mixed, found.logit]
    else:
        width = found.hidden.shape[1]
        names = ["S<sub>c</sub>", f"hidden: ReLU(F<sub>0</sub>), {width} wide", "F<sub>1</sub>"]
        curves = [found.normed, found.hidden, found.logit]
    figure = make_subplots(rows=1, cols=len(names), subplot_titles=names, horizontal_spacing=0.08)
    for column, (values, name) in enumerate(zip(curves, names, strict=True), start=1):
        if name.startswith("hidden"):
            bars = go.Bar(y=array(values), marker_color=COLORS[which], showlegend=False)
            figure.add_trace(bars, row=1, col=column)
            figure.update_xaxes(title="hidden unit", row=1, col=column)
        else:
            _add_curve(figure, values, scene, which, axis, column=column)
    return finish(figure, title, height=400)


def factor_figure(scene: Scene, which: Pass, axis: str, title: str) -> go.Figure:
    """Every value on the sigmoid, and the factor along its axis."""
    found, color = scene.embedding(which, axis), COLORS[which]
    name = f"{axis}<sub>{MARKS[which]}</sub>"
    figure = make_subplots(
        rows=1,
        cols=2,
        column_widths=[0.35, 0.65],
        subplot_titles=["the sigmoid", name],
        horizontal_spacing=0.12,
    )
    reach = max(4.0, float(found.logit.abs().max()))
    xs = np.linspace(-reach, reach, 81, dtype=np.float32)
    curve = go.Scatter(x=xs, y=1 / (1 + np.exp(-xs)), line={"color": NEUTRAL, "width": 1})
    on_it = go.Scatter(
        x=array(found.logit),
        y=array(found.factor),
        mode="markers",
        marker={"color": color, "size": 6, "opacity": 0.5},
        hovertemplate="σ(%{x:.5f}) = %{y:.5f}<extra></extra>",
    )
    for trace in (curve, on_it):
        figure.add_trace(trace.update(showlegend=False), row=1, col=1)
    figure.update_xaxes(title="before", row=1, col=1)
    figure.update_yaxes(title="after, in (0, 1)", row=1, col=1)
    _add_curve(figure, found.factor, scene, which, axis, column=2)
    return finish(figure, title, height=400)


def rtam_figure(scene: Scene, which: Pass, title: str) -> go.Figure:
    """The three factors."""
    names = [f"{axis}<sub>{MARKS[which]}</sub>" for axis in "chw"]
    figure = make_subplots(rows=1, cols=3, subplot_titles=names, horizontal_spacing=0.08)
    for column, axis in enumerate("chw", start=1):
        factor = scene.embedding(which, axis).factor
        _add_curve(figure, factor, scene, which, axis, column=column)
    return finish(figure, title, height=400)


def _add_curve(
    figure: go.Figure,
    values: Tensor,
    scene: Scene,
    which: Pass,
    axis: str,
    *,
    row: int = 1,
    column: int = 1,
) -> None:
    """Values along C, H or W, with the followed index marked."""
    at = dict(zip("chw", scene.cell, strict=True))[axis]
    drawn = array(values)
    line = go.Scatter(
        y=drawn,
        mode="lines" if len(drawn) > 64 else "lines+markers",
        line={"color": COLORS[which], "width": 1.5},
        hovertemplate=f"{INDEX[axis]} %{{x}}: %{{y:.5f}}<extra></extra>",
        showlegend=False,
    )
    followed = go.Scatter(
        x=[at],
        y=[drawn[at]],
        mode="markers",
        marker={"color": FOLLOWED, "size": 11, "symbol": "circle-open", "line": {"width": 2}},
        hovertemplate=f"followed: {INDEX[axis]} %{{x}}: %{{y:.5f}}<extra></extra>",
        showlegend=False,
    )
    for trace in (line, followed):
        figure.add_trace(trace, row=row, col=column)
    figure.update_xaxes(title=INDEX[axis], row=row, col=column)
