"""What all figures have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from torch import Tensor

from viz.words import describe

INK = "#7f7f7f"  # readable on white and on black
GRID = "rgba(127,127,127,0.25)"
SHORT = 10  # entries of an axis on which Plotly would also count halves


def array(values: Tensor) -> npt.NDArray[np.float32]:
    """The first of a batch, as float32: Plotly sends such arrays packed."""
    return values[0].detach().float().cpu().numpy()


def _tidy(figure: go.Figure, trace: Any) -> None:
    """Whole numbers on short axes of indices; of a map that is the same everywhere its value."""
    across, down = trace.xaxis or "x", trace.yaxis or "y"
    lengths: dict[str, int] = {}
    if trace.type == "heatmap" and trace.x is None:
        lengths[down], lengths[across] = np.shape(trace.z)
        if trace.zmin is not None and trace.zmin == trace.zmax:
            trace.update(zmax=trace.zmin + 1, colorbar={"tickvals": [trace.zmin]})
    elif trace.type == "scatter" and trace.x is None:
        lengths[across] = len(trace.y)
    for name, length in lengths.items():
        axis = figure.layout[f"{name[0]}axis{name[1:]}"]
        if length <= SHORT and axis.tickvals is None:
            axis.update(dtick=1, tick0=0)


def finish(figure: go.Figure, title: str, height: int) -> go.Figure:
    """Title, height, colours that suit a light and a dark page, and in ``meta`` what it shows."""
    figure.update_layout(
        title={"text": title, "font": {"size": 15}, "x": 0, "xref": "paper", "xanchor": "left"},
        height=height,
        margin={"l": 60, "r": 20, "t": 80, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK},
        legend={"orientation": "h", "y": 1.08, "yanchor": "bottom", "x": 1, "xanchor": "right"},
        template="none",
    )
    figure.update_layout(meta={"description": describe(figure)})
    for trace in figure.data:
        _tidy(figure, trace)
    figure.update_xaxes(gridcolor=GRID, zerolinecolor=GRID, automargin=True, title_standoff=8)
    figure.update_yaxes(gridcolor=GRID, zerolinecolor=GRID, automargin=True)
    return figure
