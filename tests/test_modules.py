"""Promises that every attention module keeps: sizes, precisions, layouts, errors, memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from test_oracle import alive
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from drtam import (
    CBAM,
    DRTAM,
    AttentionModule,
    CoordinateAttention,
    RankOneAttention,
    attention_layers,
)
from drtam.base import AttentionTrace
from drtam.passes import means, recalibrate

KINDS = [DRTAM, CBAM, CoordinateAttention]
SIZES = [(56, 56), (28, 28), (14, 14), (7, 7), (4, 4), (3, 3), (1, 1), (2, 9), (13, 1), (5, 30)]
every_kind = pytest.mark.parametrize("kind", KINDS)


def made(kind: type[AttentionModule], channels: int = 24, **more: int) -> AttentionModule:
    return alive(kind(channels, **more), 3)


@torch.no_grad()
def assert_consistent(module: AttentionModule, x: Tensor) -> None:
    """The output is X times the map, whose mean over C is the spatial map."""
    trace, output = module.trace(x), module(x)
    assert output.shape == x.shape
    torch.testing.assert_close(output, trace.output, rtol=0, atol=0)
    torch.testing.assert_close(output, x * trace.attention())
    torch.testing.assert_close(trace.spatial(), trace.attention().mean(1))
    assert 0 <= trace.attention().min() <= trace.attention().max() <= 1


@every_kind
@pytest.mark.parametrize("size", SIZES)
def test_every_size_works(kind, size):
    assert_consistent(made(kind), torch.randn(2, 24, *size))


@pytest.mark.parametrize("s", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("n", [1, 5, 64])
def test_every_number_of_chunks_works_at_every_size(s, n):
    module = made(DRTAM, channels=10, s=s, n=n)
    for height in (s - 1, s, s + 1, 7):
        if height:
            assert_consistent(module, torch.randn(1, 10, height, 4))


@every_kind
@pytest.mark.parametrize("r", [1, 24, 128])
def test_every_reduction_ratio_works(kind, r):
    module, x = made(kind, r=r), torch.randn(2, 24, 6, 5)
    assert_consistent(module, x)
    gates = module.trace(x).attention().amax((2, 3))
    assert (gates[0] - gates[1]).abs().max() > 1e-4  # the MLP never loses its input


@every_kind
@pytest.mark.parametrize("channels", [1, 3])
def test_few_channels_work(kind, channels):
    assert_consistent(made(kind, channels), torch.randn(2, channels, 6, 5))


@every_kind
@torch.no_grad()
def test_images_of_a_batch_do_not_mix(kind):
    module, x = made(kind), torch.randn(3, 24, 6, 5)
    alone = torch.cat([module(image[None]) for image in x])
    torch.testing.assert_close(module(x), alone)


@every_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_is_close(kind, dtype):
    module, x = made(kind), torch.randn(2, 24, 14, 9)
    expected = module(x)
    found = copy.deepcopy(module).to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    error = (found.float() - expected).norm() / expected.norm()
    assert error < (0.03 if dtype == torch.bfloat16 else 0.005)


@every_kind
@torch.no_grad()
def test_autocast_works(kind):
    module, x = made(kind), torch.randn(2, 24, 14, 9)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(x)
    assert (found.float() - module(x)).norm() / x.norm() < 0.03


@every_kind
@torch.no_grad()
def test_memory_layouts_agree_and_are_kept(kind):
    module, x = made(kind), torch.randn(2, 24, 14, 9)
    expected = module(x)
    assert expected.is_contiguous()
    last = module(x.contiguous(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, expected)
    transposed = x.mT.contiguous().mT  # neither layout
    torch.testing.assert_close(module(transposed), expected)


class LargeTensors(TorchDispatchMode):
    """Counts the tensors of at least ``size`` elements that operations allocate."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.memory = size, set[int]()
        self.alive: list[Tensor] = []  # so that no address is used twice

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        known = {a.untyped_storage().data_ptr() for a in args if isinstance(a, Tensor)}
        if isinstance(out, Tensor) and out.numel() >= self.size:
            address = out.untyped_storage().data_ptr()
            if address not in known:
                self.memory.add(address)
                self.alive.append(out)
        return out


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@torch.no_grad()
def test_forward_builds_no_full_size_tensor_but_the_output(layout):
    x = torch.randn(2, 64, 28, 28).contiguous(memory_format=layout)
    with LargeTensors(x.numel()) as seen:
        made(DRTAM, 64)(x)
    assert len(seen.memory) == 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_gradients_are_those_of_the_equations_as_written(layout, dtype):
    """Against autograd through Eqn 1 and plain means."""
    x = torch.randn(2, 24, 7, 6, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    channel = torch.rand(2, 3, 24, dtype=dtype, requires_grad=True)
    spatial = torch.rand(2, 3, 7, 6, dtype=dtype, requires_grad=True)
    given = torch.randn(2, 24, 7, 6, dtype=dtype)

    def loss(product: Tensor, pooled: tuple[Tensor, ...]) -> Tensor:
        return (product * given).sum() + sum(mean.square().sum() for mean in pooled)

    inputs = x, channel, spatial
    found = torch.autograd.grad(loss(recalibrate(*inputs), means(x)), inputs)
    attention = torch.einsum("bkc,bkhw->bchw", channel, spatial)
    strips = torch.cat((x.mean(3), x.mean(2)), dim=2)
    plain = torch.autograd.grad(loss(x * attention, (strips, x.mean(1))), inputs)
    tolerance = {"rtol": 0.03, "atol": 0.06} if dtype == torch.bfloat16 else {}
    for ours, expected in zip(found, plain, strict=True):
        torch.testing.assert_close(ours, expected, **tolerance)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_have_gradients(layout):
    module = made(DRTAM, 5).double()
    x = torch.randn(2, 5, 4, 3, dtype=torch.float64).contiguous(memory_format=layout)
    x.requires_grad_()
    assert torch.autograd.gradcheck(module, x)
    assert torch.autograd.gradgradcheck(module, x)


@every_kind
def test_transforms_of_functions_agree_with_autograd(kind):
    module, x = made(kind), torch.randn(3, 24, 7, 6)
    found = torch.func.grad(lambda x: module(x).square().sum())(x)
    expected = torch.autograd.grad(module(x.requires_grad_()).square().sum(), x)[0]
    torch.testing.assert_close(found, expected)
    mapped = torch.func.vmap(lambda image: module(image[None])[0])(x)
    torch.testing.assert_close(mapped, module(x))


@every_kind
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_what_comes_next_may_overwrite_the_output(kind, layout, dtype):
    module, found = made(kind).to(dtype), []
    for inplace in (True, False):
        x = torch.randn(2, 24, 7, 6, generator=torch.Generator().manual_seed(0))
        x = x.to(dtype).contiguous(memory_format=layout).requires_grad_()
        output = torch.relu_(module(x)) if inplace else torch.relu(module(x))
        assert output.is_contiguous(memory_format=layout)
        found.append((output, *torch.autograd.grad(output.sum(), x)))
    assert all(torch.equal(ours, expected) for ours, expected in zip(*found, strict=True))


@every_kind
def test_gradients_by_the_weights_alone_agree_with_autograd(kind):
    module, x = made(kind), torch.randn(3, 24, 7, 6)
    weights = dict(module.named_parameters())
    call = torch.func.functional_call
    found = torch.func.grad(lambda weights: call(module, weights, x).square().mean())(weights)
    expected = torch.autograd.grad(module(x).square().mean(), list(weights.values()))
    torch.testing.assert_close(list(found.values()), list(expected))


@every_kind
def test_training_updates_every_parameter(kind):
    module = made(kind).train()
    module(torch.randn(4, 24, 7, 6)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_mlp_is_shared_and_stays_shared():
    for module in (DRTAM(32), copy.deepcopy(DRTAM(32))):
        assert module.initial.mlp[0].weight is module.complement.mlp[0].weight
        assert module.initial.row.weight is not module.complement.row.weight
    hidden = DRTAM(64, r=32).initial.mlp[0].out_features, DRTAM(512, r=32).initial.mlp[0]
    assert (hidden[0], hidden[1].out_features) == (8, 16)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: DRTAM(0), "channels must be a whole number of at least 1, not 0"),
        (lambda: DRTAM(2.0), "channels must be a whole number of at least 1, not 2.0"),
        (lambda: DRTAM(8, s=0), "s must be a whole number from 1 to 16, not 0"),
        (lambda: DRTAM(8, s=17), "s must be a whole number from 1 to 16, not 17"),
        (lambda: DRTAM(8, s=True), "s must be a whole number from 1 to 16, not True"),
        (lambda: DRTAM(8, n=65), "n must be a whole number from 1 to 64, not 65"),
        (lambda: DRTAM(8, r=129), "r must be a whole number from 1 to 128, not 129"),
        (lambda: RankOneAttention(8, n="2"), "n must be a whole number from 1 to 64, not '2'"),
        (lambda: CBAM(-1), "channels must be a whole number of at least 1, not -1"),
        (lambda: CBAM(8, r=0), "r must be a whole number from 1 to 128, not 0"),
        (lambda: CoordinateAttention(8, r=None), "r must be a whole number .* not None"),
    ],
)
def test_a_wrong_argument_is_named(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@every_kind
@pytest.mark.parametrize(
    ("x", "says"),
    [
        (torch.zeros(24, 7, 7), r"shape \(B, C, H, W\), not \(24, 7, 7\)"),
        (torch.zeros(1, 23, 7, 7), "C=24 channels, not 23"),
        (torch.zeros(1, 24, 0, 7), r"not be empty, but its shape is \(1, 24, 0, 7\)"),
        (torch.zeros(1, 24, 7, 7, dtype=torch.int64), "floating point, not torch.int64"),
    ],
)
def test_a_wrong_feature_is_refused(kind, x, says):
    with pytest.raises(ValueError, match=says):
        made(kind)(x)


def test_layers_are_named_after_what_holds_them():
    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = DRTAM(8), CBAM(8)

    network = torch.nn.Sequential(Block(), torch.nn.Sequential(torch.nn.ReLU(), CBAM(8)))
    assert list(attention_layers(network)) == ["0.first", "0.second", "1"]
    assert list(attention_layers(torch.nn.Sequential(DRTAM(8)))) == ["0"]
    assert list(attention_layers(DRTAM(8))) == [""]

    class Gated(AttentionModule):
        def __init__(self) -> None:
            super().__init__()
            self.channels, self.inner = 8, DRTAM(8)

        def trace(self, x: torch.Tensor) -> AttentionTrace:
            return self.inner.trace(x)

    nested = attention_layers(torch.nn.Sequential(Gated()))
    assert {name: type(module) for name, module in nested.items()} == {
        "0": Gated,
        "0.inner": DRTAM,
    }
    assert attention_layers(torch.nn.Conv2d(3, 3, 1)) == {}
