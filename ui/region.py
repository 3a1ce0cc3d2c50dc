"""A grid of cells over the photo in which a region is painted, by pointer or by keyboard."""

from __future__ import annotations

import re

import torch
from PIL import Image
from torch import Tensor

from ui.tiles import data_uri

CELLS = 14  # along each side: those of a ResNet's third stage at 224 pixels
ELEMENT = "what-if-region"

PAINT = """
let on = null, painted = new Set();
const cells = () => [...element.querySelectorAll('.cells button')];
const paint = (cell, value) => {
  cell.setAttribute('aria-pressed', value);
  const place = cell.getAttribute('aria-label');
  value ? painted.add(place) : painted.delete(place);
};
const isOn = cell => cell.getAttribute('aria-pressed') === 'true';
const cellAt = event => document.elementFromPoint(event.clientX, event.clientY)
  ?.closest('.cells button');
element.addEventListener('pointerdown', event => {
  const cell = event.target.closest('.cells button');
  if (!cell || event.button) return;
  event.preventDefault();
  on = !isOn(cell);
  paint(cell, on);
});
element.addEventListener('pointermove', event => {
  const cell = on === null ? null : cellAt(event);
  if (cell && element.contains(cell)) paint(cell, on);
});
window.addEventListener('pointerup', () => { on = null; });
window.addEventListener('pointercancel', () => { on = null; });
element.addEventListener('click', event => {
  const cell = event.target.closest('.cells button');
  if (cell && !event.detail) paint(cell, !isOn(cell));  // by keyboard
  const what = event.target.closest('[data-paint]')?.dataset.paint;
  const value = cell => what === 'all' || (what === 'invert' && !isOn(cell));
  if (what) cells().forEach(each => paint(each, value(each)));
});
element.addEventListener('keydown', event => {
  const all = cells(), here = all.indexOf(event.target), side = Math.sqrt(all.length);
  const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -side, ArrowDown: side}[event.key];
  const next = here < 0 || !step ? null : all[here + step];
  if (!next) return;
  event.preventDefault();
  all[here].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});
watch('value', () => cells().forEach(
  cell => paint(cell, painted.has(cell.getAttribute('aria-label')))));
"""

READ = f"""
(...values) => [...values.slice(0, -1),
  [...document.querySelectorAll('#{ELEMENT} .cells button')]
    .map(cell => cell.getAttribute('aria-pressed') === 'true' ? 1 : 0).join('')]"""


def region_html(photo: Image.Image) -> str:
    """The photo under buttons that ``PAINT`` presses and ``READ`` reads as 0 and 1."""
    width, height = photo.size
    cells = "".join(
        f'<button type="button" aria-pressed="false" aria-label="row {i + 1}, column {j + 1}" '
        f'tabindex="{-1 if i or j else 0}"></button>'
        for i in range(CELLS)
        for j in range(CELLS)
    )
    actions = "".join(
        f'<button type="button" data-paint="{what}">{name}</button>'
        for what, name in (("none", "Clear"), ("all", "All"), ("invert", "Invert"))
    )
    style = f"--photo:url({data_uri(photo)});--ratio:{width}/{height};--cells:{CELLS}"
    return (
        f'<div class="region" style="{style}"><div class="cells" role="group" '
        f'aria-label="Region of the photo">{cells}</div><p class="actions">{actions}</p></div>'
    )


def mask_of(cells: str | None) -> Tensor | None:
    """What ``READ`` sent as (CELLS, CELLS) of 0 and 1; None where nothing is painted.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(cells, str) or not re.fullmatch(f"[01]{{{CELLS**2}}}", cells):
        raise ValueError("The painted region did not arrive. Reload the page and try again.")
    mask = torch.tensor([float(cell) for cell in cells]).view(CELLS, CELLS)
    return mask if mask.any() else None
