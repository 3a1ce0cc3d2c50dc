"""Variants: the same photo through a network with other S, N, r, attention or backbone."""

from __future__ import annotations

from typing import Any

import gradio as gr

from models.build import Placement
from models.paper import READINGS, find_row
from ui import checkpoints
from ui.compute import Photo, View, explain
from ui.networks import ATTENTION_NAMES, BACKBONE_NAMES, Source, Untrained, cost, spec_of
from ui.session import Session, source_of, view_of
from ui.tiles import Tile, cam_tile, tiles_html
from ui.variant_key import SEEDS, key_of

MAP, CAM = "attention map", "Grad-CAM"  # for who cannot see them
NONE = "none"  # of the attentions: the plain backbone
PLACEMENTS = {"block": "in every block", "stage": "after the stem and each stage (ResNet)"}


def build(session: Session) -> tuple[list[gr.Dropdown | gr.Radio | gr.Slider], Any]:
    """The tab and its events.

    Returns:
        Its controls, in the order of ``Untrained``, and the event after which the network
        dropdown shows the variant.
    """
    with gr.Tab("Variants", id="Variants") as tab:
        gr.Markdown(
            "Rebuild the network with other hyper-parameters. A variant is **untrained**: its "
            "weights are random, the same for the same seed, and its maps show how S, N and r "
            "shape the mechanism, not what a trained network would attend to."
        )
        with gr.Row():
            backbone = gr.Dropdown(
                [(name, key) for key, name in BACKBONE_NAMES.items()],
                value="resnet50",
                label="Network",
                elem_id="variants-backbone",
            )
            attention = gr.Radio(
                [*((name, key) for key, name in ATTENTION_NAMES.items()), NONE],
                value="drtam",
                label="Attention",
            )
            placement = gr.Radio(
                [(name, key) for key, name in PLACEMENTS.items()],
                value="block",
                label="Where it stands",
            )
        with gr.Row():
            s = gr.Slider(1, 16, value=4, step=1, label="S, chunks along H and W")
            n = gr.Slider(1, 64, value=1, step=1, label="N, chunks along C")
            r = gr.Slider(1, 128, value=32, step=1, label="r, reduction ratio")
            seed = gr.Slider(*SEEDS, value=0, step=1, label="Seed of the weights")
        choose = gr.Button("Show this variant in every tab", elem_id="variants-use")
        tiles = gr.HTML(elem_id="variants-tiles")
        table = gr.Markdown(elem_id="variants-table")
    controls: list[gr.Dropdown | gr.Radio | gr.Slider] = [
        backbone,
        attention,
        s,
        n,
        r,
        seed,
        placement,
    ]
    session.on_show(tab, draw, [tiles, table], controls=controls, runs_network=True)
    chosen = choose.click(use, controls, session.network, api_visibility="private")
    return controls, chosen.success


def use(
    backbone: str, attention: str, s: int, n: int, r: int, seed: int, placement: Placement
) -> gr.Dropdown:
    """The variant as the network of all tabs."""
    if attention == NONE:
        raise gr.Error(
            "A plain network has no attention to show: choose one first.", print_exception=False
        )
    source = Untrained(backbone, attention, int(s), int(n), int(r), int(seed), placement)
    try:
        return checkpoints.select(source.label, key_of(source))
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error


def counterpart(view: View, layer: str, of: View) -> str:
    """The layer of ``view`` that stands for ``layer`` of another network.

    The one of the same name, or else the one at the same relative depth.
    """
    names, others = list(view.analysis.layers), list(of.analysis.layers)
    if layer in names:
        return layer
    depth = others.index(layer) / max(1, len(others) - 1)
    return names[round(depth * (len(names) - 1))]


def costs_table(*sources: Source) -> str:
    """Parameters and GFLOPs of networks, the paper's rows beside them, and how it counts."""
    lines = [
        "| network | parameters | GFLOPs | the paper's row | its Param. | its GFlops "
        "| its accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    readings = []
    for source in sources:
        counted, side = cost(source)
        cells = [
            source.label,
            f"{counted.params / 1e6:.2f} M",
            f"{counted.gflops:.2f} at {side}×{side}",
        ]
        row = find_row(spec_of(source))
        if row is None:
            cells += ["–"] * 4
        else:
            params, gflops, accuracy, *_ = row.printed().items()
            cells += [f"{row.row} (Table {row.table})", f"{params[1]} M", gflops[1]]
            cells.append(f"{accuracy[1]} {accuracy[0]}")
            readings.append(READINGS.get(row.table, ""))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *dict.fromkeys(readings)])


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
    placement: Placement,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes it
) -> tuple[str, str]:
    """The current network's map beside the variant's, and what both cost."""
    progress(0.1, desc="Building the variant and analysing the photo with it")
    kind = None if attention == NONE else attention
    source = Untrained(backbone, kind, int(s), int(n), int(r), int(seed), placement)
    current = view_of(photo, network, size, target)
    try:
        variant = explain(photo, source, int(size), None) if kind else None
        table = costs_table(source_of(network), source)
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error
    tiles, remark = tiles_of(current, variant, layer)
    return tiles_html(current.pixels, tiles), f"{remark}\n\n{table}"


def tiles_of(current: View, variant: View | None, layer: str | None) -> tuple[list[Tile], str]:
    """Map and Grad-CAM of both networks, and why one may be missing."""
    name, found = current.layer(layer)
    now = Tile(f"now: {name}", found.trace.spatial()[0], MAP, current.note)
    cam = cam_tile(Tile("now: Grad-CAM", found.gradcam[0], CAM, current.note), current.analysis)
    if variant is None:
        return [now, cam], "The plain network has no attention, hence no map."
    other = counterpart(variant, name, current)
    changed = variant.analysis.layers[other]
    then = Tile(f"variant: {other}", changed.trace.spatial()[0], MAP, variant.note)
    if not variant.analysis.probabilities.max() > 0:
        return [now, then, cam], "The untrained detector finds nothing, hence no Grad-CAM."
    variant_cam = Tile("variant: Grad-CAM", changed.gradcam[0], CAM, variant.note)
    return [now, then, cam, cam_tile(variant_cam, variant.analysis)], ""
