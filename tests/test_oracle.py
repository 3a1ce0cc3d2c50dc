"""The modules give what the papers' equations give, written as loops in ``oracle.py``."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from drtam import CBAM, DRTAM, CoordinateAttention, passes

shapes = st.tuples(st.integers(1, 12), st.integers(1, 9), st.integers(1, 9))
seeds = st.integers(0, 2**31)
several = settings(max_examples=150, deadline=None, derandomize=True)


def alive(module: nn.Module, seed: int) -> nn.Module:
    """Weights that reach every part of the sigmoids, and batch norms that have seen data."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, generator=generator)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(buffer, generator=generator)
        if name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 2, generator=generator)
    return module.eval()


def feature(shape: tuple[int, int, int], seed: int) -> torch.Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))


def agree(tensor: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(oracle.array(tensor), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def check_drtam(module: DRTAM, x: torch.Tensor) -> None:
    trace, output = module.trace(x), module(x)
    for image in range(len(x)):
        weights = oracle.RTAM.read(module.initial), oracle.RTAM.read(module.complement)
        expected = oracle.drtam(oracle.array(x[image]), *weights)
        for part in ("descriptors", "initial", "residual", "complement"):
            for name, value in getattr(expected, part).items():
                agree(getattr(getattr(trace, part), name)[image], value)
        agree(trace.attention()[image], expected.attention)
        agree(trace.spatial()[image], expected.attention.mean(0))
        agree(output[image], expected.output)


@several
@given(shapes, st.integers(1, 6), st.integers(1, 12), st.sampled_from((1, 3, 32)), seeds)
def test_drtam_is_section_3(shape, s, n, r, seed):
    module = alive(DRTAM(shape[0], s=s, n=n, r=r), seed)
    check_drtam(module, feature(shape, seed))


def test_drtam_is_section_3_on_a_photo(lion: Image.Image):
    pixels = np.array(lion.resize((47, 30))).transpose(2, 0, 1)
    check_drtam(alive(DRTAM(3, s=4, n=2), 1), torch.from_numpy(pixels)[None].float() / 64 - 2)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("together", [1, 2])
def test_drtam_is_section_3_part_by_part(monkeypatch, together, layout):
    monkeypatch.setattr(passes, "CACHED", together * 6 * 5 * 7)
    x = torch.randn(5, 6, 5, 7, generator=torch.Generator().manual_seed(0))
    check_drtam(alive(DRTAM(6), 1), x.contiguous(memory_format=layout))


@several
@given(shapes, st.sampled_from((1, 2, 16)), seeds)
@torch.no_grad()
def test_cbam_is_its_papers(shape, r, seed):
    module, x = alive(CBAM(shape[0], r=r), seed), feature(shape, seed)
    trace = module.trace(x)
    for image in range(len(x)):
        channel, spatial = oracle.cbam(oracle.array(x[image]), module)
        agree(trace.channel[image], channel)
        agree(trace.spatial_map[image], spatial)
        agree(module(x)[image], oracle.array(x[image]) * channel[:, None, None] * spatial)


@several
@given(shapes, st.sampled_from((1, 2, 32)), seeds)
@torch.no_grad()
def test_coordinate_attention_is_its_papers(shape, r, seed):
    module, x = alive(CoordinateAttention(shape[0], r=r), seed), feature(shape, seed)
    trace = module.trace(x)
    for image in range(len(x)):
        h, w = oracle.coordinate(oracle.array(x[image]), module)
        agree(trace.h[image], h)
        agree(trace.w[image], w)
        agree(module(x)[image], oracle.array(x[image]) * h[:, :, None] * w[:, None, :])
