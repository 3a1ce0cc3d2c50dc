"""What if: the network with parts of its attention switched off, flattened or painted over."""

from __future__ import annotations

import base64
import json
import math
from functools import partial
from typing import Any

import gradio as gr

from drtam.explain import LayerAnalysis
from ui.compute import Photo
from ui.interventions import CHANGES, MADE_FOR, MOST_GAIN, Asked, WhatIf, report, run, stage_of
from ui.networks import spec_of
from ui.region import ELEMENT, PAINT, READ, mask_of, region_html
from ui.session import Session, source_of, unqueued, view_of
from ui.tiles import Tile, cam_tile, tiles_html
from viz.ablation import layer_effects_figure, paired_scores_figure
from viz.overlay import value_range
from viz.text import plain

THIS, STAGE, ALL, CHOSEN = "this layer", "its stage", "all layers", "those chosen below"
ON_MAP, ON_PHOTO = "the map of these layers", "the photo"
EXPLANATION = """
Change what the attention layers compute, then press **Run the what-if**: every number is a
forward pass with the change in place. Changes combine. A region multiplies the map by the gain,
or the photo's contrast to its own mean."""
HINT = "Nothing has run yet: choose changes, or paint a region, and press **Run the what-if**."


def build(session: Session) -> None:
    """The tab and its events."""
    with gr.Tab("What if") as tab:
        gr.Markdown(EXPLANATION)
        with gr.Row():
            with gr.Column(min_width=280):
                changes = gr.CheckboxGroup(
                    _choices("drtam"),
                    value=["off_complement"],
                    label="Change",
                    elem_id="what-if-changes",
                )
                where = gr.Radio([THIS, STAGE, ALL, CHOSEN], value=ALL, label="In")
                chosen = gr.Dropdown(
                    [], value=[], multiselect=True, label="Chosen layers", visible=False
                )
            with gr.Column(min_width=280):
                gr.Markdown(
                    "Region: drag over the photo, or Tab into it, arrow keys and space bar."
                )
                region = gr.HTML(js_on_load=PAINT, elem_id=ELEMENT)
                on = gr.Radio([ON_MAP, ON_PHOTO], value=ON_MAP, label="The region changes")
                gain = gr.Slider(
                    0, MOST_GAIN, value=0, step=0.1, label="Gain (0 suppress, 1 nothing, 2 boost)"
                )
        start = gr.Button("Run the what-if", variant="primary", elem_id="what-if-run")
        ran = gr.State(None)  # what the results below are of; a child of Tabs would shift the tabs
        summary = gr.Markdown(HINT, elem_id="what-if-summary")
        tiles = gr.HTML(elem_id="what-if-tiles")
        scores = gr.Plot(show_label=False, elem_id="what-if-scores", visible=False)
        layers = gr.Plot(show_label=False, elem_id="what-if-layers", visible=False)
        ranking = gr.Markdown(elem_id="what-if-ranking")
        download = gr.HTML(elem_id="what-if-download")
    results = [summary, tiles, scores, layers, ranking, download, ran]
    controls = [changes, where, chosen, on, gain]
    shown, reads = [region, changes, chosen, *results], [changes, chosen, ran]
    session.on_show(tab, draw, shown, reads=reads)
    where.change(
        lambda value: gr.Dropdown(visible=value == CHOSEN),
        where,
        chosen,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    start.click(
        answer,
        [*session.inputs, *controls, region],
        results,
        js=READ,
        concurrency_id="model",
        concurrency_limit=1,
        show_progress_on=[summary],
        api_visibility="private",
    ).then(  # the visitor may have gone on meanwhile
        unqueued(redraw),
        [*session.inputs, *reads],
        shown,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def redraw(*values: Any) -> list[Any]:
    """Nothing, unless the results that have come are of what the page no longer shows."""
    ran = values[-1]
    if ran is None or (ran[:4] == values[:4] and values[4] in (None, ran[4])):
        return [gr.skip()] * 10
    return draw(*values)


def draw(
    photo: Photo,
    network: str,
    size: int,
    target: int,
    layer: str | None,
    changes: list[str],
    chosen: list[str],
    ran: object,
) -> list[Any]:
    """The photo to paint on, what can be changed, and the maps as they are.

    Results stay where they are still of this photo, network, class and layer.
    """
    view = view_of(photo, network, size, target)
    name, found = view.layer(layer)
    choices = _choices(str(spec_of(source_of(network)).attention))
    offered = [key for _, key in choices]
    names = list(view.analysis.layers)
    controls = [
        region_html(view.pixels),
        gr.CheckboxGroup(choices, value=[key for key in changes if key in offered]),
        gr.Dropdown(names, value=[name for name in chosen if name in names]),
    ]
    if ran == (photo, network, size, target, name):
        return [*controls, *[gr.skip()] * 7]
    cam = Tile(f"{name}: Grad-CAM", found.gradcam[0], "map of Grad-CAM", view.note)
    tiles = [
        Tile(f"{name}: map", found.trace.spatial()[0], "attention map", view.note),
        cam_tile(cam, view.analysis),
    ]
    shown = [HINT, tiles_html(view.pixels, tiles), *[gr.Plot(visible=False)] * 2, "", "", None]
    return [*controls, *shown]


def answer(
    photo: Photo | None,
    network: str,
    size: int,
    target: int,
    layer: str | None,
    changes: list[str],
    where: str,
    chosen: list[str],
    on: str,
    gain: float,
    cells: str | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes it
) -> list[Any]:
    """Everything that the chosen changes do."""
    if photo is None:
        raise gr.Error("There is no photo yet: upload one first.", print_exception=False)
    progress(0, desc="Running the network with the change in place")
    view = view_of(photo, network, size, target)
    name, _ = view.layer(layer)
    try:
        mask = mask_of(cells)
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error
    places = {
        THIS: (name,),
        STAGE: stage_of(view, name),
        ALL: tuple(view.analysis.layers),
        CHOSEN: tuple(chosen),
    }
    asked = Asked(tuple(changes), places[where], mask, float(gain), on == ON_PHOTO)
    if not asked.interventions():
        raise gr.Error("Tick a change or paint a region first.", print_exception=False)
    if not asked.layers:
        raise gr.Error("Choose at least one layer below “In”.", print_exception=False)
    source = source_of(network)
    found = run(
        photo,
        source,
        int(size),
        view,
        asked,
        name,
        track=partial(progress.tqdm, desc="Changing each layer alone"),
    )
    return [*show(found), (photo, network, size, target, name)]


def show(found: WhatIf) -> list[Any]:
    """Summary, tiles, class scores, bars of the layers, rankings, and the download."""
    view, note = found.view, "".join(f" · {word}" for word in found.view.note.split())
    scores = paired_scores_figure(found.ablation, view.classes, f"Class scores{note}")
    bars: Any = gr.Plot(visible=False)
    if found.effects:
        title = f"The change in each layer alone{note}<br><sup>coloured: changed above</sup>"
        bars = gr.Plot(layer_effects_figure(found.effects, found.layers, title), visible=True)
    return [
        summary_of(found),
        tiles_html(view.pixels, tiles_of(found)),
        gr.Plot(scores, visible=True),
        bars,
        ranking_of(found),
        download_html(found),
    ]


def tiles_of(found: WhatIf) -> list[Tile]:
    """Map and Grad-CAM of the layer, before and after in one colour range."""
    name, note = found.layer, found.view.note
    before, after = found.ablation.before.layers[name], found.ablation.after.layers[name]

    def pair(title: str, maps: list[Any]) -> list[Tile]:
        limits = value_range(*maps)
        times = ("before", "after")
        return [
            Tile(f"{name}: {title} {time}", values, f"{title} {time} the change", note, limits)
            for time, values in zip(times, maps, strict=True)
        ]

    def spatial(layer: LayerAnalysis) -> Any:
        return layer.trace.spatial()[0]

    return [
        *pair("map", [spatial(before), spatial(after)]),
        *map(
            cam_tile,
            pair("Grad-CAM", [before.gradcam[0], after.gradcam[0]]),
            (found.ablation.before, found.ablation.after),
        ),
    ]


def summary_of(found: WhatIf) -> str:
    """What was changed, and what became of the target, in words."""
    view, change = found.view, float(found.ablation.change)
    total = len(view.analysis.layers)
    places = f"{len(found.layers)} of {total} layers"
    if len(found.layers) == total:
        places = f"all {total} layers"
    elif len(found.layers) < 4:
        places = ", ".join(found.layers)
    where = f" in {places}" if found.layers else ""
    before, after = (
        float(a.probabilities[0, found.target])
        for a in (found.ablation.before, found.ablation.after)
    )
    lines = [
        f"**{'; '.join(found.changes)}**{where}.",
        "",
        f"{plain(view.classes[found.target])}: {before:.3%} → {after:.3%}. " + _in_words(change),
    ]
    if view.note:
        lines += [
            "",
            "**Untrained network**: this shows what the mechanism does to random weights, not "
            "what a trained network needs.",
        ]
    return "\n".join(lines)


def _in_words(change: float) -> str:
    if math.isnan(change):
        return (
            "The detector finds no box of it before or after, so that its log-probability, and "
            "what each layer does to it, are undefined."
        )
    if math.isinf(change):
        return f"The detector {'finds' if change > 0 else 'loses'} the class by the change."
    return f"Its log-probability changes by **{change:+.4f}**, a factor of {math.exp(change):.4f}."


def ranking_of(found: WhatIf) -> str:
    """The layers, and the channels of one, by the size of their effect, as Markdown tables."""
    if not found.effects:
        return ""
    lines = ["## Ranking", "", "| layer changed alone | log-probability |", "|---|---|"]
    lines += [f"| {name} | {value:+.6f} |" for name, value in found.ranking()[:8]]
    lines += ["", f"| channel of {found.layer} changed alone | log-probability |", "|---|---|"]
    lines += [f"| {channel} | {value:+.6f} |" for channel, value in found.channels.items()]
    lines += [
        "",
        f"Each is a forward pass. The {len(found.channels)} channels are those whose estimate to "
        "first order, gradient times change, is largest.",
    ]
    return "\n".join(lines)


def download_html(found: WhatIf) -> str:
    """A link that holds the numbers, so that the server keeps no file."""
    data = base64.b64encode(json.dumps(report(found), indent=1).encode()).decode()
    return (
        f'<a class="download" download="what-if.json" '
        f'href="data:application/json;base64,{data}">Download these numbers (JSON)</a>'
    )


def _choices(attention: str) -> list[tuple[str, str]]:
    return [(CHANGES[key][0], key) for key in MADE_FOR[attention]]
