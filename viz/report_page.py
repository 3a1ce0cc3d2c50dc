"""The report: one HTML file that opens without a connection."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from PIL import Image

from drtam.explain import LayerAnalysis
from viz import report
from viz.color import CSS_GRADIENT
from viz.gates import gates_figure
from viz.overlay import overlay, value_range
from viz.report import Result, titles
from viz.static import PLOTLY_JS
from viz.text import percent

STYLE = Path(__file__).with_name("report.css")
UNTRAINED = (
    '<p class="untrained"><b>Untrained network: its weights are random.</b> Scores and maps show '
    "how the mechanism works, not what a trained network knows.</p>"
)
DRAW = """
const draw = holder => {
  if (holder.dataset.drawn) return;
  holder.dataset.drawn = true;
  const {data, layout} = JSON.parse(holder.querySelector('script').textContent);
  Plotly.newPlot(holder, data, layout, {responsive: true});
};
document.querySelectorAll('main > .wide > .chart').forEach(draw);
document.querySelectorAll('details').forEach(layer => {
  const open = () => layer.open && layer.querySelectorAll('.chart').forEach(draw);
  layer.addEventListener('toggle', open);
  open();
});"""
# Nothing may be fetched, whatever stands in a class name; pictures lie in the page itself.
POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)


def report_html(result: Result, *, plotly_js: str | None = None) -> str:
    """Photo, scores, and of every layer its maps, statistics and factors.

    Args:
        result: to be shown.
        plotly_js: the address of plotly.js; by default it is written into the page, 4.8 MB.
    """
    layers = "".join(
        _layer(result, name, layer, is_open=i == len(result.analysis.layers) - 1)
        for i, (name, layer) in enumerate(result.analysis.layers.items())
    )
    policy = POLICY if plotly_js is None else f"{POLICY} file: 'self'"
    script = (
        f"<script>{PLOTLY_JS.read_text('utf-8')}</script>"
        if plotly_js is None
        else f'<script src="{escape(plotly_js)}"></script>'
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(result.label)}</title><style>{STYLE.read_text('utf-8')}</style></head>"
        f"<body><main><h1>{escape(result.label)}</h1>{'' if result.trained else UNTRAINED}"
        f'<img class="photo" src="{_data_uri(result.pixels)}" '
        'alt="The photo, as the network saw it">'
        f"<h2>Class scores</h2>{_scores(result)}{_chart(report.scores(result))}"
        "<h2>Layers, in the order in which they run</h2>"
        "<p>Maps are means over channels, each with its own colour range, over the photo.</p>"
        f"{layers}<h2>What was done</h2>{_table(result.record)}</main>"
        f"{script}<script>{DRAW}</script></body></html>"
    )


def _scores(result: Result) -> str:
    probabilities = result.analysis.probabilities[0]
    if not probabilities.any():
        return "<p>The detector found no box, hence there is no Grad-CAM.</p>"
    best = probabilities.topk(min(5, len(probabilities))).indices.tolist()
    target = int(result.analysis.target[0])
    rows = "".join(
        f"<tr><td>{escape(result.classes[k])}{' (explained by Grad-CAM)' * (k == target)}</td>"
        f'<td class="number">{escape(percent(float(probabilities[k])))}</td></tr>'
        for k in dict.fromkeys([*best, target])
    )
    return f'<div class="wide"><table>{rows}</table></div>'


def _layer(result: Result, name: str, layer: LayerAnalysis, *, is_open: bool) -> str:
    note = f'<em class="untrained">{result.note}</em>' if result.note else ""
    tiles, named = [], titles(layer.trace)
    for key, values in report.layer_maps(layer).items():
        low, high = value_range(values)
        picture = _data_uri(overlay(result.pixels, values))
        alt = f"{named[key]} of {escape(name)}, from {low:.3g} to {high:.3g}"
        tiles.append(
            f'<figure><img src="{picture}" alt="{alt}"><figcaption>{named[key]} {note}'
            f'<span class="range">{low:.4g}<u style="background:{CSS_GRADIENT}"></u>{high:.4g}'
            "</span></figcaption></figure>"
        )
    title = " · ".join(filter(None, (f"Factors of {name}", result.note)))
    channels, rows, columns = layer.trace.attention().shape[1:]
    return (
        f"<details{' open' * is_open}><summary>{escape(name)} · {channels} channels, "
        f'{rows}×{columns}</summary><div class="maps">{"".join(tiles)}</div>'
        f"{_statistics(layer)}{_chart(gates_figure(layer.trace, title))}</details>"
    )


def _statistics(layer: LayerAnalysis) -> str:
    named = titles(layer.trace)
    rows = "".join(
        f'<tr><td>{named[key]}</td><td class="number">{float(numbers.mean):.4f}</td>'
        f'<td class="number">{float(numbers.spread):.4f}</td>'
        f'<td class="number">{float(numbers.entropy):.6f}</td></tr>'
        for key, numbers in layer.statistics.items()
    )
    remarks = ""
    if layer.added is not None:
        remarks = f"<p>A_C adds {float(layer.added):.1%} of the combined map's mean to A_I.</p>"
    if layer.residual is not None:
        errors = zip(("X_ch", "X_cw", "X_hw"), layer.residual.error[0].tolist(), strict=True)
        parts = ", ".join(f"{name} {error:.2%}" for name, error in errors)
        remarks += f"<p>Eqn 12-14 differ from exact pooling of the residual by {parts}.</p>"
    return (
        '<div class="wide"><table><tr><th>map</th><th>mean</th><th>spread</th>'
        f"<th>entropy (1 = even)</th></tr>{rows}</table></div>{remarks}"
    )


def _chart(figure: go.Figure) -> str:
    content = figure.to_json().replace("<", "\\u003c")
    return (
        '<div class="wide"><div class="chart">'
        f'<script type="application/json">{content}</script></div></div>'
    )


def _table(values: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th>{escape(key)}</th><td class="long">{escape(_text(value))}</td></tr>'
        for key, value in _flat(values)
    )
    return f'<div class="wide"><table>{rows}</table></div>'


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The innermost values of nested ones, with the path of their names."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key}", value


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
