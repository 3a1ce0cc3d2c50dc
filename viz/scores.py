"""Class scores."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from drtam.explain import Analysis
from viz.color import COMPLEMENT, INITIAL
from viz.layout import array, finish
from viz.text import percent, plain


def scores_figure(
    analysis: Analysis, classes: Sequence[str], title: str, count: int = 5
) -> go.Figure:
    """The ``count`` most probable classes as bars, the explained class in another colour.

    Args:
        analysis: of one image.
        classes: the name of each class, no two alike.
        title: above the bars.
        count: number of bars; the explained class is added where it is not among them.
    """
    probabilities = array(analysis.probabilities)
    target = int(analysis.target[0])
    best = [int(k) for k in probabilities.argsort()[::-1][:count]]
    shown = best if target in best else [*best, target]
    figure = go.Figure(
        go.Bar(
            x=probabilities[shown],
            y=[f"{plain(classes[k])} " for k in shown],
            orientation="h",
            marker_color=[COMPLEMENT if k == target else INITIAL for k in shown],
            text=[plain(percent(probabilities[k])) for k in shown],
            hovertemplate="%{y}: %{x:.4f}<extra></extra>",
            cliponaxis=False,
        )
    )
    figure.update_xaxes(title="probability", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", type="category", tickfont={"size": 13})
    return finish(figure, title, height=110 + 30 * len(shown)).update_layout(
        margin={"t": 50, "r": 60}
    )
