"""One number on its way through the equations, with this photo's values, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from drtam.explain import Strip
from viz.algebra.scene import INDEX, MARKS, Pass, Scene, split_key


def worked(key: str, scene: Scene) -> str:
    """The arithmetic of the followed number at the node of that key; LaTeX between dollars."""
    which, rest = split_key(key)
    if which is not None:
        return _of_pass(rest, scene, which)
    first, _, kind = key.partition(".")
    if kind:
        return _descriptor(kind, scene) if first == "x" else _residual(kind, scene)
    return {"x": _feature, "rdem": _rdem, "combined": _combined, "output": _output}[key](scene)


def _number(value: float) -> str:
    text = f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3e}"
    mantissa, _, exponent = text.partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else text


def _at(scene: Scene, kind: str) -> list[int]:
    index = dict(zip("chw", scene.cell, strict=True))
    return [index[axis] for axis in kind]


def _feature(scene: Scene) -> str:
    channels, height, width = scene.shape
    channel, row, column = scene.cell
    few = channels * height + channels * width + height * width
    return (
        f"Here X has C = {channels} channels of H × W = {height} × {width} cells, "
        f"{channels * height * width:,} numbers; its three descriptors together have {few:,}. "
        f"The number that the text follows from step to step is that of **channel {channel}, row "
        f"{row}, column {column}** (counted from 0), where A is largest. The figures mark "
        "it in magenta."
    )


def _descriptor(kind: str, scene: Scene) -> str:
    i, j = _at(scene, kind)
    value = float(getattr(scene.trace.descriptors, kind)[0, i, j])
    return rf"$\mathcal{{X}}_{{{kind}}}[{i}, {j}] = {_number(value)}$"


def _of_pass(rest: str, scene: Scene, which: Pass) -> str:
    mark, factors = MARKS[which], scene.factors(which)
    c, h, w = scene.cell
    values = float(factors.c[0, c]), float(factors.h[0, h]), float(factors.w[0, w])
    if rest == "rtam":
        names = (f"c_{mark}[{c}]", f"h_{mark}[{h}]", f"w_{mark}[{w}]")
        found = (f"{n} = {_number(v)}" for n, v in zip(names, values, strict=True))
        return "$" + r", \quad ".join(found) + "$"
    if rest == "map":
        product = values[0] * values[1] * values[2]
        terms = r" \cdot ".join(_number(value) for value in values)
        return (
            rf"$\mathcal{{A}}_{{\mathcal{{{mark}}}}}[{c}, {h}, {w}] = "
            rf"c_{mark}[{c}] \cdot h_{mark}[{h}] \cdot w_{mark}[{w}] = "
            rf"{terms} = {_number(product)}$"
        )
    axis, _, step = rest.partition(".")
    if step == "cut":
        return _cut(scene, which, axis)
    return {"pooled": _pooled, "mixed": _mixed, "logit": _logit, "factor": _factor}[step](
        scene, which, axis
    )


def _cut(scene: Scene, which: Pass, axis: str) -> str:
    strips = scene.embedding(which, axis).strips
    parts = []
    for kind in dict.fromkeys(strip.descriptor for strip in strips):
        chunks = [s for s in strips if s.descriptor == kind and s.pooling == "Avg"]
        along = axis_cut(kind, axis)
        sizes = " + ".join(str(chunk.size) for chunk in chunks)
        length = dict(zip("chw", scene.shape, strict=True))[along]
        parts.append(f"X_{kind} along {along.upper()} = {length}: {sizes}")
    text = "The chunks here: " + "; ".join(parts) + "."
    if any(s.start + s.size > t.start for s, t in _neighbours(strips)):
        text += " The axis is shorter than the number of chunks, so they overlap."
    return text


def axis_cut(kind: str, axis: str) -> str:
    """The axis along which a descriptor is cut for a factor: its own other one."""
    return kind.replace("c" if axis == "c" else axis, "")


def _neighbours(strips: Sequence[Strip]) -> list[tuple[Strip, Strip]]:
    pairs = []
    for kind in ("ch", "cw", "hw"):
        own = [s for s in strips if s.descriptor == kind and s.pooling == "Avg"]
        pairs += list(pairwise(own))
    return pairs


def _pooled(scene: Scene, which: Pass, axis: str) -> str:
    found, at = scene.embedding(which, axis), _at(scene, axis)[0]
    strip, value = found.strips[0], float(found.pooled[0, 0, at])
    seen = getattr(scene.descriptors(which), strip.descriptor)[0]
    line = seen[at] if strip.descriptor[0] == axis else seen[:, at]
    chunk = [float(v) for v in line[strip.start : strip.start + strip.size]]
    shown = [_number(v) for v in (chunk if len(chunk) <= 5 else chunk[:3])]
    terms = " + ".join(f"({v})" if v.startswith("-") else v for v in shown)
    terms += r" + \dots" * (len(chunk) > 5)
    text = (
        rf"The first line, for {INDEX[axis]} {at}: $\mathcal{{P}}_{{{strip.descriptor}}}^1[{at}] "
        rf"= ({terms}) / {len(chunk)} = {_number(value)}$"
    )
    if sum(s.pooling == "Max" and s.descriptor == "hw" for s in found.strips):
        text += "\n\nNot in the paper, but in its authors' code: chunks of X_hw give maxima too."
    return text


def _mixed(scene: Scene, which: Pass, axis: str) -> str:
    found, at = scene.embedding(which, axis), _at(scene, axis)[0]
    length, taps = found.mixed.shape[1], found.weight.shape[1]
    terms = [
        (float(found.weight[k, tap]), float(found.pooled[0, k, at + tap - taps // 2]))
        for k in range(len(found.strips))
        for tap in range(taps)
        if 0 <= at + tap - taps // 2 < length
    ]
    shown = " + ".join(rf"{_signed(a)} \cdot {_signed(b)}" for a, b in terms[:3])
    more = r" + \dots" * (len(terms) > 3)
    return (
        rf"$\mathcal{{S}}_{axis}[{at}] = {shown}{more} = {_number(float(found.mixed[0, at]))}$, "
        f"a sum of {len(terms)} products."
    )


def _signed(value: float) -> str:
    return f"({_number(value)})" if value < 0 else _number(value)


def _logit(scene: Scene, which: Pass, axis: str) -> str:
    found, at = scene.embedding(which, axis), _at(scene, axis)[0]
    before, after = float(found.mixed[0, at]), float(found.logit[0, at])
    slope, intercept = found.norm
    if found.hidden is None:
        return (
            rf"$\text{{BN}}(\mathcal{{S}}_{axis})[{at}] = {_signed(slope)} \cdot "
            rf"{_signed(before)} + {_signed(intercept)} = {_number(after)}$"
        )
    active = int((found.hidden[0] > 0).sum())
    text = (
        rf"{active} of {found.hidden.shape[1]} hidden units are above 0. "
        rf"$\mathcal{{F}}_1(\text{{ReLU}}(\mathcal{{F}}_0(\mathcal{{S}}_c)))[{at}] = "
        rf"{_number(after)}$"
    )
    if found.norm != (1.0, 0.0):
        text += (
            "\n\nNot in the paper, but in its authors' code: a batch norm on S_c before F0, "
            rf"$\mathcal{{S}}_c[{at}] \to {_signed(slope)} \cdot {_signed(before)} + "
            rf"{_signed(intercept)}$."
        )
    return text


def _factor(scene: Scene, which: Pass, axis: str) -> str:
    found, at = scene.embedding(which, axis), _at(scene, axis)[0]
    logit, factor = float(found.logit[0, at]), float(found.factor[0, at])
    low, high = float(found.factor.min()), float(found.factor.max())
    return (
        rf"${axis}_{MARKS[which]}[{at}] = \sigma({_number(logit)}) = "
        rf"1 / (1 + e^{{{_number(-logit)}}}) = {_number(factor)}$. "
        f"All {found.factor.shape[1]} are between {low:.4f} and {high:.4f}."
    )


def _rdem(scene: Scene) -> str:
    errors = [f"{float(error):.2%}" for error in scene.check.error[0]]
    return (
        "Against exact pooling of X ⊗ (1 − A_I), relative to its norm, the approximation is off "
        f"by **{errors[0]}** for X_ch, **{errors[1]}** for X_cw and **{errors[2]}** for X_hw."
    )


def _residual(kind: str, scene: Scene) -> str:
    i, j = _at(scene, kind)
    factors = scene.trace.initial
    a, b = (float(getattr(factors, axis)[0, k]) for axis, k in zip(kind, (i, j), strict=True))
    before, after = (
        float(getattr(d, kind)[0, i, j]) for d in (scene.trace.descriptors, scene.trace.residual)
    )
    exact = float(getattr(scene.check.exact, kind)[0, i, j])
    return (
        rf"$\mathcal{{X}}_{{{kind}}}^C[{i}, {j}] = {_number(before)} \cdot "
        rf"(1 - {_number(a)} \cdot {_number(b)}) = {_number(after)}$; "
        f"pooled exactly it would be ${_number(exact)}$."
    )


def _maps_at(scene: Scene) -> tuple[float, float]:
    c, h, w = scene.cell
    first, second = (
        float(f.c[0, c] * f.h[0, h] * f.w[0, w])
        for f in (scene.trace.initial, scene.trace.complement)
    )
    return first, second


def _combined(scene: Scene) -> str:
    c, h, w = scene.cell
    first, second = _maps_at(scene)
    total = first + (1 - first) * second
    return (
        rf"$\mathcal{{A}}[{c}, {h}, {w}] = c_I h_I w_I + (1 - c_I h_I w_I) \, c_C h_C w_C = "
        rf"{_number(first)} + (1 - {_number(first)}) \cdot {_number(second)} = "
        rf"{_number(total)}$: the largest value of A."
    )


def _output(scene: Scene) -> str:
    _, h, w = scene.cell
    before = float(scene.trace.descriptors.hw[0, h, w])
    after = float(scene.output_mean[0, h, w])
    first, second = _maps_at(scene)
    return (
        f"Channel {scene.cell[0]} keeps {first + (1 - first) * second:.1%} of its value in row "
        rf"{h}, column {w}. The mean over all channels there goes from ${_number(before)}$ to "
        rf"${_number(after)}$."
    )
