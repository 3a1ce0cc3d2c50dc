"""The figure of Eqn 1-14: its numbers are the equations', and every node has all it needs."""

from __future__ import annotations

import copy
import re

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_oracle import agree, alive, feature, seeds, several, shapes
from torch import nn

from drtam import DRTAM, Descriptors, DRTAMTrace
from drtam.explain import Embedding, RTAMSteps, analyze, drtam_steps
from drtam.explain.residual import check_residual, exact_residual
from viz.algebra.diagram import diagram_html
from viz.algebra.figures import node_figure
from viz.algebra.nodes import NODES
from viz.algebra.numbers import worked
from viz.algebra.scene import Scene


def check_strips(found: Embedding, seen: dict[str, np.ndarray], axis: str, image: int) -> None:
    """Each row of P is the mean or maximum of the indices that the oracle puts in its chunk."""
    for k, strip in enumerate(found.strips):
        along = strip.descriptor.index(axis)
        cut = seen[strip.descriptor].swapaxes(0, along)  # (L, the axis that was cut)
        chunk = oracle.chunks(cut.shape[1], strip.count)[strip.number - 1]
        assert chunk == list(range(strip.start, strip.start + strip.size))
        pool = oracle.mean if strip.pooling == "Avg" else max
        agree(found.pooled[image, k], np.array([pool(row[j] for j in chunk) for row in cut]))


def check_spatial(found: Embedding, weights: dict, norm: oracle.Norm, image: int) -> None:
    pooled, length = oracle.array(found.pooled[image]), found.mixed.shape[1]
    s_h = np.zeros(length)
    for k, strip in enumerate(found.strips):
        kind = "hw" if strip.descriptor == "hw" else "c"
        taps = weights[kind + (" max" if strip.pooling == "Max" else ""), strip.number - 1]
        agree(found.weight[k], taps)
        for i in range(length):
            for tap in range(3):
                if 0 <= i + tap - 1 < length:
                    s_h[i] += taps[tap] * pooled[k, i + tap - 1]
    agree(found.mixed[image], s_h)
    agree(found.logit[image], np.array([norm(v) for v in s_h]))
    slope, intercept = found.norm
    agree(found.normed[image], slope * s_h + intercept)


def check_channel(found: Embedding, weights: oracle.RTAM, image: int) -> None:
    by_strip = [
        weights.channel[strip.descriptor, strip.number - 1, strip.pooling.lower()]
        for strip in found.strips
    ]
    agree(found.weight[:, 0], np.array(by_strip))
    s_c = np.array(by_strip) @ oracle.array(found.pooled[image])
    agree(found.mixed[image], s_c)
    if weights.channel_norm is not None:
        s_c = np.array([weights.channel_norm(v) for v in s_c])
    agree(found.normed[image], s_c)
    slope, intercept = found.norm
    agree(found.normed[image], slope * oracle.array(found.mixed[image]) + intercept)
    hidden = [max(0.0, v) for v in weights.f0(list(s_c))]
    agree(found.hidden[image], np.array(hidden))
    agree(found.logit[image], np.array(weights.f1(hidden)))


def check_rtam(steps: RTAMSteps, weights: oracle.RTAM, descriptors: Descriptors) -> None:
    for image in range(2):
        seen = {n: oracle.array(getattr(descriptors, n)[image]) for n in ("ch", "cw", "hw")}
        for axis in ("c", "h", "w"):
            check_strips(getattr(steps, axis), seen, axis, image)
        check_channel(steps.c, weights, image)
        check_spatial(steps.h, weights.row, weights.row_norm, image)
        check_spatial(steps.w, weights.column, weights.column_norm, image)
        for axis, factor in zip("chw", weights.factors(**seen), strict=True):
            agree(getattr(steps, axis).factor[image], factor)


@settings(several, max_examples=60)
@given(shapes, st.integers(1, 6), st.integers(1, 12), st.booleans(), st.booleans(), seeds)
def test_every_step_is_its_equation(shape, s, n, channel_norm, max_pools, seed):
    module = DRTAM(shape[0], s=s, n=n, channel_norm=channel_norm, max_pools=max_pools)
    module = alive(module, seed).double().requires_grad_(False)
    with torch.no_grad():
        trace = module.trace(feature(shape, seed).double())
    steps = drtam_steps(module, trace)
    check_rtam(steps.initial, oracle.RTAM.read(module.initial), trace.descriptors)
    check_rtam(steps.complement, oracle.RTAM.read(module.complement), trace.residual)


def traced(module: DRTAM, shape: tuple[int, int, int]) -> DRTAMTrace:
    with torch.no_grad():
        return module.trace(feature(shape, 0).to(module.initial.row.weight.dtype))


