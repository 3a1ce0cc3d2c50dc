"""The papers' equations, one number at a time: slow, in double precision, without the package.

Features are NumPy arrays of one image, X[c, i, j]. Loops run over every index that the
equations sum or maximise over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float64]


def array(tensor: torch.Tensor) -> Array:
    return tensor.detach().double().numpy()


def mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


@dataclass
class Norm:
    """One channel of a batch norm in evaluation mode."""

    weight: float
    bias: float
    mean: float
    variance: float
    eps: float

    def __call__(self, x: float) -> float:
        return (x - self.mean) / math.sqrt(self.variance + self.eps) * self.weight + self.bias

    @classmethod
    def read(cls, module: Any, channel: int = 0) -> Norm:
        tensors = (module.weight, module.bias, module.running_mean, module.running_var)
        return cls(*(float(tensor[channel]) for tensor in tensors), module.eps)

    @classmethod
    def of_state(cls, state: dict[str, torch.Tensor], name: str) -> Norm:
        parts = ("weight", "bias", "running_mean", "running_var")
        return cls(*(float(state[f"{name}.{part}"][0]) for part in parts), 1e-5)


@dataclass
class Linear:
    """A fully connected layer."""

    weight: Array
    bias: Array

    def __call__(self, x: list[float]) -> list[float]:
        return [
            math.fsum(self.weight[o, i] * x[i] for i in range(len(x))) + self.bias[o]
            for o in range(len(self.bias))
        ]

    @classmethod
    def read(cls, module: Any) -> Linear:
        return cls(array(module.weight).reshape(len(module.bias), -1), array(module.bias))


def chunks(length: int, count: int) -> list[list[int]]:
    """The indices in each chunk, by torch's own functions where it has one for the rule."""
    if length < count:
        return [
            list(range(math.floor(k * length / count), math.ceil((k + 1) * length / count)))
            for k in range(count)
        ]
    whole = torch.arange(length)
    parts = whole.chunk(count)
    if len(parts) < count:
        parts = whole.tensor_split(count)
    return [part.tolist() for part in parts]


def by_channel_input(weight: Array, s: int) -> dict[tuple[str, int, str], float]:
    """The inputs of ``c_conv1d`` in the order of the authors' code."""
    order = [(name, k, pool) for name in ("ch", "cw") for pool in ("avg", "max") for k in range(s)]
    return dict(zip(order, weight[0, :, 0], strict=True))


def by_strip(
    weight: Array, s: int, n: int, *, released: bool = False
) -> dict[tuple[str, int], Array]:
    """The inputs of ``h_conv1d`` and ``w_conv1d`` in the order of the authors' code."""
    order = [("c", k) for k in range(n)] + [("c max", k) for k in range(n if released else 1)]
    order += [("hw", k) for k in range(s)]
    order += [("hw max", k) for k in range(s if released else 0)]
    return dict(zip(order, weight[0], strict=True))


