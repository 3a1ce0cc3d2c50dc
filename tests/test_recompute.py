"""What attention behind a batch norm does not keep: against ``attention(norm(x))`` as it is."""

from __future__ import annotations

import copy
import weakref

import pytest
import torch
from torch import Tensor, nn

from models import ATTENTIONS
from models.recompute import attend_normed

every_kind = pytest.mark.parametrize("kind", ATTENTIONS)


def made(kind: str, channels: int) -> tuple[nn.Module, nn.BatchNorm2d]:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels)
    nn.init.uniform_(norm.weight, -1, 1)
    nn.init.normal_(norm.bias)
    return ATTENTIONS[kind](channels), norm


def as_it_is(attention: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    return attention(norm(x))


@every_kind
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_is_the_same_to_the_bit(kind, layout, dtype):
    x = torch.randn(4, 32, 9, 7).contiguous(memory_format=layout)
    found = []
    for step in (attend_normed, as_it_is):
        model = nn.ModuleList(made(kind, 32)).train()
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            output = step(*model, leaf.to(dtype))
        output.float().square().sum().backward()
        gradients = [p.grad for p in model.parameters()]
        found.append([output, leaf.grad, *gradients, *model.buffers()])
    for ours, expected in zip(*found, strict=True):
        assert torch.equal(ours, expected)


@every_kind
def test_the_feature_between_them_is_gone_until_the_backward_pass(kind):
    attention, norm = made(kind, 32)
    seen: list[weakref.ref[Tensor]] = []
    attention.register_forward_pre_hook(lambda _, inputs: seen.append(weakref.ref(inputs[0])))
    x = torch.randn(2, 32, 9, 7, requires_grad=True)
    output = attend_normed(attention, norm, x)
    assert seen[0]() is None
    kept = as_it_is(attention, norm, x)
    assert seen[1]() is not None
    del output, kept


def test_frozen_statistics_and_other_norms_work_as_usual():
    attention, norm = made("drtam", 32)
    x = torch.randn(2, 32, 9, 7, requires_grad=True)
    for layer in (copy.deepcopy(norm).eval(), nn.GroupNorm(4, 32), nn.Identity()):
        found = attend_normed(attention.eval(), layer, x)
        assert torch.equal(found, as_it_is(attention, layer, x))
        found.sum().backward()


def test_gradients_have_gradients():
    attention, norm = (module.double() for module in made("drtam", 4))
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: attend_normed(attention, norm, x), x)
