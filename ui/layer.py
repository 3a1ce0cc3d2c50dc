"""Layer: the factors and the maps of one attention layer."""

from __future__ import annotations

from typing import Any

import gradio as gr
import plotly.graph_objects as go
from torch import Tensor

from drtam.explain import LayerAnalysis, named_maps
from ui.compute import Photo
from ui.session import Session, corrected, view_of
from ui.tiles import Tile, tiles_html
from viz.gates import gates_figure
from viz.maps import maps_figure
from viz.report import titles

MEAN, INDEX, RANK = "mean over channels", "one channel, by its number", "one channel, by its rank"
OWN, SHARED = "each map its own", "shared by all maps"


def build(session: Session) -> None:
    """The tab and its events."""
    with gr.Tab("Layer") as tab:
        with gr.Row():
            mode = gr.Radio([MEAN, INDEX, RANK], value=MEAN, label="Channels of the maps")
            channel = gr.Slider(
                0, 2047, value=0, step=1, label="Channel or rank (0: most attended)"
            )
            scale = gr.Radio([OWN, SHARED], value=OWN, label="Colour range")
        tiles = gr.HTML(elem_id="layer-tiles")
        summary = gr.Markdown(elem_id="layer-summary")
        maps = gr.Plot(show_label=False, elem_id="layer-maps")
        factors = gr.Plot(show_label=False, elem_id="layer-factors")
    session.on_show(
        tab, draw, [tiles, summary, maps, factors, channel], controls=[mode, channel, scale]
    )


def draw(
    photo: Photo,
    network: str,
    size: int,
    target: int,
    layer: str | None,
    mode: str,
    channel: int,
    scale: str,
) -> tuple[str, str, go.Figure, go.Figure, Any]:
    """Maps over the photo, their statistics, their cells, the factors, the slider's range."""
    view = view_of(photo, network, size, target)
    name, found = view.layer(layer)
    named = titles(found.trace)
    full = {named[key]: value for key, value in named_maps(found.trace).items()}
    channels = next(iter(full.values())).shape[1]
    known = min(int(channel), channels - 1)
    shown, what = chosen_channel(full, mode, known)
    limits = None
    if scale == SHARED:
        limits = (
            min(float(m.min()) for m in shown.values()),
            max(float(m.max()) for m in shown.values()),
        )
    tiles = [
        Tile(key, value, f"map of {name}, {what}", view.note, limits)
        for key, value in shown.items()
    ]
    return (
        tiles_html(view.pixels, tiles),
        summary_of(found, what),
        maps_figure(shown, view.titled(f"Maps, {what}", name, view.label), shared=scale == SHARED),
        gates_figure(found.trace, view.titled(name, view.label)),
        gr.update(maximum=channels - 1, **corrected(channel, known)),
    )


def chosen_channel(
    full: dict[str, Tensor], mode: str, channel: int
) -> tuple[dict[str, Tensor], str]:
    """The maps (H, W) of the mean or of one channel, and which one that is."""
    if mode == MEAN:
        return {name: value[0].mean(0) for name, value in full.items()}, MEAN
    combined = next(iter(full.values()))[0]
    if mode == RANK:
        rank = channel
        channel = int(combined.mean((1, 2)).argsort(descending=True)[rank])
        what = f"channel {channel}, rank {rank} of {len(combined)} by its mean attention"
    else:
        what = f"channel {channel} of {len(combined)}"
    return {name: value[0, channel] for name, value in full.items()}, what


def summary_of(found: LayerAnalysis, what: str) -> str:
    """The layer's statistics as a Markdown table."""
    lines = [
        f"Shown: **{what}**. Over all channels:",
        "",
        "| map | mean | spread | entropy of its mean over channels (1 = even) |",
        "|---|---|---|---|",
    ]
    named = titles(found.trace)
    for name, numbers in found.statistics.items():
        cells = [f"{float(v):.4f}" for v in (numbers.mean, numbers.spread)]
        lines.append(f"| {named[name]} | {' | '.join(cells)} | {float(numbers.entropy):.6f} |")
    if found.added is not None:
        lines += ["", f"A_C adds **{float(found.added):.1%}** of the combined map's mean to A_I."]
    return "\n".join(lines)
