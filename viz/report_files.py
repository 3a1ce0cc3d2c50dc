"""One explained photo as files: arrays, pictures, charts, and what was done."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator

import plotly.graph_objects as go
from PIL import Image

from drtam.explain import npz
from drtam.explain.export import NAMES
from viz import report, static
from viz.overlay import map_picture, overlay, value_range
from viz.report import Result

README = """\
{label}

{trust}
photo.png          the photo, upright, sRGB, without its metadata, at most 1024 pixels a side
seen.png           the pixels that the network saw
arrays.npz         every array; numpy.load("arrays.npz", allow_pickle=False) opens it
record.json        what was done: network, weights, photo, target, versions
maps/              each map alone, its mean over channels; ranges.json has the values of the
                   first and the last colour
overlays/          the same maps over the photo
charts/            the charts; the HTML files are interactive and need no connection, only
                   {plotly_js}
{static}

Names in arrays.npz. LAYER stands for the module's path, such as layer4.2; K is the number of
classes, for a detector up to the last one that it found; C, H, W are channels, rows and columns
of the feature there.

{names}"""
UNTRAINED = (
    "UNTRAINED: the weights are random. Scores and maps show how the mechanism works, not what "
    "a trained network knows.\n"
)


def files(
    result: Result, *, plotly_js: str, charts_as_pictures: bool
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file, the same bytes for the same result.

    Args:
        result: to be written.
        plotly_js: where charts/scores.html finds plotly.js, such as ``plotly.min.js`` beside it;
            it is not among the files, see ``viz.static``.
        charts_as_pictures: PNG and SVG of the charts too, where there is a Chrome: about half a
            second each.
    """
    charts = {safe(name): chart for name, chart in report.figures(result).items()}
    drawn: dict[str, bytes] = {}
    reason = "They were not asked for."
    if charts_as_pictures:
        drawn, reason = static.pictures(charts)
    missing = f"PNG and SVG of the charts are missing. {reason}" if reason else ""
    record = result.record | {"trained": result.trained, "missing": missing or None}
    yield "README.txt", _readme(result, plotly_js, missing).encode()
    yield "record.json", json.dumps(record, indent=2, ensure_ascii=False).encode()
    yield "arrays.npz", npz(result.analysis)
    yield "photo.png", _png(result.photo)
    yield "seen.png", _png(result.pixels)
    yield from _maps(result)
    for name, chart in charts.items():
        yield f"charts/{name}.html", chart_html(chart, name, plotly_js)
    for name, content in drawn.items():
        yield f"charts/{name}", content


def safe(name: str) -> str:
    """A file's name on any system, from a name such as ``layer4.2/maps``."""
    return re.sub(r"[^\w.-]", "-", name)


def chart_html(chart: go.Figure, name: str, plotly_js: str) -> bytes:
    """A page of its own for a chart."""
    page: str = chart.to_html(include_plotlyjs=plotly_js, include_mathjax=False, div_id=name)
    return page.encode()


def _maps(result: Result) -> Iterator[tuple[str, bytes]]:
    ranges = {}
    for layer, found in result.analysis.layers.items():
        for key, values in report.layer_maps(found).items():
            name = f"{safe(layer)}-{key}.png"
            ranges[name] = value_range(values)
            yield f"maps/{name}", _png(map_picture(values, result.pixels.size))
            yield f"overlays/{name}", _png(overlay(result.pixels, values))
    yield "maps/ranges.json", json.dumps(ranges, indent=2).encode()


def _readme(result: Result, plotly_js: str, missing: str) -> str:
    return README.format(
        label=result.label,
        trust="" if result.trained else UNTRAINED,
        plotly_js=f"{plotly_js}, as seen from that folder",
        static=f"\n{missing}"
        if missing
        else "                   PNG and SVG of each lie beside it",
        names=NAMES,
    )


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
