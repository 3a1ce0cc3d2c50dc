"""Variants: the same photo through a network with other S, N, r, attention or backbone."""

from __future__ import annotations

import gradio as gr

from models.paper import find_row
from ui.compute import Photo, View, explain
from ui.networks import ATTENTION_NAMES, BACKBONE_NAMES, Source, Untrained, cost, load
from ui.session import Session, source_of, view_of
from ui.tiles import Tile, tiles_html


def build(session: Session) -> None:
    """The tab and its events."""
    with gr.Tab("Variants") as tab:
        gr.Markdown(
            "Rebuild the network with other hyper-parameters. A variant is **untrained**: its "
            "weights are random, the same for the same seed, and its maps show how S, N and r "
            "shape the mechanism, not what a trained network would attend to."
        )
        with gr.Row():
            backbone = gr.Dropdown(
                [(name, key) for key, name in BACKBONE_NAMES.items()],
                value="resnet50",
                label="Backbone",
            )
            attention = gr.Radio(
                [(name, key) for key, name in ATTENTION_NAMES.items()],
                value="drtam",
                label="Attention",
            )
        with gr.Row():
            s = gr.Slider(1, 16, value=4, step=1, label="S, chunks along H and W")
            n = gr.Slider(1, 64, value=1, step=1, label="N, chunks along C")
            r = gr.Slider(1, 128, value=32, step=1, label="r, reduction ratio")
            seed = gr.Slider(0, 99, value=0, step=1, label="Seed of the weights")
        tiles = gr.HTML(elem_id="variants-tiles")
        table = gr.Markdown(elem_id="variants-table")
    session.on_show(
        tab,
        draw,
        [tiles, table],
        controls=[backbone, attention, s, n, r, seed],
        runs_network=True,
    )


def counterpart(view: View, layer: str, of: View) -> str:
    """The layer of ``view`` that stands for ``layer`` of another network.

    The one of the same name, or else the one at the same relative depth.
    """
    names, others = list(view.analysis.layers), list(of.analysis.layers)
    if layer in names:
        return layer
    depth = others.index(layer) / max(1, len(others) - 1)
    return names[round(depth * (len(names) - 1))]


def cost_row(view: View, source: Source) -> str:
    """A row of the table: parameters, GFLOPs, and the paper's row where it has one."""
    counted = cost(source)
    row = find_row(load(source).spec)
    printed = ["–"] * 4
    if row is not None:
        printed = [
            f"{row.row} (Table {row.table})",
            f"{row.params:.2f} M",
            f"{row.gflops:.2f}",
            f"{row.top1:.3f} %",
        ]
    cells = [view.label, f"{counted.params / 1e6:.2f} M", f"{counted.gflops:.2f}", *printed]
    return f"| {' | '.join(cells)} |"


def draw(
    photo: Photo,
    network: str,
    size: int,
    target: int,
    layer: str | None,
    backbone: str,
    attention: str,
    s: int,
    n: int,
    r: int,
    seed: int,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes it
) -> tuple[str, str]:
    """The current network's map beside the variant's, and what both cost."""
    progress(0.1, desc="Building the variant and analysing the photo with it")
    source = Untrained(backbone, attention, int(s), int(n), int(r), int(seed))
    current = view_of(photo, network, size, target)
    variant = explain(photo, source, int(size), None)
    name, found = current.layer(layer)
    other = counterpart(variant, name, current)
    changed = variant.analysis.layers[other]
    tiles = [
        Tile(f"now: {name}", found.trace.spatial()[0], current.note),
        Tile(f"variant: {other}", changed.trace.spatial()[0], variant.note),
        Tile("now: Grad-CAM", found.gradcam[0], current.note),
        Tile("variant: Grad-CAM", changed.gradcam[0], variant.note),
    ]
    head = [
        "| network | parameters | GFLOPs at 224×224 | the paper's row | its Param. "
        "| its GFLOPs | its top-1 |",
        "|---|---|---|---|---|---|---|",
    ]
    return tiles_html(current.pixels, tiles), "\n".join(
        [*head, cost_row(current, source_of(network)), cost_row(variant, source)]
    )
