"""Compare: one layer of a backbone with DRTAM, CBAM, CA or no attention, for the same photo."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr
import plotly.graph_objects as go

from drtam.explain import LayerAnalysis, rank_correlation
from ui.compute import Photo, View, explain
from ui.layer import OWN, SHARED
from ui.networks import Source, load
from ui.rivals import NAMES, PLAIN, rivals
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
        gr.Markdown(
            "## Grad-CAM of the target class at the output of each module, and at the same place "
            "of the network without attention"
        )
        cams = gr.HTML(elem_id="compare-cams")
        matrix = gr.Plot(show_label=False, elem_id="compare-matrix")
    session.on_show(tab, draw, [about, maps, cams, matrix], controls=[scale], runs_network=True)


def contenders(
    photo: Photo,
    network: str,
    size: int,
    target: int,
    layer: str | None,
    sources: Mapping[str, Source],
) -> tuple[str, dict[str, tuple[View, LayerAnalysis]]]:
    """The layer's name, and by attention what each of the ``sources`` did there.

    All explain the same class where all know it. A network that has no such layer (CA's
    MobileNetV2, whose first block has no attention) is left out.
    """
    own = view_of(photo, network, size, target)
    name, _ = own.layer(layer)
    source = source_of(network)
    views = {}
    for kind, rival in sources.items():
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
    for kind, layer in attended(found).items():
        maps[NAMES[kind]] = layer.trace.spatial()[0]
    for kind, (_, layer) in found.items():
        maps[f"{NAMES[kind]} Grad-CAM"] = layer.gradcam[0]
    table = [[rank_correlation(a, b) for b in maps.values()] for a in maps.values()]
    return list(maps), table


def attended(found: dict[str, tuple[View, LayerAnalysis]]) -> dict[str, LayerAnalysis]:
    """What the layers that have attention did, by attention."""
    return {kind: layer for kind, (_, layer) in found.items() if kind != PLAIN}


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
    progress(0.1, desc="Analysing with DRTAM, CBAM, CA and no attention")
    sources = rivals(source_of(network))
    name, found = contenders(photo, network, size, target, layer, sources)
    pixels = next(iter(found.values()))[0].pixels
    maps, cams = [], []
    limits = cam_limits = None
    if scale == SHARED:
        limits = value_range(*(layer.trace.spatial() for layer in attended(found).values()))
        cam_limits = value_range(*(layer.gradcam for _, layer in found.values()))
    for kind, (view, analysis) in found.items():
        if kind != PLAIN:
            seen, what = analysis.trace.spatial()[0], f"attention map of {name}"
            maps.append(Tile(NAMES[kind], seen, what, view.note, limits))
        subtitle = f"{NAMES[kind]}: {view.classes[int(view.analysis.target[0])]}"
        what = f"Grad-CAM of {name}"
        tile = Tile(subtitle, analysis.gradcam[0], what, view.note, cam_limits)
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
