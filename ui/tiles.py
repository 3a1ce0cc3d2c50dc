"""Maps over the photo, as HTML whose opacity the browser changes without asking the server."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from PIL import Image
from torch import Tensor

from drtam.explain import Analysis
from viz.color import CSS_GRADIENT, SIGNED_CSS_GRADIENT
from viz.overlay import map_picture, value_range
from viz.words import extremes

OPACITY_SLIDER = """
<label class="opacity">Opacity of the maps over the photo
  <input type="range" min="0" max="1" step="0.05" value="0.6" aria-label="Opacity of the maps"
    oninput="document.documentElement.style.setProperty('--map-opacity', this.value)">
</label>"""

SEND_CLICKED_LAYER = """
element.addEventListener('click', event => {
  const tile = event.target.closest('[data-layer]');
  if (tile) trigger('click', {layer: tile.dataset.layer});
});"""

NOWHERE = (
    "0 everywhere: by its mean gradients, what the module passes on speaks for the class nowhere. "
    "What bypasses the module still may."
)
NOTHING = "0 everywhere: the network finds nothing of the class."

MARK_SELECTED_LAYER = """
layer => document.querySelectorAll('[data-layer]').forEach(
  tile => tile.setAttribute('aria-pressed', tile.dataset.layer === layer))"""


@dataclass(frozen=True)
class Tile:
    """One map over the photo.

    Attributes:
        title: above it.
        values: (H, W).
        what: it is, for who cannot see it.
        note: ``untrained``, or nothing.
        limits: of the colour scale; by default the map's own range.
        signed: a difference, whose colours are neutral at 0.
        photo: below the map; by default the one of all tiles.
        remark: a sentence below it.
    """

    title: str
    values: Tensor
    what: str
    note: str = ""
    limits: tuple[float, float] | None = None
    signed: bool = False
    photo: Image.Image | None = None
    remark: str = ""


def cam_tile(tile: Tile, analysis: Analysis) -> Tile:
    """The tile of an analysis's Grad-CAM, which says what it means to be 0 everywhere."""
    if tile.values.any():
        return tile
    found = bool(analysis.probabilities[0, int(analysis.target[0])] > 0)
    return replace(tile, remark=NOWHERE if found else NOTHING)


def tiles_html(photo: Image.Image, tiles: Sequence[Tile], *, selected: str | None = None) -> str:
    """The tiles side by side; buttons that report their title as a layer if one is selected."""
    style = f"{_background(photo)};--count:{len(tiles)}"
    content = "".join(_tile_html(photo.size, tile, selected) for tile in tiles)
    kind = "filmstrip" if selected else "gallery"
    return f'<div class="tiles {kind}" style="{style}">{content}</div>'


def _background(photo: Image.Image) -> str:
    width, height = photo.size
    return f"--photo:url({data_uri(photo)});--ratio:{width}/{height}"


def _tile_html(size: tuple[int, int], tile: Tile, selected: str | None) -> str:
    rows, columns = tile.values.shape
    low, high = tile.limits or value_range(tile.values)
    if tile.signed:
        high = max(abs(low), abs(high))
        low = 0 - high  # no negative 0
    own = "" if tile.photo is None else f' style="{_background(tile.photo)}"'
    size = size if tile.photo is None else tile.photo.size
    gradient = SIGNED_CSS_GRADIENT if tile.signed else CSS_GRADIENT
    title = escape(tile.title)
    note = f'<em class="untrained">{escape(tile.note)}</em>' if tile.note else ""
    picture = data_uri(map_picture(tile.values, size, (low, high), signed=tile.signed))
    body = (
        f'<span class="picture"><img src="{picture}" alt="{escape(alt_text(tile))}"></span>'
        f'<span class="caption"><b>{title}</b> {rows}×{columns} {note}</span>'
        f'<span class="range" aria-hidden="true"><i>{low:.4g}</i>'
        f'<u style="background:{gradient}"></u><i>{high:.4g}</i></span>'
    )
    if tile.remark:
        body += f'<span class="remark">{escape(tile.remark)}</span>'
    if selected is None:
        return f'<figure class="tile"{own}>{body}</figure>'
    pressed = str(tile.title == selected).lower()
    return (
        f'<button class="tile" data-layer="{title}" aria-pressed="{pressed}" '
        f'title="Show {title} in every tab">{body}</button>'
    )


def alt_text(tile: Tile) -> str:
    """What the tile shows, for who cannot see it."""
    low, high = value_range(tile.values)
    kind = " ".join(filter(None, (tile.note, tile.what)))
    return (
        f"{tile.title}: {kind}, from {low:.4g} to {high:.4g}, "
        f"{extremes(tile.values.float().numpy())}"
    )


def data_uri(image: Image.Image) -> str:
    """A picture as a WebP inside an address."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
