"""Attention that starts the same everywhere, for networks that were trained without it."""

from __future__ import annotations

import pytest
import torch
from test_modules import every_kind, made
from torch import nn

from drtam import DRTAM
from drtam.explain import load_photo, prepare
from models.checkpoints import load_checkpoint
from ui.inputs import EXAMPLES
from ui.networks import CHECKPOINTS


@every_kind
@pytest.mark.parametrize("level", [0.3, 0.98])
def test_attention_starts_at_any_level_and_learns_from_there(kind, level):
    module, x = made(kind), torch.randn(2, 24, 9, 7)
    module.start_at(level)
    for mode in (True, False):
        found = module.train(mode).trace(x).attention()
        torch.testing.assert_close(found, torch.full_like(found, level))
    optimizer = torch.optim.SGD(module.parameters(), lr=1)
    module(x)[:, :5, :4].sum().backward()
    optimizer.step()
    assert module.trace(x).spatial().flatten(1).std(1).min() > 1e-4
    for nonsense in (0, 1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="level must be above 0 and below 1"):
            module.start_at(nonsense)


@torch.no_grad()
def test_a_trained_network_keeps_what_it_knows_only_where_attention_starts_near_1():
    opened = load_checkpoint(CHECKPOINTS / "plain-resnet50.safetensors")
    network, about = opened.model, opened.description
    photos = [
        prepare(load_photo(file), about.input_size, about.mean, about.std).tensor
        for file in EXAMPLES.values()
    ]

    def answers() -> torch.Tensor:
        return torch.cat([network(photo).softmax(1) for photo in photos])

    before = answers()
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for block in stage:
            block.bn3 = nn.Sequential(block.bn3, DRTAM(block.bn3.num_features).eval())
    fresh = answers()
    for module in network.modules():
        if isinstance(module, DRTAM):
            module.start_at(0.98)
    near = answers()
    assert (near - before).abs().max() < 0.1 < (fresh - before).abs().max()
    assert torch.equal(near.argmax(1), before.argmax(1))
