"""Networks are trained and judged in bfloat16 where the processor has it, else in float32."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from shapes import CLASSES, photo
from torch import nn

from drtam.explain.photo import IMAGENET_MEAN, IMAGENET_STD
from experiments import mixed_precision
from experiments.accuracy import measure
from experiments.classification import Classification
from experiments.mixed_precision import working_type
from experiments.photos import Photos
from experiments.recipe import PRESETS, Recipe
from models import build_model

CPU = torch.device("cpu")
CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not CPUINFO.exists(), reason="asks Linux about an x86"
)
def test_the_processor_is_taken_at_its_word():
    line = next(line for line in CPUINFO.read_text().splitlines() if line.startswith("flags"))
    flags = set(line.split())
    if flags & {"avx512_bf16", "amx_bf16"}:
        assert working_type(CPU) == torch.bfloat16
    elif not flags & {"avx512f", "avx_ne_convert"}:
        assert working_type(CPU) == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_training_and_measuring_keep_to_it(monkeypatch, dtype):
    monkeypatch.setattr(mixed_precision, "working_type", lambda _: dtype)
    random = np.random.default_rng(0)
    images = np.stack([np.asarray(photo(kind, random)) for kind in CLASSES])
    photos = Photos(images, np.arange(3), None, CLASSES)
    model = build_model("resnet18", "drtam", num_classes=3, seed=0)
    seen: list[torch.dtype] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    recipe = PRESETS["short"]
    assert isinstance(recipe, Recipe)
    task = Classification(recipe, photos, photos, CPU, teacher=model)
    loss = task.loss(model, torch.arange(3))
    assert loss.dtype == torch.float32
    measure(model, photos, 32, IMAGENET_MEAN, IMAGENET_STD, CPU)
    convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    assert seen == [dtype] * 3 * convolutions  # the network, its teacher, and when measured
