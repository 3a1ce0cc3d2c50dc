"""Maps as heatmaps whose cells can be read."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from viz.color import SEQUENTIAL
from viz.layout import INK, finish
from viz.overlay import value_range


def maps_figure(maps: dict[str, Tensor], title: str, *, shared: bool) -> go.Figure:
    """Maps side by side, cell by cell.

    Args:
        maps: (H, W) each, by the name that stands above it.
        title: above all.
        shared: one colour scale for all maps; otherwise each has its own range.
    """
    count = len(maps)
    spacing = 0.14 if count > 1 else 0
    figure = make_subplots(
        rows=1, cols=count, subplot_titles=list(maps), horizontal_spacing=spacing
    )
    width = (1 - spacing * (count - 1)) / count
    common = value_range(*maps.values())
    for i, (name, values) in enumerate(maps.items()):
        low, high = common if shared else value_range(values)
        figure.add_trace(
            go.Heatmap(
                z=values.detach().float().cpu().numpy(),
                zmin=low,
                zmax=high,
                colorscale=SEQUENTIAL,
                colorbar={
                    "x": i * (width + spacing) + width + 0.01,
                    "thickness": 10,
                    "tickfont": {"color": INK, "size": 10},
                    "nticks": 5,
                },
                hovertemplate=f"row %{{y}}, column %{{x}}: %{{z:.5f}}<extra>{name}</extra>",
            ),
            row=1,
            col=i + 1,
        )
        figure.update_xaxes(title="column", constrain="domain", row=1, col=i + 1)
        figure.update_yaxes(
            autorange="reversed",
            scaleanchor=f"x{i + 1}" if i else "x",
            constrain="domain",
            row=1,
            col=i + 1,
        )
    figure.update_yaxes(title="row", col=1)
    return finish(figure, title, height=430)
