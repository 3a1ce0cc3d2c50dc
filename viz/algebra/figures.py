"""The full figure of each node."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go

from viz.algebra.curves import factor_figure, logit_figure, mixed_figure, rtam_figure
from viz.algebra.nodes import NODES
from viz.algebra.panels import panels_figure
from viz.algebra.scene import Pass, Scene, split_key
from viz.algebra.tables import cut_panels, map_panels, outside_panels, pooled_panel


def node_figure(key: str, scene: Scene, layer: str) -> go.Figure:
    """The values of a node; its title says of which layer, and that a network is untrained."""
    title = " · ".join(filter(None, (NODES[key].title, layer, scene.note)))
    which, rest = split_key(key)
    if which is None:
        panels = outside_panels(rest, scene)
    elif rest == "rtam":
        return rtam_figure(scene, which, title)
    elif rest == "map":
        panels = map_panels(scene, which)
    else:
        axis, _, step = rest.partition(".")
        if step in VECTORS:
            return VECTORS[step](scene, which, axis, title)
        panels = (
            cut_panels(scene, which, axis) if step == "cut" else [pooled_panel(scene, which, axis)]
        )
    return panels_figure(panels, title, scene.photo)


VECTORS: dict[str, Callable[[Scene, Pass, str, str], go.Figure]] = {
    "mixed": mixed_figure,
    "logit": logit_figure,
    "factor": factor_figure,
}