def test_rows_of_p_stand_in_the_order_of_eqn_5_and_10():
    module = alive(DRTAM(12, s=2, n=3), 0)
    steps = drtam_steps(module, traced(module, (12, 4, 6))).initial

    def names(found: Embedding) -> list[str]:
        return [f"{strip.descriptor}{strip.number} {strip.pooling}" for strip in found.strips]

    both = ["Avg", "Max"]
    assert names(steps.c) == [f"{d}{k} {p}" for k in (1, 2) for d in ("cw", "ch") for p in both]
    averages = ["hw1 Avg", "ch1 Avg", "hw2 Avg", "ch2 Avg", "ch3 Avg"]
    assert names(steps.h) == [*averages, "ch1 Max"]
    assert names(steps.w) == [name.replace("ch", "cw") for name in names(steps.h)]


def test_the_module_is_left_as_it_was():
    module = alive(DRTAM(8), 0).half().train()
    before = copy.deepcopy(module.state_dict())
    trace = traced(copy.deepcopy(module).eval(), (8, 5, 5))
    steps = drtam_steps(module, trace)
    assert steps.initial.c.factor.dtype == torch.float32
    assert module.training
    assert not any(layer._forward_hooks for layer in module.modules())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def scene(shape: tuple[int, int, int], note: str = "untrained", **options: object) -> Scene:
    module = alive(DRTAM(shape[0], **options), 3)
    x = feature(shape, 3)[:1]
    with torch.no_grad():
        trace = module.trace(x)
        check = check_residual(trace.residual, exact_residual(x, trace))
    photo = Image.new("RGB", (shape[2] * 8, shape[1] * 8), "gray")
    steps = drtam_steps(module, trace)
    return Scene(trace, check, trace.output.mean(1), steps, photo, note)


def test_every_node_cites_its_equations_and_together_they_are_the_paper_s_fourteen():
    assert all(node.equations and node.latex and node.prose for node in NODES.values())
    cited = {number for node in NODES.values() for number in node.equations}
    assert cited == set(range(1, 15))
    tags = re.findall(r"\\tag{(\d+)}", "".join(node.latex for node in NODES.values()))
    assert set(tags) == {"1", "2", "5", "6", "10", "11", "12", "13", "14"}  # others in tables
    assert not any("<" in node.latex.replace("0 < j", "") for node in NODES.values())


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((24, 7, 5), {"s": 3, "n": 5}),
        ((3, 1, 1), {"s": 4, "n": 4}),
        ((1, 2, 9), {}),
        ((9, 4, 6), {"n": 2, "channel_norm": True, "max_pools": True}),
    ],
)
def test_every_node_has_a_figure_a_thumbnail_and_numbers(shape, options):
    shown = scene(shape, **options)
    html = diagram_html(shown, "initial.h.mixed")
    keys = re.findall(r'data-node="([\w.]+)"', html)
    assert set(keys) == set(NODES)
    assert sorted(k for k in NODES if keys.count(k) > 1) == ["complement.map", "initial.map"]
    assert re.findall(r'data-node="([\w.]+)" aria-pressed="true"', html) == ["initial.h.mixed"]
    assert html.count('<em class="untrained">untrained</em>') == 3
    for key, node in NODES.items():
        figure = node_figure(key, shown, "layer4.2")
        assert figure.layout.title.text == f"{node.title} · layer4.2 · untrained"
        for trace in figure.data:
            drawn = trace.z if trace.type == "heatmap" else trace.y
            assert np.isfinite(np.asarray(drawn, float)).all()
        numbers = worked(key, shown)
        assert numbers.count("$") % 2 == 0
        assert "nan" not in numbers


def test_figures_show_the_values_of_their_node():
    shown = scene((24, 7, 5), s=3, n=5)
    for which in ("initial", "complement"):
        seen, factors = shown.descriptors(which), shown.factors(which)
        for axis in "chw":
            found = shown.embedding(which, axis)
            weights, pooled, mixed, _ = node_figure(f"{which}.{axis}.mixed", shown, "").data
            np.testing.assert_allclose(weights.z, found.weight)
            raw = pooled.z if axis == "c" else pooled.customdata
            np.testing.assert_allclose(raw, found.pooled[0])
            np.testing.assert_allclose(mixed.y, found.mixed[0])
            _, points, line, _ = node_figure(f"{which}.{axis}.factor", shown, "").data
            np.testing.assert_allclose(1 / (1 + np.exp(-points.x)), points.y, rtol=1e-5)
            np.testing.assert_allclose(line.y, getattr(factors, axis)[0], rtol=1e-5)
        over_w, over_c = node_figure(f"{which}.h.cut", shown, "").data
        np.testing.assert_allclose(over_w.z, seen.hw[0])
        np.testing.assert_allclose(over_c.z, seen.ch[0])
        mean, one = node_figure(f"{which}.map", shown, "").data
        np.testing.assert_allclose(mean.z, factors.map()[0].mean(0), rtol=1e-5)
        np.testing.assert_allclose(one.z, factors.map()[0, shown.cell[0]], rtol=1e-5)
    first, added, both = (panel.z for panel in node_figure("combined", shown, "").data)
    np.testing.assert_allclose(first + added, both, rtol=1e-5)
    np.testing.assert_allclose(both, shown.trace.attention()[0].mean(0), rtol=1e-5)