@dataclass
class RTAM:
    """Weights of one rank-1 tensor attention module, by what they multiply.

    Attributes:
        channel: of Eqn 5, by descriptor, chunk and pooling.
        row: of Eqn 10, the three taps by descriptor and chunk: ``c`` and ``hw`` averaged,
            ``c max`` and ``hw max``; one ``c max`` is Eqn 9's.
        column: likewise for w.
        f0: of Eqn 6.
        f1: of Eqn 6.
        row_norm: of Eqn 11.
        column_norm: likewise for w.
    """

    s: int
    n: int
    channel: dict[tuple[str, int, str], float]
    row: dict[tuple[str, int], Array]
    column: dict[tuple[str, int], Array]
    f0: Linear
    f1: Linear
    row_norm: Norm
    column_norm: Norm
    channel_norm: Norm | None = None

    @classmethod
    def read(cls, module: Any) -> RTAM:
        """The weights of our module."""
        return cls(
            module.s,
            module.n,
            by_channel_input(array(module.channel.weight), module.s),
            by_strip(array(module.row.weight), module.s, module.n, released=module.max_pools),
            by_strip(array(module.column.weight), module.s, module.n, released=module.max_pools),
            Linear.read(module.mlp[0]),
            Linear.read(module.mlp[2]),
            Norm.read(module.row_norm),
            Norm.read(module.column_norm),
            Norm.read(module.channel_norm) if hasattr(module.channel_norm, "weight") else None,
        )

    @classmethod
    def read_authors(
        cls, state: dict[str, torch.Tensor], which: str, n: int, *, released: bool
    ) -> RTAM:
        """The weights of ``ipa`` or ``cpa`` in the authors' names, behind their place."""
        channel, space = f"{which}_channel_encoder", f"{which}_spatial_encoder"
        s = state[f"{channel}.c_conv1d.weight"].shape[1] // 4
        mlp = "channel_embedding_filter.mlp"
        f0, f1 = (
            Linear(array(state[f"{mlp}.{k}.weight"]), array(state[f"{mlp}.{k}.bias"]))
            for k in (1, 3)
        )
        return cls(
            s,
            n,
            by_channel_input(array(state[f"{channel}.c_conv1d.weight"]), s),
            by_strip(array(state[f"{space}.h_conv1d.weight"]), s, n, released=released),
            by_strip(array(state[f"{space}.w_conv1d.weight"]), s, n, released=released),
            f0,
            f1,
            Norm.of_state(state, f"{space}.bn_h"),
            Norm.of_state(state, f"{space}.bn_w"),
            Norm.of_state(state, f"{channel}.bn_c"),
        )

    def factors(self, ch: Array, cw: Array, hw: Array) -> tuple[Array, Array, Array]:
        """Descriptors (C, H), (C, W), (H, W) to c, h and w."""
        c = self.channel_factor(ch, cw)
        h = self.spatial_factor(ch, hw, self.row, self.row_norm)
        w = self.spatial_factor(cw, hw.T, self.column, self.column_norm)
        return c, h, w

    def channel_factor(self, ch: Array, cw: Array) -> Array:
        """Eqn 3-6."""
        s_c = []
        for c in range(len(ch)):
            terms = []
            for name, descriptor in (("cw", cw), ("ch", ch)):
                for k, chunk in enumerate(chunks(descriptor.shape[1], self.s)):
                    values = [descriptor[c, j] for j in chunk]
                    terms.append(self.channel[name, k, "avg"] * mean(values))
                    terms.append(self.channel[name, k, "max"] * max(values))
            s_c.append(math.fsum(terms))
        if self.channel_norm is not None:
            s_c = [self.channel_norm(value) for value in s_c]
        hidden = [max(0.0, value) for value in self.f0(s_c)]
        return np.array([sigmoid(value) for value in self.f1(hidden)])

    def spatial_factor(
        self, strip: Array, hw: Array, weights: dict[tuple[str, int], Array], norm: Norm
    ) -> Array:
        """Eqn 7-11: ``strip`` is (C, L), ``hw`` (L, the other axis), for an axis of length L."""
        channels, length = strip.shape
        pooled: dict[tuple[str, int], list[float]] = {}
        for k, chunk in enumerate(chunks(hw.shape[1], self.s)):
            pooled["hw", k] = [mean(hw[i, j] for j in chunk) for i in range(length)]
            pooled["hw max", k] = [max(hw[i, j] for j in chunk) for i in range(length)]
        for n, chunk in enumerate(chunks(channels, self.n)):
            pooled["c", n] = [mean(strip[c, i] for c in chunk) for i in range(length)]
        maxima = sum(name == "c max" for name, _ in weights)
        for n, chunk in enumerate(chunks(channels, maxima)):
            pooled["c max", n] = [max(strip[c, i] for c in chunk) for i in range(length)]
        factor = []
        for i in range(length):
            taps = [(t, i + t - 1) for t in range(3) if 0 <= i + t - 1 < length]
            s_h = math.fsum(weights[key][t] * pooled[key][at] for key in weights for t, at in taps)
            factor.append(sigmoid(norm(s_h)))
        return np.array(factor)


@dataclass
class DRTAMResult:
    """Descriptors and factors by name, maps and output of one image."""

    descriptors: dict[str, Array]
    initial: dict[str, Array]
    residual: dict[str, Array]
    complement: dict[str, Array]
    attention: Array
    output: Array


