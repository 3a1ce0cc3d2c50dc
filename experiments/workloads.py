"""What the benchmarks run: networks with each attention, and a pass or a training step of one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from experiments.transcriptions import transcribe
from models import ATTENTIONS, build_model

PAPER_R = {"drtam": 32, "cbam": 16, "ca": 32}  # of each one's own paper, for ResNet-50
USUAL = ", as usually written"  # see ``transcriptions``
NAMES = ("none", *ATTENTIONS, *(f"{kind}{USUAL}" for kind in ATTENTIONS))
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def network(backbone: str, attention: str | None) -> nn.Module:
    """With the paper's r, and random weights of one seed."""
    return build_model(backbone, attention, r=PAPER_R.get(attention or "", 32), seed=0)


def compared(backbone: str) -> dict[str, nn.Module]:
    """The plain network as "none", with each attention, and with each as usually written."""
    return {name: named(backbone, name) for name in NAMES}


def named(backbone: str, name: str) -> nn.Module:
    """One of ``compared``."""
    kind = name.removesuffix(USUAL)
    model = network(backbone, None if kind == "none" else kind)
    return model if kind == name else transcribe(model)


def feature(batch: int, channels: int, side: int, dtype: str) -> Tensor:
    """A random (B, C, H, W) in channels_last, on the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.randn(batch, channels, side, side, device=device, dtype=DTYPES[dtype])
    return x.contiguous(memory_format=torch.channels_last)


def inference(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """A forward pass in the dtype of ``x``."""
    model = model.to(x.dtype)

    @torch.inference_mode()
    def forward() -> None:
        model(x)
        wait(x)

    return forward


def step(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward; weights are float32, the dtype of ``x`` is autocast's."""

    def train() -> None:
        loss(model, x).backward()  # type: ignore[no-untyped-call]
        model.zero_grad()
        wait(x)

    return train


def loss(model: nn.Module, x: Tensor) -> Tensor:
    """Something to take the gradient of."""
    with torch.autocast(x.device.type, x.dtype, enabled=x.dtype != torch.float32):
        logits: Tensor = model(x.float())
    return logits.float().square().sum()


def wait(x: Tensor) -> None:
    """Until the GPU, if x is there, has done what it was asked for."""
    if x.is_cuda:
        torch.cuda.synchronize()
