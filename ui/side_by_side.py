"""A and B: two photos, two networks, or both, at the same layer and on one colour scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import gradio as gr
from torch import Tensor

from drtam.explain import difference, rank_correlation
from ui.compute import Photo, View
from ui.layer import OWN, SHARED
from ui.session import Session, view_of
from ui.tiles import Tile, cam_tile, tiles_html
from ui.variants import counterpart
from viz.overlay import value_range
from viz.text import percent, plain

EXPLANATION = """
**A** is what the page shows now. Pin it as **B**, then choose another photo, network, class or
resolution: both are drawn at the same layer, and what differs between them."""
SHOWN = 4  # classes of each
MAP, CAM = "attention map", "Grad-CAM"


@dataclass(frozen=True)
class Pinned:
    """What a visitor keeps as B."""

    photo: Photo
    network: str
    size: int
    target: int


def build(session: Session) -> None:
    """The tab and its events."""
    with gr.Tab("A and B") as tab:
        pinned = gr.State(None)  # inside: Gradio numbers all children of the tabs
        gr.Markdown(EXPLANATION)
        with gr.Row():
            pin = gr.Button("Pin what the page shows as B", elem_id="pin")
            scale = gr.Radio([SHARED, OWN], value=SHARED, label="Colour range")
        about = gr.Markdown(elem_id="sides-about")
        maps = gr.HTML(elem_id="sides-maps")
        cams = gr.HTML(elem_id="sides-cams")
    pin.click(
        lambda *values: (Pinned(*values[:-1]), values[-1] + 1),
        [session.photo, session.network, session.size, session.target, session.revision],
        [pinned, session.revision],
        api_visibility="private",
    )
    session.on_show(
        tab, draw, [about, maps, cams], controls=[scale], reads=[pinned], runs_network=True
    )


def draw(
    photo: Photo,
    network: str,
    size: int,
    target: int,
    layer: str | None,
    scale: str,
    pinned: Pinned | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes it
) -> tuple[str, str, str]:
    """What A and B are, their maps, and their Grad-CAMs."""
    if pinned is None:
        return "Nothing is pinned as B yet.", "", ""
    progress(0.1, desc="Analysing A and B")
    a = view_of(photo, network, size, target)
    b = view_of(pinned.photo, pinned.network, pinned.size, pinned.target)
    name, first = a.layer(layer)
    other = counterpart(b, name, a)
    second = b.analysis.layers[other]
    maps = first.trace.spatial()[0], second.trace.spatial()[0]
    cams = first.gradcam[0], second.gradcam[0]
    names = [f"A: {name}", f"B: {other}"]
    explained = [
        f"{side}: Grad-CAM, {view.classes[int(view.analysis.target[0])]}"
        for side, view in (("A", a), ("B", b))
    ]
    return (
        describe(a, b, rank_correlation(*maps)),
        tiles_of((a, b), maps, names, MAP, shared=scale == SHARED),
        tiles_of((a, b), cams, explained, CAM, shared=scale == SHARED),
    )


def describe(a: View, b: View, correlation: float) -> str:
    """Which networks, how alike their maps are, and the classes that either ranks first."""
    best: dict[str, None] = {}
    probabilities = []
    for view in (a, b):
        found = dict(zip(view.classes, view.analysis.probabilities[0].tolist(), strict=False))
        best |= dict.fromkeys(sorted(found, key=lambda k: -found[k])[:SHOWN])
        probabilities.append(found)
    alike = f"**{round(correlation, 3) + 0:.3f}**"
    if math.isnan(correlation):
        alike = "none, as one of them is the same everywhere"
    lines = [
        f"- **A**: {a.label}",
        f"- **B**: {b.label}",
        f"- Rank correlation (Spearman) of the two maps: {alike}",
        "",
        "| class | A | B |",
        "|---|--:|--:|",
    ]
    for name in best:
        cells = [plain(percent(found[name])) if name in found else "–" for found in probabilities]
        lines.append(f"| {plain(name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tiles_of(
    views: tuple[View, View],
    maps: tuple[Tensor, Tensor],
    names: list[str],
    what: str,
    *,
    shared: bool,
) -> str:
    """A's map, B's map, each over its own photo, and A − B over A's."""
    limits = value_range(*maps) if shared else None
    tiles = [
        Tile(name, values, what, view.note, limits, photo=view.pixels)
        for name, values, view in zip(names, maps, views, strict=True)
    ]
    if what == CAM:
        tiles = [cam_tile(t, view.analysis) for t, view in zip(tiles, views, strict=True)]
    notes = " ".join(dict.fromkeys(view.note for view in views if view.note))
    tiles.append(Tile("A − B", difference(*maps), f"difference, {what}", notes, signed=True))
    return tiles_html(views[0].pixels, tiles)
