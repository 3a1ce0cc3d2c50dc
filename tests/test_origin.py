"""DRTAM behind a batch norm in training keeps what the norm keeps, not X."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules import module

from drtam import DRTAM
from drtam.explain.memory import kept_bytes
from drtam.origin import normed, origin
from models import build_model


def made(channels: int) -> nn.Sequential:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels)
    nn.init.uniform_(norm.weight, -1, 1)
    nn.init.normal_(norm.bias)
    return nn.Sequential(norm, DRTAM(channels)).train()


def attended(model: nn.Sequential, x: Tensor) -> Tensor:
    norm, attention = model
    return attention(normed(norm, x))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_is_the_same_to_the_bit(layout, dtype):
    x = torch.randn(4, 32, 9, 7).contiguous(memory_format=layout)
    given = torch.randn_like(x)
    found = []
    for step in (attended, nn.Sequential.__call__):
        model, leaf = made(32), x.clone().requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            output = step(model, leaf.to(dtype))
        (output * given).sum().backward()
        found.append([output, leaf.grad, *(p.grad for p in model.parameters()), *model.buffers()])
    for ours, expected in zip(*found, strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_x_is_gone_until_the_backward_pass(layout):
    model, seen = made(32), []
    model[1].register_forward_pre_hook(
        lambda _, inputs: seen.append(StorageWeakRef(inputs[0].untyped_storage()))
    )
    x = torch.randn(2, 32, 9, 7).contiguous(memory_format=layout).requires_grad_()
    outputs = attended(model, x), model(x)
    assert [reference.expired() for reference in seen] == [True, False]
    del outputs
    assert seen[1].expired()


def test_gradients_have_gradients():
    model = made(4).double()
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: attended(model, x), x)


def test_weights_that_are_only_lent_are_those_of_the_backward_pass():
    model, x = made(8), torch.randn(2, 8, 5, 6, requires_grad=True)
    lent = {name: (p.detach() + 0.5).requires_grad_() for name, p in model.named_parameters()}
    found = []
    model.forward = lambda x: attended(model, x)
    for network in (model, made(8)):
        output = torch.func.functional_call(network, lent, x)
        found.append(torch.autograd.grad(output.square().sum(), [x, *lent.values()]))
    for ours, expected in zip(*found, strict=True):
        assert torch.equal(ours, expected)


def test_whoever_changes_the_feature_gets_the_usual_way():
    norm = made(8)[0]
    x = torch.randn(2, 8, 5, 6, requires_grad=True)
    assert origin(normed(norm, x)) is not None
    assert origin(normed(norm, x).relu_()) is None
    assert origin(normed(norm, x.detach())) is None
    assert origin(normed(copy.deepcopy(norm).eval(), x)) is None
    with module.register_module_forward_hook(lambda _module, _inputs, output: output + 1):
        assert origin(normed(norm, x)) is None
    norm.register_forward_hook(lambda _module, _inputs, output: output + 1)
    assert origin(normed(norm, x)) is None
    wrapped = made(8)[0]
    wrapped.forward = lambda x: nn.BatchNorm2d.forward(wrapped, x) + 1
    assert origin(normed(wrapped, x)) is None
    with torch.no_grad():
        assert origin(normed(made(8)[0], x)) is None


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_a_training_step_keeps_little_more_than_the_plain_networks(backbone):
    x = torch.randn(2, 3, 224, 224)
    plain, ours = (
        kept_bytes(model, lambda model=model: model(x))
        for model in (build_model(backbone, kind, seed=0).train() for kind in (None, "drtam"))
    )
    assert 1 < ours / plain < 1.15
