"""The three mechanisms with parts of their maps changed, written out by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from drtam import CBAM, DRTAM, CoordinateAttention, Descriptors, attention_layers

MASK = torch.zeros(8, 8)
MASK[1:5, 3:] = 1
Change = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
MODULES = {"drtam": DRTAM, "cbam": CBAM, "ca": CoordinateAttention}


class Block(nn.Module):
    def __init__(self, channels: int, out: int, attention: type[nn.Module]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, stride=2, padding=1)
        self.attention = attention(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.conv(x)).relu_()


def small(attention: str) -> nn.Module:
    """Three layers in double precision, whose gates are not all near 1/2."""
    torch.manual_seed(3)
    widths = (3, 16, 24, 32)
    blocks = [Block(*widths[i : i + 2], MODULES[attention]) for i in range(3)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    model = nn.Sequential(*blocks, *head).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return model.eval()


def naive_drtam(
    module: DRTAM, initial: Change, complement: Change, *, exact: bool
) -> Callable[[Tensor], Tensor]:
    """Eqn 1 and 12-14 with the factors replaced, written out."""

    def factors(attention: nn.Module, ch: Tensor, cw: Tensor, hw: Tensor) -> list[Tensor]:
        found = attention(Descriptors(ch, cw, hw))
        return [found.c, found.h, found.w]

    def forward(x: Tensor) -> Tensor:
        ch, cw, hw = x.mean(3), x.mean(2), x.mean(1)
        c, h, w = initial(*factors(module.initial, ch, cw, hw))
        first = torch.einsum("bc,bh,bw->bchw", c, h, w)
        if exact:
            rest = x - x * first
            ch, cw, hw = rest.mean(3), rest.mean(2), rest.mean(1)
        else:
            ch = ch * (1 - torch.einsum("bc,bh->bch", c, h))
            cw = cw * (1 - torch.einsum("bc,bw->bcw", c, w))
            hw = hw * (1 - torch.einsum("bh,bw->bhw", h, w))
        second = torch.einsum(
            "bc,bh,bw->bchw", *complement(*factors(module.complement, ch, cw, hw))
        )
        return x * first + (x * (1 - first)) * second

    return forward


def same(c: Tensor, h: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return c, h, w


def zero(c: Tensor, h: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return 0 * c, 0 * h, 0 * w


def flat_factor(factor: str) -> Change:
    def change(c: Tensor, h: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = {"c": c, "h": h, "w": w}
        mean = parts[factor].sum(1) / parts[factor].shape[1]
        parts[factor] = mean[:, None].repeat(1, parts[factor].shape[1])
        return parts["c"], parts["h"], parts["w"]

    return change


def edited(
    model: nn.Module, by_hand: Callable[[nn.Module], Callable[[Tensor], Tensor]], *layers: str
) -> nn.Module:
    """A copy in which the modules of some layers, or of all, have another forward."""
    copied = copy.deepcopy(model)
    for name, module in attention_layers(copied).items():
        if not layers or name in layers:
            module.forward = by_hand(module)
    return copied


def flat_cbam(module: CBAM) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        gate = torch.sigmoid(module.mlp(x.mean((2, 3))) + module.mlp(x.amax((2, 3))))
        x = x * gate.mean(1)[:, None, None, None]
        pooled = torch.stack((x.max(1).values, x.mean(1)), 1)
        return x * torch.sigmoid(module.norm(module.conv(pooled)))

    return forward


def flat_ca(module: CoordinateAttention, factor: str) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        trace = CoordinateAttention.trace(module, x)
        h, w = trace.h[..., None], trace.w[:, :, None]
        if factor == "h":
            return x * h.mean(2, keepdim=True) * w
        return x * h * w.mean(3, keepdim=True)

    return forward
