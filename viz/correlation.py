"""How alike several maps rank the positions of a photo."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from viz.color import DIVERGING
from viz.layout import INK, finish


def correlation_figure(
    names: Sequence[str], correlations: Sequence[Sequence[float]], title: str
) -> go.Figure:
    """Rank correlations in [-1, 1] as a matrix with its numbers; NaN where one map is constant."""
    if any(math.isnan(v) for row in correlations for v in row):
        title += "; –: a map is the same everywhere"
    text = [
        ["–" if math.isnan(v) else f"{round(v, 2) + 0:.2f}" for v in row] for row in correlations
    ]
    figure = go.Figure(
        go.Heatmap(
            z=correlations,
            x=names,
            y=names,
            zmin=-1,
            zmax=1,
            colorscale=DIVERGING,
            text=text,
            texttemplate="%{text}",
            colorbar={"thickness": 10, "tickfont": {"color": INK, "size": 10}},
            hovertemplate="%{y} and %{x}: %{z:.4f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed")
    return finish(figure, title, height=460)
