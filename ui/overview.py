"""Overview: what the network says, and where every layer looks."""

from __future__ import annotations

import gradio as gr
import plotly.graph_objects as go

from ui.compute import Photo
from ui.session import Session, view_of
from ui.tiles import MARK_SELECTED_LAYER, SEND_CLICKED_LAYER, Tile, tiles_html
from viz.scores import scores_figure


def build(session: Session) -> None:
    """The tab and its events."""
    with gr.Tab("Overview") as tab:
        scores = gr.Plot(show_label=False, elem_id="scores")
        gr.Markdown(
            "## Where each layer attends\n"
            "The attention map A, its mean over channels, in the order in which the layers run; "
            "DRTAM's A is the combined map A_I + (1 − A_I) A_C. Each map has its own colour "
            "range, printed below it. **Click a layer** and every tab follows."
        )
        film = gr.HTML(js_on_load=SEND_CLICKED_LAYER, elem_id="filmstrip")
    session.on_show(tab, draw, [scores, film])
    film.click(
        follow,
        session.revision,
        [session.layer, session.revision],
        show_progress="hidden",
        api_visibility="private",
    )
    session.layer.change(None, session.layer, js=MARK_SELECTED_LAYER)


def follow(revision: int, event: gr.EventData) -> tuple[str, int]:
    """The clicked layer, for every tab."""
    layer = getattr(event, "layer", None)
    if not isinstance(layer, str):
        raise gr.Error("There is no such layer: click a map.", print_exception=False)
    return layer, revision + 1


def draw(
    photo: Photo, network: str, size: int, target: int, layer: str | None
) -> tuple[go.Figure, str]:
    """Class scores and the filmstrip."""
    view = view_of(photo, network, size, target)
    title = " · ".join(["Class scores", *view.note.split()])
    tiles = [
        Tile(name, found.trace.spatial()[0], "attention map", view.note)
        for name, found in view.analysis.layers.items()
    ]
    chosen, _ = view.layer(layer)
    figure = scores_figure(view.analysis, view.classes, title)
    return figure, tiles_html(view.pixels, tiles, selected=chosen)
