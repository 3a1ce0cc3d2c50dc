"""What the paper claims of its maps, checked as linear algebra and calculus."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_oracle import alive, feature, seeds
from torch import Tensor

from drtam import CBAM, DRTAM, CoordinateAttention, Descriptors, DRTAMTrace, Factors

SHAPE = (6, 5, 7)


def traced(seed: int = 0) -> tuple[Tensor, DRTAMTrace]:
    x = feature(SHAPE, seed).double()
    with torch.no_grad():
        return x, alive(DRTAM(SHAPE[0], s=2, n=2), seed).double().trace(x)


def unfoldings(tensor: Tensor) -> list[Tensor]:
    """The three matrices of a (C, H, W), one axis against both others."""
    return [tensor.movedim(axis, 0).flatten(1) for axis in range(3)]


def singular_values(tensor: Tensor) -> Tensor:
    """(3, number), largest first, of each unfolding; each relative to its largest."""
    values = [torch.linalg.svdvals(matrix)[: min(SHAPE)] for matrix in unfoldings(tensor)]
    return torch.stack([v / v[0] for v in values])


@pytest.mark.parametrize("which", ["initial", "complement"])
def test_initial_and_complement_map_have_rank_one(which):
    maps = getattr(traced()[1], which).map()
    assert maps.std() > 0.01  # a constant would have rank 1 too
    for image in maps:
        assert singular_values(image)[:, 1:].max() < 1e-12


def test_the_combined_map_has_rank_three_at_most_and_more_than_one():
    for image in traced()[1].attention():
        values = singular_values(image)
        assert values[:, 3:].max() < 1e-12
        assert values[:, 1].min() > 1e-4


def test_both_forms_of_eqn_1_agree():
    x, trace = traced()
    first, second = trace.initial.map(), trace.complement.map()
    torch.testing.assert_close(trace.output, x * first + x * (1 - first) * second)
    torch.testing.assert_close(trace.output, x * (first + (1 - first) * second))
    torch.testing.assert_close(trace.attention(), torch.lerp(second, torch.ones_like(x), first))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_combined_map_lies_in_0_1(dtype, scale):
    x = (feature((16, 9, 8), 1) * scale).to(dtype)
    with torch.no_grad():
        trace = alive(DRTAM(16), 1).to(dtype).trace(x)
    for tensor in (trace.attention(), trace.spatial()):
        assert tensor.isfinite().all()
        assert tensor.min() >= 0
        assert tensor.max() <= 1


def test_the_combined_map_holds_more_than_either():
    trace = traced()[1]
    attention = trace.attention()
    assert (attention >= trace.initial.map()).all()
    assert (attention >= trace.complement.map()).all()


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), seeds)
def test_a_residual_descriptor_is_exact_when_the_factor_that_it_drops_is_one(c, h, w, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, c, h, w, generator=generator, dtype=torch.float64)
    factors = {
        axis: torch.rand(2, size, generator=generator, dtype=torch.float64)
        for axis, size in (("c", c), ("h", h), ("w", w))
    }
    for descriptor, dropped in (("ch", "w"), ("cw", "h"), ("hw", "c")):
        one = Factors(**{**factors, dropped: torch.ones_like(factors[dropped])})
        exact = Descriptors.of(x - x * torch.einsum("bc,bh,bw->bchw", one.c, one.h, one.w))
        found = Descriptors.of(x).residual(one)
        torch.testing.assert_close(getattr(found, descriptor), getattr(exact, descriptor))


def test_residual_descriptors_are_approximations_otherwise():
    x, trace = traced()
    exact = Descriptors.of(x * (1 - trace.initial.map()))
    for name in ("ch", "cw", "hw"):
        assert (getattr(trace.residual, name) - getattr(exact, name)).abs().max() > 1e-3


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "module",
    [DRTAM(5, s=2, n=2), DRTAM(3, s=5, n=4), CBAM(5, r=2), CoordinateAttention(5, r=1)],
    ids=["drtam", "drtam, overlapping chunks", "cbam", "ca"],
)
def test_gradients_are_finite_differences(module, training):
    module = alive(module, 2).double().train(training)
    names, values = zip(*module.named_parameters(), strict=True)
    x = feature((module.channels, 4, 3), 2).double().requires_grad_()

    def function(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(function, (x, *values))