def drtam(x: Array, initial: RTAM, complement: RTAM) -> DRTAMResult:
    """Section 3, for one image."""
    channels, height, width = x.shape
    cs, rows, columns = range(channels), range(height), range(width)
    ch = np.array([[mean(x[c, i, j] for j in columns) for i in rows] for c in cs])
    cw = np.array([[mean(x[c, i, j] for i in rows) for j in columns] for c in cs])
    hw = np.array([[mean(x[c, i, j] for c in cs) for j in columns] for i in rows])
    c1, h1, w1 = initial.factors(ch, cw, hw)
    ch2 = np.array([[ch[c, i] * (1 - c1[c] * h1[i]) for i in rows] for c in cs])  # Eqn 12
    cw2 = np.array([[cw[c, j] * (1 - c1[c] * w1[j]) for j in columns] for c in cs])  # Eqn 13
    hw2 = np.array([[hw[i, j] * (1 - h1[i] * w1[j]) for j in columns] for i in rows])  # Eqn 14
    c2, h2, w2 = complement.factors(ch2, cw2, hw2)
    attention, output = np.empty_like(x), np.empty_like(x)
    for c, i, j in np.ndindex(x.shape):
        first, second = c1[c] * h1[i] * w1[j], c2[c] * h2[i] * w2[j]  # Eqn 2
        attention[c, i, j] = first + (1 - first) * second  # Eqn 1, its second line
        output[c, i, j] = x[c, i, j] * first + x[c, i, j] * (1 - first) * second  # its first line
    return DRTAMResult(
        {"ch": ch, "cw": cw, "hw": hw},
        {"c": c1, "h": h1, "w": w1},
        {"ch": ch2, "cw": cw2, "hw": hw2},
        {"c": c2, "h": h2, "w": w2},
        attention,
        output,
    )


def cbam(x: Array, module: Any) -> tuple[Array, Array]:
    """The channel gate (C) and the spatial gate (H, W) of CBAM's Eqn 2 and 3."""
    channels, height, width = x.shape
    f0, f1 = Linear.read(module.mlp[0]), Linear.read(module.mlp[2])

    def mlp(values: list[float]) -> list[float]:
        return f1([max(0.0, value) for value in f0(values)])

    averaged = mlp([mean(x[c].flat) for c in range(channels)])
    largest = mlp([max(x[c].flat) for c in range(channels)])
    channel = np.array([sigmoid(a + b) for a, b in zip(averaged, largest, strict=True)])
    gated = np.array([x[c] * channel[c] for c in range(channels)])
    weight, norm = array(module.conv.weight)[0], Norm.read(module.norm)
    spatial = np.empty((height, width))
    for i, j in np.ndindex(height, width):
        total = 0.0
        for di, dj in np.ndindex(7, 7):
            row, column = i + di - 3, j + dj - 3
            if 0 <= row < height and 0 <= column < width:
                values = gated[:, row, column]
                total += weight[0, di, dj] * max(values) + weight[1, di, dj] * mean(values)
        spatial[i, j] = sigmoid(norm(total))
    return channel, spatial


def coordinate(x: Array, module: Any) -> tuple[Array, Array]:
    """The gates (C, H) and (C, W) of coordinate attention's Eqn 4-8."""
    channels, height, width = x.shape
    reduce = Linear.read(module.reduce)
    norms = [Norm.read(module.norm, k) for k in range(len(reduce.bias))]

    def gate(pooled: list[list[float]], out: nn.Module) -> Array:
        columns = []
        for values in pooled:
            mixed = [norm(v) for norm, v in zip(norms, reduce(values), strict=True)]
            hidden = [v * min(max(v + 3, 0.0), 6.0) / 6 for v in mixed]
            columns.append([sigmoid(v) for v in Linear.read(out)(hidden)])
        return np.array(columns).T

    by_row = [[mean(x[c, i]) for c in range(channels)] for i in range(height)]
    by_column = [[mean(x[c, :, j]) for c in range(channels)] for j in range(width)]
    return gate(by_row, module.height), gate(by_column, module.width)
