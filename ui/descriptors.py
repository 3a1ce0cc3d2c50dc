"""Descriptors: what DRTAM keeps of a feature, and how well it knows the residual."""

from __future__ import annotations

from typing import Any

import gradio as gr

from drtam import DRTAMTrace
from ui.compute import Photo
from ui.session import Session, view_of
from viz.descriptors import descriptors_figure

EXPLANATION = """
DRTAM never looks at the feature X itself, only at three means of it. The complement attention
sees the same three of the residual X (1 − A_I), which Eqn 12-14 compute from the descriptors
and the factors alone. The third column is what that shortcut costs: the difference to pooling
X (1 − A_I) exactly, with its norm relative to the exact descriptor's."""


def build(session: Session) -> None:
    """The tab and its events."""
    with gr.Tab("Descriptors") as tab:
        text = gr.Markdown(EXPLANATION, elem_id="descriptors-text")
        figure = gr.Plot(show_label=False, elem_id="descriptors-figure")
    session.on_show(tab, draw, [text, figure])


def draw(photo: Photo, network: str, size: int, target: int, layer: str | None) -> tuple[str, Any]:
    """The descriptors of the layer; a sentence where it has none."""
    view = view_of(photo, network, size, target)
    name, found = view.layer(layer)
    if not isinstance(found.trace, DRTAMTrace) or found.residual is None:
        return f"{view.label} has no descriptors: only DRTAM does.", None
    title = view.titled(f"Descriptors of {name}", view.label)
    return EXPLANATION, descriptors_figure(found.trace, found.residual, title)
