"""The nodes whose values are tables: descriptors, chunks, pooled features, maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from torch import Tensor

from drtam.explain import Strip
from viz.algebra.panels import Panel
from viz.algebra.scene import INDEX, MARKS, Pass, Scene
from viz.algebra.thumbnails import cut_along_columns

OVER_C = "mean over channels"


def outside_panels(key: str, scene: Scene) -> list[Panel]:
    """Of the nodes that belong to no pass."""
    first, _, kind = key.partition(".")
    if first == "rdem":
        return rdem_panels(scene)
    if first == "combined":
        return combined_panels(scene)
    if first == "output":
        return output_panels(scene)
    if first == "residual":
        return residual_panels(scene, kind)
    seen = scene.trace.descriptors
    _, row, column = scene.cell
    if not kind:
        name = f"X, {OVER_C}"
        return [Panel(name, seen.hw, "column", "row", photo=True, mark=(row, column))]
    return [_descriptor(scene, kind, getattr(seen, kind), f"X<sub>{kind}</sub>")]


def _descriptor(scene: Scene, kind: str, values: Tensor, name: str) -> Panel:
    index = dict(zip("chw", scene.cell, strict=True))
    down, across = (INDEX[axis] for axis in kind)
    mark = index[kind[0]], index[kind[1]]
    return Panel(name, values, across, down, photo=kind == "hw", mark=mark)


def map_panels(scene: Scene, which: Pass) -> list[Panel]:
    """A_I or A_C, its mean over C and the followed channel."""
    name, factors = f"A<sub>{MARKS[which]}</sub>", scene.factors(which)
    channel, row, column = scene.cell
    spatial = factors.spatial()
    maps = {
        OVER_C: spatial * factors.c.mean(),
        f"channel {channel}": spatial * factors.c[:, channel],
    }
    return [
        Panel(
            f"{name}, {what}",
            values,
            "column",
            "row",
            signed=False,
            photo=True,
            mark=(row, column),
        )
        for what, values in maps.items()
    ]


def rdem_panels(scene: Scene) -> list[Panel]:
    """The shares that RDEM multiplies the descriptors with."""
    c, h, w = scene.trace.initial.c, scene.trace.initial.h, scene.trace.initial.w
    shares = (
        ("1 − c<sub>I</sub> ∘ h<sub>I</sub>", "ch", 1 - c[:, :, None] * h[:, None]),
        ("1 − c<sub>I</sub> ∘ w<sub>I</sub>", "cw", 1 - c[:, :, None] * w[:, None]),
        ("1 − h<sub>I</sub> ∘ w<sub>I</sub>", "hw", 1 - scene.trace.initial.spatial()),
    )
    return [
        Panel(name, share, INDEX[kind[1]], INDEX[kind[0]], signed=False)
        for name, kind, share in shares
    ]


def residual_panels(scene: Scene, kind: str) -> list[Panel]:
    """Before, after, and the error of the approximation."""
    before, after = (getattr(d, kind) for d in (scene.trace.descriptors, scene.trace.residual))
    error = after - getattr(scene.check.exact, kind)
    relative = float(scene.check.error[0, ("ch", "cw", "hw").index(kind)])
    panels = [
        _descriptor(scene, kind, before, f"X<sub>{kind}</sub>"),
        _descriptor(scene, kind, after, f"X<sub>{kind}</sub><sup>C</sup>"),
        _descriptor(scene, kind, error, f"error: {relative:.2%} of the exact norm"),
    ]
    limit = float(before.abs().max())  # of both: A_I only takes away
    return [replace(panel, limit=limit) for panel in panels[:2]] + panels[2:]


def combined_panels(scene: Scene) -> list[Panel]:
    """A_I, what A_C adds to it, and both."""
    initial, combined = scene.trace.initial, scene.trace.spatial()
    first = initial.spatial() * initial.c.mean()
    parts = {
        "A<sub>I</sub>": first,
        "(1 − A<sub>I</sub>) ⊗ A<sub>C</sub>": combined - first,
        "A": combined,
    }
    return [
        Panel(
            f"{name}, on average {float(values.mean()):.3f}",
            values,
            "column",
            "row",
            signed=False,
            photo=True,
            mark=scene.cell[1:],
        )
        for name, values in parts.items()
    ]


def output_panels(scene: Scene) -> list[Panel]:
    """X, X A_I and X_out; the means over C of the last two are exact."""
    before = scene.trace.descriptors.hw
    steps = {
        "X": before,
        "X ⊗ A<sub>I</sub>": before - scene.check.exact.hw,
        "X<sub>out</sub>": scene.output_mean,
    }
    return [
        Panel(
            f"{name}, up to ±{float(values.abs().max()):.2g}",
            values,
            "column",
            "row",
            photo=True,
            mark=scene.cell[1:],
        )
        for name, values in steps.items()
    ]


def cut_panels(scene: Scene, which: Pass, axis: str) -> list[Panel]:
    """The two descriptors of a factor with the borders of their chunks."""
    strips = scene.embedding(which, axis).strips
    panels = []
    for kind in dict.fromkeys(strip.descriptor for strip in strips):
        chunks = [s for s in strips if s.descriptor == kind and s.pooling == "Avg"]
        starts = sorted({s.start for s in chunks if s.start})
        upright = cut_along_columns(axis, kind)
        above = "C" if which == "complement" else ""
        panels.append(
            Panel(
                f"X<sub>{kind}</sub><sup>{above}</sup> in {_count(chunks)}",
                getattr(scene.descriptors(which), kind),
                INDEX[kind[1]],
                INDEX[kind[0]],
                uprights=starts if upright else (),
                levels=() if upright else starts,
            )
        )
    return panels


def _count(chunks: Sequence[Strip]) -> str:
    overlap = any(b.start < a.start + a.size for a, b in pairwise(chunks))
    return f"{len(chunks)}{' overlapping' * overlap} chunk{'s' * (len(chunks) > 1)}"


def strip_label(strip: Strip, axis: str) -> str:
    """As the paper writes it, for example P with cw below and 2 above, (Avg)."""
    over_c = axis != "c" and strip.descriptor != "hw"
    bar = "P̄" if over_c and strip.pooling == "Max" else "P"
    number = "" if bar != "P" and strip.count == 1 else str(strip.number)
    return f"{bar}<sub>{strip.descriptor}</sub><sup>{number}</sup> {strip.pooling}"


def pooled_panel(scene: Scene, which: Pass, axis: str) -> Panel:
    """P, its rows in the paper's order."""
    found = scene.embedding(which, axis)
    at = dict(zip("chw", scene.cell, strict=True))[axis]
    labels = [strip_label(strip, axis) for strip in found.strips]
    by_row = axis != "c"  # X_hw, averaged over C, is far smaller than the others
    name = f"P<sub>{axis}</sub>"
    if by_row:
        name += ", the colours of each line up to its own largest value"
        largest = found.pooled[0].abs().amax(1).tolist()
        labels = [f"{name} ±{v:.2g}" for name, v in zip(labels, largest, strict=True)]
    return Panel(
        name,
        found.pooled,
        INDEX[axis],
        "strip",
        mark=(None, at),
        labels=labels,
        by_row=by_row,
    )
