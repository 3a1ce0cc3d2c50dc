"""A node's values, in the size of a thumbnail, as HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from viz.algebra.scene import Pass, Scene, split_key
from viz.color import COMPLEMENT, INITIAL, SIGNED_TABLE, TABLE, colorize
from viz.layout import array

WIDTH, HEIGHT = 72, 36  # of the pictures; the page may stretch them
COLORS: dict[Pass, str] = {"initial": INITIAL, "complement": COMPLEMENT}


def thumbnail(key: str, scene: Scene) -> str:
    """The picture of the node of that key."""
    seen = scene.trace.descriptors
    which, rest = split_key(key)
    if which is not None:
        return _of_pass(rest, scene, which)
    if key == "combined":
        return _map(scene.trace.spatial())
    if key == "rdem":
        return _map(1 - scene.trace.initial.spatial())
    if key in ("x", "output"):
        values = seen.hw if key == "x" else scene.output_mean
        return _signed(values, like=values)
    first, _, last = key.partition(".")
    values = getattr(seen if first == "x" else scene.trace.residual, last)
    return _signed(values, like=getattr(seen, last))


def _of_pass(rest: str, scene: Scene, which: Pass) -> str:
    factors, color = scene.factors(which), COLORS[which]
    if rest == "map":
        return _map(factors.spatial() * factors.c.mean())
    if rest == "rtam":
        return _lines([factors.c, factors.h, factors.w], color)
    axis, _, step = rest.partition(".")
    found = scene.embedding(which, axis)
    if step == "cut":
        return _cut(axis, scene, which)
    if step == "pooled":
        largest = found.pooled.abs().amax(2, keepdim=True).clamp_min(1e-12)
        values = found.pooled if axis == "c" else found.pooled / largest
        return _signed(values, like=values)
    return _lines([getattr(found, step)], color)


def _cut(axis: str, scene: Scene, which: Pass) -> str:
    """The two descriptors of a factor, with the borders of their chunks."""
    strips = scene.embedding(which, axis).strips
    parts = []
    for kind in dict.fromkeys(strip.descriptor for strip in strips):
        values = getattr(scene.descriptors(which), kind)
        rows, columns = values.shape[1:]
        upright = cut_along_columns(axis, kind)
        length = columns if upright else rows
        starts = sorted({s.start for s in strips if s.descriptor == kind and s.start})
        borders = "".join(_border(start / length, upright=upright) for start in starts)
        parts.append(f'<span class="part">{_signed(values, like=values)}{borders}</span>')
    return "".join(parts)


def cut_along_columns(axis: str, kind: str) -> bool:
    """Whether a descriptor's chunks lie side by side when it is drawn, and not on each other."""
    return axis == "c" or (axis == "h" and kind == "hw")


def _border(share: float, *, upright: bool) -> str:
    side = "left" if upright else "top"
    return f'<i class="border {side}" style="{side}:{share:.1%}"></i>'


def _map(values: Tensor) -> str:
    drawn = _shrunk(values)
    return _image(colorize(drawn, float(drawn.min()), float(drawn.max()), TABLE))


def _signed(values: Tensor, like: Tensor) -> str:
    """Symmetric around 0, up to the largest value of ``like`` at this size."""
    limit = float(abs(_shrunk(like)).max())
    return _image(colorize(_shrunk(values), -limit, limit, SIGNED_TABLE))


def _shrunk(values: Tensor) -> npt.NDArray[np.float32]:
    """At most as many cells as the thumbnail has pixels, each the mean of those it covers."""
    image = Image.fromarray(array(values))
    fewer = min(image.width, WIDTH), min(image.height, HEIGHT)
    return np.asarray(image.resize(fewer, Image.Resampling.BOX))


def _image(colors: npt.NDArray[np.uint8]) -> str:
    image = Image.fromarray(colors).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=70)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" src="data:image/webp;base64,{data}">'


def _lines(vectors: Sequence[Tensor], color: str) -> str:
    """Curves on top of each other, each with its own range."""
    band = HEIGHT / len(vectors)
    curves = []
    for k, vector in enumerate(vectors):
        values = _envelope(array(vector), WIDTH // 2)
        low, span = values.min(), max(float(np.ptp(values)), 1e-12)
        heights = (k + 0.88) * band - 0.76 * band * (values - low) / span
        xs = np.linspace(1, WIDTH - 1, len(values)) if len(values) > 1 else [1, WIDTH - 1]
        ys = heights if len(values) > 1 else [heights[0]] * 2
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
        curves.append(f'<polyline points="{points}" stroke="{color}"/>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(curves)}</svg>"
    )


def _envelope(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """At most ``2 * count`` values: of each stretch its smallest and its largest."""
    if len(values) <= 2 * count:
        return values
    stretches = np.array_split(values, count)
    return np.array([v for part in stretches for v in (part.min(), part.max())])
