"""Where an axis is cut: three rules, each against the torch function that defines it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from drtam.chunks import averages, bounds, maxima, membership

LENGTHS, COUNTS = range(1, 65), range(1, 17)


def cut(length: int, count: int) -> list[list[int]]:
    return [list(range(start, start + size)) for start, size in bounds(length, count)]


@pytest.mark.parametrize("count", COUNTS)
def test_every_axis_gives_as_many_chunks_as_asked_for(count):
    for length in LENGTHS:
        found = cut(length, count)
        assert len(found) == count
        assert all(found)
        assert {index for chunk in found for index in chunk} == set(range(length))


@pytest.mark.parametrize("count", COUNTS)
def test_chunks_are_torchs(count):
    ruled_by = set()
    for length in LENGTHS:
        axis, found = torch.arange(length), cut(length, count)
        for rule in (torch.chunk, torch.tensor_split):
            expected = [part.tolist() for part in rule(axis, count)]
            if len(expected) == count and all(expected):
                assert found == expected
                ruled_by.add(rule)
                break
    assert torch.chunk in ruled_by


@pytest.mark.parametrize("count", COUNTS)
def test_the_graph_for_any_length_has_the_same_chunks(count):
    for length in LENGTHS:
        inside = membership(torch.empty(2, length), 1, count)
        assert [row.nonzero()[:, 0].tolist() for row in inside] == cut(length, count)


def test_the_papers_stages():
    sizes = {length: [size for _, size in bounds(length, 3)] for length in (56, 28, 14, 7, 4)}
    assert sizes == {
        56: [19, 19, 18],
        28: [10, 10, 8],
        14: [5, 5, 4],
        7: [3, 3, 1],
        4: [2, 1, 1],
    }


@pytest.mark.parametrize("count", [2, 3, 5, 16])
def test_short_axes_are_pooled_adaptively(count):
    for length in range(1, count):
        x = torch.randn(2, 3, length)
        average, maximum = (pool(x, 2, (length,), count) for pool in (averages, maxima))
        torch.testing.assert_close(average, nn.functional.adaptive_avg_pool1d(x, count))
        torch.testing.assert_close(maximum, nn.functional.adaptive_max_pool1d(x, count))


@pytest.mark.parametrize(("pool", "reduce"), [(averages, torch.mean), (maxima, torch.amax)])
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("lengths", [(7,), (7, 8)])
def test_axes_behind_each_other_are_cut_by_themselves(pool, reduce, dim, lengths):
    x = torch.randn(2, 15, 15).narrow(dim, 0, sum(lengths))
    axes = x.split(lengths, dim)
    expected = torch.stack(
        [reduce(part, dim) for axis in axes for part in axis.chunk(3, dim)], dim
    )
    torch.testing.assert_close(pool(x, dim, lengths, 3), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("lengths", [(30,), (9, 21), (2, 28)])
@pytest.mark.parametrize("count", [1, 3])
def test_maxima_share_their_gradient_as_amax_does(dtype, dim, lengths, count):
    """Of tensors large enough to have a backward pass of their own, full of ties."""
    x = torch.randint(-3, 3, (80, 30, 30)).to(dtype).requires_grad_()
    found = maxima(x, dim, lengths, count)
    parts = [
        part.narrow(dim, *chunk)
        for part in x.split(lengths, dim)
        for chunk in bounds(part.shape[dim], count)
    ]
    expected = torch.stack([part.amax(dim) for part in parts], dim)
    weights = torch.randn_like(found)
    gradients = [torch.autograd.grad(y, x, weights)[0] for y in (found, expected)]
    assert torch.equal(found, expected)
    torch.testing.assert_close(*gradients)


def test_the_gradient_of_large_maxima_has_a_gradient():
    x = torch.randperm(90_000, dtype=torch.float64).view(100, 30, 30).requires_grad_()

    def twice(pool):
        (gradient,) = torch.autograd.grad(pool(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), x)[0]

    assert torch.equal(
        twice(lambda x: maxima(x, 1, (30,), 1)), twice(lambda x: x.amax(1, keepdim=True))
    )
