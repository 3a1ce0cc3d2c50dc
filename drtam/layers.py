"""Which attention modules there are, and where a network holds them."""

from __future__ import annotations

from collections import Counter
from typing import Protocol, TypeAlias

from torch import Tensor, nn

from drtam.cbam import CBAM
from drtam.coordinate import CoordinateAttention
from drtam.dual import DRTAM

Attention: TypeAlias = DRTAM | CBAM | CoordinateAttention
ATTENTIONS: dict[str, type[Attention]] = {"drtam": DRTAM, "cbam": CBAM, "ca": CoordinateAttention}


class AttentionTrace(Protocol):
    """What every trace offers, whichever module made it."""

    @property
    def output(self) -> Tensor:
        """(B, C, H, W): the input times ``attention()``."""

    def attention(self) -> Tensor:
        """(B, C, H, W), in [0, 1]."""

    def spatial(self) -> Tensor:
        """(B, H, W), in [0, 1]: the mean of ``attention()`` over C."""


def attention_layers(model: nn.Module) -> dict[str, Attention]:
    """The attention modules of a network by layer name, in the order of their registration.

    A layer is named after the module that holds its attention: ``layer3.5`` for
    ``layer3.5.attention``. Where one module holds several, or where the network itself holds
    it, the name is the attention module's own path.
    """
    found = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, tuple(ATTENTIONS.values()))
    }
    holders = Counter(path.rpartition(".")[0] for path in found)
    names = {}
    for path, module in found.items():
        holder = path.rpartition(".")[0]
        names[holder if holder and holders[holder] == 1 else path] = module
    return names
