"""What every attention module offers, so that any network that holds one can be explained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import Protocol, TypedDict

import torch
from torch import Tensor, nn
from torch.fx import Proxy


class Factory(TypedDict):
    """Where torch's layers put their weights."""

    device: torch.device | str | None
    dtype: torch.dtype | None


class AttentionTrace(Protocol):
    """What a module computed for one feature X; the modules' own traces add the details."""

    @property
    def output(self) -> Tensor:
        """(B, C, H, W): X times ``attention()``."""

    def attention(self) -> Tensor:
        """(B, C, H, W), in [0, 1]."""

    def spatial(self) -> Tensor:
        """(B, H, W), in [0, 1]: the mean of ``attention()`` over C."""


class AttentionModule(nn.Module, ABC):
    """A module that multiplies a feature with an attention map of the same shape."""

    channels: int

    @abstractmethod
    def trace(self, x: Tensor) -> AttentionTrace:
        """Everything computed on the way from X (B, C, H, W) to the output.

        Raises:
            ValueError: X is not a floating point (B, C, H, W).
        """

    def forward(self, x: Tensor) -> Tensor:
        """The recalibrated feature for X: both (B, C, H, W)."""
        if isinstance(x, Proxy):  # one node of torch.fx's graph, as torch's own layers are
            path = x.tracer.path_of_module(self)
            return x.tracer.create_proxy("call_module", path, (x,), {})
        return self.trace(x).output


def attention_layers(model: nn.Module) -> dict[str, AttentionModule]:
    """The attention modules of a network by layer name, in the order of their registration.

    A layer is named after the module that holds its attention: ``layer3.5`` for
    ``layer3.5.attention``. Where one module holds several, or where the network itself or
    another attention module holds it, the name is the attention module's own path. Names do not
    say what ``torch.compile`` wraps.
    """
    found = {
        ".".join(part for part in path.split(".") if part != "_orig_mod"): module
        for path, module in model.named_modules()
        if isinstance(module, AttentionModule)
    }
    holders = Counter(path.rpartition(".")[0] for path in found)
    names = {}
    for path, module in found.items():
        holder = path.rpartition(".")[0]
        alone = holder and holders[holder] == 1 and holder not in found
        names[holder if alone else path] = module
    return names
