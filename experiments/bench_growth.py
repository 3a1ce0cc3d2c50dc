"""How the cost of attention grows with the batch, the pixels, S, N and the number of layers."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import nn
from tqdm import tqdm

from drtam.base import AttentionModule
from experiments.benchmarks import Table
from experiments.timing import Ratio, ratios
from experiments.workloads import feature, inference, network
from models import ATTENTIONS, build_model

COLORS = {"drtam": "#1d4ed8", "cbam": "#b45309", "ca": "#047857"}


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        axis: what grows.
        value: how large it is.
        kind: of attention.
        ratio: of the network with it to the plain one.
    """

    axis: str
    value: int
    kind: str
    ratio: Ratio


@dataclass(frozen=True)
class Axis:
    """What grows, while all else stays at batch 1, 224 px, S = 3, N = 1 and all layers."""

    name: str
    values: tuple[int, ...]
    models: Callable[[str, int], dict[str, nn.Module]]  # of a backbone, for a value

    def shape(self, value: int) -> tuple[int, int]:
        """Batch and side of the input."""
        return (value if self.name == "batch" else 1, value if self.name == "pixels" else 224)


def every_kind(backbone: str, _value: int) -> dict[str, nn.Module]:
    """One network with each attention."""
    return {kind: network(backbone, kind) for kind in ATTENTIONS}


def with_layers(backbone: str, count: int) -> dict[str, nn.Module]:
    """Attention in the last ``count`` blocks only; no network if there are fewer."""
    model = network(backbone, "drtam")
    paths = [p for p, module in model.named_modules() if isinstance(module, AttentionModule)]
    if count > len(paths):
        return {}
    for path in paths[: len(paths) - count]:
        model.set_submodule(path, nn.Identity())
    return {"drtam": model}


AXES = (
    Axis("batch", (1, 4, 16, 64, 256), every_kind),
    Axis("pixels", (64, 128, 224, 512, 1024), every_kind),
    Axis("S", (1, 2, 3, 4, 8, 16), lambda b, s: {"drtam": build_model(b, "drtam", s=s, seed=0)}),
    Axis("N", (1, 4, 16, 64), lambda b, n: {"drtam": build_model(b, "drtam", n=n, seed=0)}),
    Axis("layers", (0, 4, 8, 12, 16), with_layers),
)


def bench_growth(options: argparse.Namespace) -> Table:
    """Inference over the plain backbone, along every axis up to ``options.largest``."""
    points = list(measured(options.backbone, options.largest, options.rounds))
    rows = {f"{p.axis} {p.value}, {p.kind}": p.ratio for p in points}
    title = f"{options.backbone}, how inference grows, float32, batch 1, 224 px, S = 3, N = 1"
    return Table(title, "the plain network", rows, sentences(points), plot(points))


def measured(backbone: str, largest: int, rounds: int) -> Iterator[Point]:
    """All points; values above ``largest`` are left out."""
    wanted = [(axis, value) for axis in AXES for value in axis.values if value <= largest]
    for axis, value in tqdm(wanted, desc="growth"):
        batch, side = axis.shape(value)
        x = feature(batch, 3, side, "float32")
        models = {"none": network(backbone, None), **axis.models(backbone, value)}
        works = [
            inference(model.eval().to(x.device).to(memory_format=torch.channels_last), x)
            for model in models.values()
        ]
        for kind, ratio in zip(list(models)[1:], ratios(*works, rounds=rounds), strict=True):
            yield Point(axis.name, value, kind, ratio)


def sentences(points: list[Point]) -> list[str]:
    """What each axis does to DRTAM's cost."""
    lines = []
    for axis in dict.fromkeys(p.axis for p in points):
        found = [p for p in points if p.axis == axis and p.kind == "drtam"]
        first, last = found[0], found[-1]
        lines.append(
            f"{axis[0].upper()}{axis[1:]} from {first.value} to {last.value}: DRTAM takes "
            f"{first.ratio.median:.2f} to {last.ratio.median:.2f} times the plain network."
        )
    return lines


def plot(points: list[Point]) -> bytes:
    """A panel for each axis, medians and quartiles, as SVG."""
    axes = list(dict.fromkeys(p.axis for p in points))
    figure = Figure(figsize=(10, 6), layout="constrained")
    panels = list(figure.subplots(2, 3, sharey=True).flat)
    for panel, axis in zip(panels, axes, strict=False):
        for kind in dict.fromkeys(p.kind for p in points if p.axis == axis):
            found = [p for p in points if p.axis == axis and p.kind == kind]
            medians = [p.ratio.median for p in found]
            below = [p.ratio.median - p.ratio.low for p in found]
            above = [p.ratio.high - p.ratio.median for p in found]
            values = [str(p.value) for p in found]  # evenly apart
            panel.errorbar(
                values, medians, (below, above), color=COLORS[kind], label=kind, capsize=3
            )
        panel.set_title(axis)
        panel.grid(alpha=0.3)
    figure.supylabel("times the plain network")
    for panel in panels[len(axes) :]:
        panel.set_axis_off()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="lower right")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()
