"""What interventions do to the class scores, and in which layer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from drtam.explain import Ablation
from viz.color import AFTER, NEUTRAL
from viz.layout import array, finish
from viz.text import plain


def paired_scores_figure(
    ablation: Ablation, classes: Sequence[str], title: str, count: int = 4
) -> go.Figure:
    """The ``count`` most probable classes before and after, and the target, as pairs of bars.

    Args:
        ablation: of one image.
        classes: the name of each class, no two alike.
        title: above the bars.
        count: number of classes from either side.
    """
    before, after = array(ablation.before.probabilities), array(ablation.after.probabilities)
    known = max(len(before), len(after))  # a detector lists no class beyond those it found
    before, after = (np.pad(p, (0, known - len(p))) for p in (before, after))
    best = [int(k) for p in (before, after) for k in p.argsort()[::-1][:count]]
    shown = sorted({*best, int(ablation.before.target[0])}, key=lambda k: -before[k])
    figure = go.Figure()
    for name, values, color in (("before", before, NEUTRAL), ("after", after, AFTER)):
        figure.add_trace(
            go.Bar(
                x=values[shown],
                y=[f"{plain(classes[k])} " for k in shown],
                name=name,
                orientation="h",
                marker_color=color,
                text=[f"{values[k]:.3%}" for k in shown],
                textposition="outside",
                hovertemplate=f"%{{y}} {name}: %{{x:.4f}}<extra></extra>",
                cliponaxis=False,
            )
        )
    figure.update_xaxes(title="probability", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", type="category", tickfont={"size": 13})
    finish(figure, title, height=140 + 44 * len(shown))
    return figure.update_layout(margin={"r": 70}, bargap=0.25)


def layer_effects_figure(
    effects: Mapping[str, float], changed: Collection[str], title: str
) -> go.Figure:
    """A bar for each layer, in the order of the network.

    Args:
        effects: by layer, the change of the target's log-probability when that layer alone is
            changed; without a bar where it is not finite.
        changed: the layers whose bars are coloured.
        title: above the bars.
    """
    figure = go.Figure(
        go.Bar(
            x=[value if math.isfinite(value) else None for value in effects.values()],
            y=[f"{name} " for name in effects],
            orientation="h",
            marker_color=[AFTER if name in changed else NEUTRAL for name in effects],
            marker_pattern_shape=["/" if name in changed else "" for name in effects],
            hovertemplate="%{y}alone: %{x:.6f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="change of the target's log-probability", nticks=6)
    figure.update_yaxes(autorange="reversed", type="category", dtick=1)
    return finish(figure, title, height=130 + 20 * len(effects))
