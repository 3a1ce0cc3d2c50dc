"""Compare: DRTAM, CBAM and CA at the same layer of the same backbone, for the same photo."""

from __future__ import annotations

import gradio as gr
import plotly.graph_objects as go

from drtam.explain import LayerAnalysis, rank_correlation
from ui.compute import Photo, View, explain
from ui.layer import OWN, SHARED
from ui.networks import ATTENTION_NAMES, load, rivals
from ui.session import Session, source_of, view_of
from ui.tiles import Tile, cam_tile, tiles_html
from viz.correlation import correlation_figure
from viz.overlay import value_range
from viz.text import plain


def build(session: Session) -> None:
    """The tab and its events."""
    with gr.Tab("Compare") as tab:
        about = gr.Markdown(elem_id="compare-about")
        scale = gr.Radio([OWN, SHARED], value=OWN, label="Colour range")
        gr.Markdown("## Attention: the mean of each module's map over channels")
        maps = gr.HTML(elem_id="compare-maps")
        gr.Markdown("## Grad-CAM of the target class at the output of each module")
        cams = gr.HTML(elem_id="compare-cams")
        matrix = gr.Plot(show_label=False, elem_id="compare-matrix")
    session.on_show(tab, draw, [about, maps, cams, matrix], controls=[scale], runs_network=True)


def contenders(
    photo: Photo, network: str, size: int, target: int, layer: str | None
) -> tuple[str, dict[str, tuple[View, LayerAnalysis]]]:
    """The layer's name, and by attention what each network did there.

    All explain the same class where all know it. A network without attention in that layer
    (CA in MobileNetV2's first block) is left out.
    """
    own = view_of(photo, network, size, target)
    name, _ = own.layer(layer)
    source = source_of(network)
    views = {}
    for kind, rival in rivals(source).items():
        same_classes = load(rival).classes == own.classes
        explained = int(own.analysis.target[0]) if same_classes else None
        views[kind] = own if rival == source else explain(photo, rival, int(size), explained)
    return name, {
        kind: (view, view.analysis.layers[name])
        for kind, view in views.items()
        if name in view.analysis.layers
    }


def correlations(
    found: dict[str, tuple[View, LayerAnalysis]],
) -> tuple[list[str], list[list[float]]]:
    """Names of all maps and Grad-CAMs, and their pairwise rank correlation."""
    maps = {}
    for kind, (_, layer) in found.items():
        maps[ATTENTION_NAMES[kind]] = layer.trace.spatial()[0]
    for kind, (_, layer) in found.items():
        maps[f"{ATTENTION_NAMES[kind]} Grad-CAM"] = layer.gradcam[0]
    table = [[rank_correlation(a, b) for b in maps.values()] for a in maps.values()]
    return list(maps), table


def draw(
    photo: Photo,
    network: str,
    size: int,
    target: int,
    layer: str | None,
    scale: str,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes it
) -> tuple[str, str, str, go.Figure]:
    """Which networks, their maps, their Grad-CAMs, and how alike all of them are."""
    progress(0.1, desc="Analysing with DRTAM, CBAM and CA")
    name, found = contenders(photo, network, size, target, layer)
    pixels = next(iter(found.values()))[0].pixels
    maps, cams = [], []
    limits = cam_limits = None
    if scale == SHARED:
        limits = value_range(*(layer.trace.spatial() for _, layer in found.values()))
        cam_limits = value_range(*(layer.gradcam for _, layer in found.values()))
    for kind, (view, analysis) in found.items():
        title = ATTENTION_NAMES[kind]
        explained = view.classes[int(view.analysis.target[0])]
        seen, cam = analysis.trace.spatial()[0], analysis.gradcam[0]
        maps.append(Tile(title, seen, f"attention map of {name}", view.note, limits))
        subtitle = f"{title}: {explained}"
        tile = Tile(subtitle, cam, f"Grad-CAM of {name}", view.note, cam_limits)
        cams.append(cam_tile(tile, view.analysis))
    lines = [f"Layer **{name}** of"]
    lines += [f"- {view.label}{_answer(view)}" for view, _ in found.values()]
    names, table = correlations(found)
    notes = {view.note for view, _ in found.values() if view.note}
    title = f"Rank correlation (Spearman) of the maps at {name}"
    return (
        "\n".join(lines),
        tiles_html(pixels, maps),
        tiles_html(pixels, cams),
        correlation_figure(names, table, " · ".join([*notes, title])),
    )


def _answer(view: View) -> str:
    """What a trained network takes the photo for: its maps are of that."""
    if not view.trained:
        return ""
    best = view.analysis.probabilities[0].max(dim=0)
    return f", says {plain(view.classes[int(best.indices)])} ({best.values:.1%})"
