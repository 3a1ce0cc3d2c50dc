"""The three mechanisms as one writes them down from their papers' equations.

Baselines of the benchmarks, in our own words: each equation is a line or two, a map is as large
as X, nothing is reordered or folded. Each has the weights of its counterpart in ``drtam``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from drtam import CBAM, DRTAM, CoordinateAttention
from drtam.base import AttentionModule
from drtam.chunks import bounds

Vectors = tuple[Tensor, Tensor, Tensor]


def parts(x: Tensor, count: int, axis: int) -> list[Tensor]:
    """The chunks of an axis, as ``chunks`` cuts it."""
    return [x.narrow(axis, start, size) for start, size in bounds(x.shape[axis], count)]


class PlainRankOne(nn.Module):
    """The rank-1 tensor attention module (Eqn 3-11)."""

    def __init__(self, s: int, n: int, mlp: nn.Sequential) -> None:
        super().__init__()
        self.s, self.n, self.mlp = s, n, mlp
        self.channel = nn.Conv1d(4 * s, 1, 1, bias=False)
        self.row = nn.Conv1d(n + 1 + s, 1, 3, padding=1, bias=False)
        self.row_norm = nn.BatchNorm1d(1)
        self.column = nn.Conv1d(n + 1 + s, 1, 3, padding=1, bias=False)
        self.column_norm = nn.BatchNorm1d(1)

    def forward(self, ch: Tensor, cw: Tensor, hw: Tensor) -> Vectors:
        """(B, C, H), (B, C, W) and (B, H, W) to (B, C), (B, H) and (B, W)."""
        strips = []
        for descriptor in (ch, cw):
            strips += [part.mean(2) for part in parts(descriptor, self.s, 2)]  # Eqn 3, 4
            strips += [part.amax(2) for part in parts(descriptor, self.s, 2)]
        s_c = self.channel(torch.stack(strips, 1))[:, 0]  # Eqn 5
        h = self.embedding(ch, hw.transpose(1, 2), self.row, self.row_norm)
        w = self.embedding(cw, hw, self.column, self.column_norm)
        return torch.sigmoid(self.mlp(s_c)), h, w  # Eqn 6

    def embedding(self, over: Tensor, hw: Tensor, conv: nn.Conv1d, norm: nn.Module) -> Tensor:
        """(B, C, L) and (B, K, L) to a factor (B, L)."""
        strips = [part.mean(1) for part in parts(over, self.n, 1)]  # Eqn 8
        strips += [over.amax(1)]  # Eqn 9
        strips += [part.mean(1) for part in parts(hw, self.s, 1)]  # Eqn 7
        factor: Tensor = torch.sigmoid(norm(conv(torch.stack(strips, 1))))  # Eqn 10, 11
        return factor[:, 0]


class PlainDRTAM(nn.Module):
    """Two rank-1 maps, and RDEM between them."""

    def __init__(self, like: DRTAM) -> None:
        super().__init__()
        hidden, channels = next(like.initial.mlp.parameters()).shape
        mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.initial = PlainRankOne(like.s, like.n, mlp)
        self.complement = PlainRankOne(like.s, like.n, mlp)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        ch, cw, hw = x.mean(3), x.mean(2), x.mean(1)
        c, h, w = self.initial(ch, cw, hw)
        ch = ch * (1 - c[:, :, None] * h[:, None])  # Eqn 12
        cw = cw * (1 - c[:, :, None] * w[:, None])  # Eqn 13
        hw = hw * (1 - h[:, :, None] * w[:, None])  # Eqn 14
        initial, complement = rank_one(c, h, w), rank_one(*self.complement(ch, cw, hw))
        return (initial + (1 - initial) * complement) * x  # Eqn 1


def rank_one(c: Tensor, h: Tensor, w: Tensor) -> Tensor:
    """The map of three vectors (Eqn 2)."""
    return c[:, :, None, None] * h[:, None, :, None] * w[:, None, None]


class PlainCBAM(nn.Module):
    """CBAM's channel gate, then its spatial gate."""

    def __init__(self, like: CBAM) -> None:
        super().__init__()
        hidden, channels = next(like.mlp.parameters()).shape
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        average, largest = x.mean((2, 3)), x.amax((2, 3))
        x = x * torch.sigmoid(self.mlp(average) + self.mlp(largest))[:, :, None, None]
        pooled = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), 1)
        return x * torch.sigmoid(self.norm(self.conv(pooled)))


class PlainCA(nn.Module):
    """Coordinate attention, with the height and the width as images one behind the other."""

    def __init__(self, like: CoordinateAttention) -> None:
        super().__init__()
        hidden, channels, _ = like.reduce.weight.shape
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.norm = nn.BatchNorm2d(hidden)
        self.act = nn.Hardswish()
        self.height = nn.Conv2d(hidden, channels, 1)
        self.width = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)
        mixed = self.act(self.norm(self.reduce(torch.cat((rows, columns), 2))))
        rows, columns = mixed.split([x.shape[2], x.shape[3]], 2)
        h = torch.sigmoid(self.height(rows))
        w = torch.sigmoid(self.width(columns.transpose(2, 3)))
        return x * h * w


PLAIN: dict[type[AttentionModule], type[nn.Module]] = {
    DRTAM: PlainDRTAM,
    CBAM: PlainCBAM,
    CoordinateAttention: PlainCA,
}


def transcribed(module: AttentionModule) -> nn.Module:
    """The usual way to write a module, with its weights, in its mode."""
    plain = PLAIN[type(module)](module)
    shapes = {name: tensor.shape for name, tensor in plain.state_dict().items()}
    weights = {name: t.reshape(shapes[name]) for name, t in module.state_dict().items()}
    plain.load_state_dict(weights)
    first = next(module.parameters())
    return plain.to(first.device, first.dtype).train(module.training)


def transcribe(model: nn.Module) -> nn.Module:
    """A network with every attention module in place replaced."""
    for path, module in list(model.named_modules()):
        if isinstance(module, AttentionModule):
            model.set_submodule(path, transcribed(module))
    return model