def test_the_recalibrated_feature_is_that_of_eqn_1():
    module, x = alive(DRTAM(12), 4), feature((12, 6, 5), 4)[:1]
    layer = analyze(
        nn.Sequential(nn.Conv2d(12, 12, 1), module, nn.Flatten(), nn.Linear(360, 2)), x
    )
    (found,) = layer.layers.values()
    torch.testing.assert_close(found.output_mean, found.trace.output.mean(1))
    shown = Scene(
        found.trace,
        found.residual,
        found.output_mean,
        drtam_steps(module, found.trace),
        Image.new("RGB", (5, 6)),
        "",
    )
    attention, initial = found.trace.attention(), found.trace.initial.map()
    seen = found.trace.output / attention
    panels = node_figure("output", shown, "").data
    for panel, weight in zip(panels, (torch.ones_like(seen), initial, attention), strict=True):
        np.testing.assert_allclose(panel.z, (seen * weight)[0].mean(0), atol=1e-5)


def test_borders_stand_where_chunks_begin():
    shown = scene((24, 7, 5), s=3, n=5)
    lines = [s for s in node_figure("initial.c.cut", shown, "").layout.shapes if s.type == "line"]
    expected = {"x": [2, 4], "x2": [3, 6]}  # W: 2+2+1, H: 3+3+1
    for name, starts in expected.items():
        drawn = sorted({line.x0 for line in lines if line.xref == name})
        assert drawn == [start - 0.5 for start in starts]
    assert "X_cw along W = 5: 2 + 2 + 1; X_ch along H = 7: 3 + 3 + 1" in worked(
        "initial.c.cut", shown
    )
    lines = [s for s in node_figure("initial.w.cut", shown, "").layout.shapes if s.type == "line"]
    drawn = {name: sorted({s.y0 for s in lines if s.yref == name}) for name in ("y", "y2")}
    assert drawn == {"y": [2.5, 5.5], "y2": [4.5, 9.5, 14.5, 19.5]}  # H, and C: 5+5+5+5+4


def parts(text: str) -> list[float]:
    """The values of what stands between the equals signs of the first formula."""
    formula = re.sub(r"10\^{(-?\d+)}", r"10**(\1)", text.split("$")[1]).replace(r"\cdot", "*")
    return [eval(part) for part in formula.split(" = ")[1:] if not re.search(r"[a-zA-Z]", part)]


def test_the_arithmetic_that_is_written_out_is_right_and_ends_in_the_trace_s_value():
    shown = scene((24, 7, 5), s=3, n=5)
    attention, where = shown.trace.attention()[0], dict(zip("chw", shown.cell, strict=True))
    assert attention[shown.cell] == attention.max()
    expected = {"combined": attention.max()}
    for which in ("initial", "complement"):
        expected[f"{which}.map"] = shown.factors(which).map()[0][shown.cell]
        for axis, at in where.items():
            found = shown.embedding(which, axis)
            expected[f"{which}.{axis}.pooled"] = found.pooled[0, 0, at]
            expected[f"{which}.{axis}.mixed"] = found.mixed[0, at]
            expected[f"{which}.{axis}.logit"] = found.logit[0, at]
            expected[f"{which}.{axis}.factor"] = getattr(shown.factors(which), axis)[0, at]
    for kind in ("ch", "cw", "hw"):
        at = where[kind[0]], where[kind[1]]
        expected[f"x.{kind}"] = getattr(shown.trace.descriptors, kind)[0][at]
        expected[f"residual.{kind}"] = getattr(shown.trace.residual, kind)[0][at]
    for key, value in expected.items():
        *before, last = parts(worked(key, shown))
        assert last == pytest.approx(float(value), rel=2e-3, abs=1e-4), key
        assert all(part == pytest.approx(last, rel=5e-3, abs=2e-4) for part in before), key
        unfinished = key.endswith((".mixed", ".logit", ".factor")) or key.startswith("x.")
        assert before or unfinished, key


def test_chunks_that_overlap_and_the_authors_options_are_mentioned():
    narrow = scene((3, 1, 1), s=4, n=4)
    assert "so they overlap" in worked("initial.c.cut", narrow)
    titles = [each.text for each in node_figure("initial.c.cut", narrow, "").layout.annotations]
    assert all(title.endswith("in 4 overlapping chunks") for title in titles)
    theirs = scene((9, 4, 6), n=2, channel_norm=True, max_pools=True)
    assert "a batch norm on S_c before F0" in worked("initial.c.logit", theirs)
    assert "chunks of X_hw give maxima too" in worked("initial.h.pooled", theirs)
    ours = scene((9, 4, 6), n=2)
    for key in NODES:
        assert "authors" not in worked(key, ours)
