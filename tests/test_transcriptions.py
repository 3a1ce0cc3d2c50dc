"""The baselines of the benchmarks compute what the modules compute."""

from __future__ import annotations

import pytest
import torch

from drtam.base import AttentionModule
from experiments.transcriptions import transcribe, transcribed
from models import ATTENTIONS, build_model


def lively(module: AttentionModule) -> AttentionModule:
    """With weights and statistics away from their start."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data.add_(torch.rand_like(tensor) * 0.3)
    return module.eval()


@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("shape", [(2, 64, 14, 14), (1, 32, 7, 12), (2, 16, 2, 4)])
def test_a_transcription_equals_the_module(kind, shape):
    module = lively(ATTENTIONS[kind](shape[1])).double()
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(transcribed(module)(x), module(x))


def test_a_network_is_transcribed_whole():
    model = build_model("resnet18", "drtam", n=2, seed=0).eval()
    x = torch.randn(1, 3, 96, 96)
    expected = model(x)
    assert not any(isinstance(m, AttentionModule) for m in transcribe(model).modules())
    torch.testing.assert_close(model(x), expected)
