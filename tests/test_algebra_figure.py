"""The figure of Eqn 1-14: its numbers are the equations', and every node has all it needs."""

from __future__ import annotations

import copy

import numpy as np
import oracle
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_oracle import agree, alive, feature, seeds, several, shapes

from drtam import DRTAM, Descriptors, DRTAMTrace
from drtam.explain import Embedding, RTAMSteps, drtam_steps


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


def test_steps_lead_to_the_factors_of_the_trace():
    module = alive(DRTAM(12, s=3, n=5), 0)
    trace = traced(module, (12, 7, 4))
    steps = drtam_steps(module, trace)
    for way, factors in ((steps.initial, trace.initial), (steps.complement, trace.complement)):
        for axis in ("c", "h", "w"):
            torch.testing.assert_close(getattr(way, axis).factor, getattr(factors, axis))


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
