"""The descriptors of a feature and of its residual."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from drtam import DRTAMTrace
from drtam.explain import ResidualCheck
from viz.color import DIVERGING
from viz.layout import INK, array, finish

AXES = (("ch", "row", "channel"), ("cw", "column", "channel"), ("hw", "column", "row"))
COLUMNS = ("of X", "of the residual (Eqn 12-14)")


def descriptors_figure(trace: DRTAMTrace, check: ResidualCheck, title: str) -> go.Figure:
    """X_ch, X_cw and X_hw: of X, of the residual, and the latter's difference to exact pooling.

    The first two columns share a colour scale in each row, so that what the initial attention
    took away is visible; the difference has its own. All are symmetric around 0.
    """
    errors = check.error[0].tolist()
    titles = []
    for (name, _, _), error in zip(AXES, errors, strict=True):
        titles += [f"X_{name} {what}" for what in COLUMNS]
        titles.append(f"error of X_{name}: {error:.2%} of its norm")
    figure = make_subplots(
        rows=3, cols=3, subplot_titles=titles, horizontal_spacing=0.1, vertical_spacing=0.1
    )
    for row, (name, across, down) in enumerate(AXES, start=1):
        before = getattr(trace.descriptors, name)
        after = getattr(trace.residual, name)
        difference = after - getattr(check.exact, name)
        for column, values in enumerate((before, after, difference), start=1):
            limit = max(float(v.abs().max()) for v in (before, after))
            if column == 3:
                limit = float(difference.abs().max())
            heatmap = _heatmap(values, max(limit, 1e-12), f"{down} %{{y}}, {across} %{{x}}")
            position = figure.get_subplot(row, column)
            x_domain, y_domain = position.xaxis.domain, position.yaxis.domain
            heatmap.colorbar.update(
                x=x_domain[1] + 0.005,
                y=sum(y_domain) / 2,
                len=y_domain[1] - y_domain[0],
            )
            figure.add_trace(heatmap, row=row, col=column)
            figure.update_xaxes(title=across, row=row, col=column)
            figure.update_yaxes(title=down, autorange="reversed", row=row, col=column)
    return finish(figure, title, height=1050)


def _heatmap(values: Tensor, limit: float, where: str) -> go.Heatmap:
    return go.Heatmap(
        z=array(values),
        zmin=-limit,
        zmax=limit,
        colorscale=DIVERGING,
        colorbar={"thickness": 8, "tickfont": {"color": INK, "size": 9}, "nticks": 5},
        hovertemplate=f"{where}: %{{z:.5f}}<extra></extra>",
    )
