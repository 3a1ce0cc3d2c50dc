"""Interventions by the names that the page and programs use, run and reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr
from torch import Tensor, nn

from drtam.explain import (
    Ablation,
    Analysis,
    ExactResidual,
    Flat,
    Intervention,
    LayerChange,
    MapRegion,
    Off,
    PhotoRegion,
    channel_effects,
    layer_effects,
)
from drtam.explain.ablation import analyze_changed, log_probability
from ui import devices
from ui.compute import Photo, View, prepared
from ui.networks import Source

CHANGES: dict[str, tuple[str, LayerChange]] = {
    "off": ("A = 1: no attention", Off()),
    "off_initial": ("A_I = 0: no initial map", Off("initial")),
    "off_complement": ("A_C = 0: no complement", Off("complement")),
    "exact_residual": ("residual descriptors pooled exactly", ExactResidual()),
    "flat_c_initial": ("c_I → its mean", Flat("c", "initial")),
    "flat_h_initial": ("h_I → its mean", Flat("h", "initial")),
    "flat_w_initial": ("w_I → its mean", Flat("w", "initial")),
    "flat_c_complement": ("c_C → its mean", Flat("c", "complement")),
    "flat_h_complement": ("h_C → its mean", Flat("h", "complement")),
    "flat_w_complement": ("w_C → its mean", Flat("w", "complement")),
    "flat_c": ("channel gate → its mean", Flat("c")),
    "flat_h": ("gate along the height → its mean", Flat("h")),
    "flat_w": ("gate along the width → its mean", Flat("w")),
}
MADE_FOR = {
    "drtam": tuple(CHANGES)[:10],
    "cbam": ("off", "flat_c"),
    "ca": ("off", "flat_h", "flat_w"),
}
MOST_GAIN = 2.0
SECONDS = 30  # that all of it takes at most on a GPU


@dataclass(frozen=True)
class WhatIf:
    """What interventions did to a view.

    Attributes:
        view: before.
        ablation: before and after, compact, of that one photo.
        changes: their names; a region is named after what it is painted on.
        layers: that are changed.
        effects: by layer, the change of the target's log-probability when it alone is changed;
            empty where only the photo is changed, or the target's probability was 0.
        layer: whose channels are ranked.
        channels: likewise, by channel of that layer, the largest first.
    """

    view: View
    ablation: Ablation
    changes: tuple[str, ...]
    layers: tuple[str, ...]
    effects: dict[str, float]
    layer: str
    channels: dict[int, float]

    @property
    def target(self) -> int:
        """The class whose probability is followed."""
        return int(self.ablation.before.target[0])

    def ranking(self) -> list[tuple[str, float]]:
        """The layers by the size of their effect, the largest first."""
        return sorted(self.effects.items(), key=lambda pair: -abs(pair[1]))


@dataclass(frozen=True)
class Asked:
    """Interventions as a visitor or a program asks for them.

    Attributes:
        names: of ``CHANGES``.
        layers: that they and a region of the map apply to.
        mask: (h, w), in [0, 1], or None: the region.
        gain: of the region, 0 to ``MOST_GAIN``.
        on_photo: whether the region is painted on the photo, not on the maps.
    """

    names: tuple[str, ...]
    layers: tuple[str, ...]
    mask: Tensor | None = None
    gain: float = 0.0
    on_photo: bool = False

    def interventions(self) -> list[Intervention]:
        """For ``ablate``.

        Raises:
            ValueError: the region is out of range.
        """
        found: list[Intervention] = [
            replace(CHANGES[name][1], layers=self.layers) for name in self.names
        ]
        if self.mask is not None and self.on_photo:
            found.append(PhotoRegion(self.mask, self.gain))
        elif self.mask is not None:
            found.append(MapRegion(self.mask, self.gain, self.layers))
        return found

    def described(self) -> tuple[str, ...]:
        """In words."""
        words = [CHANGES[name][0] for name in self.names]
        if self.mask is not None:
            what = "the photo" if self.on_photo else "the map"
            words.append(f"{float(self.mask.mean()):.0%} of {what} × {self.gain:g}")
        return tuple(words)


def run(
    photo: Photo,
    source: Source,
    size: int,
    view: View,
    asked: Asked,
    layer: str,
    *,
    track: Callable[[list[str]], Iterable[str]] = iter,
) -> WhatIf:
    """One pass with everything in place, one for each layer alone, and some for channels.

    Args:
        photo: decoded.
        source: of the network.
        size: of the analysis.
        view: the analysis without interventions.
        asked: what to change.
        layer: whose channels to rank.
        track: wraps the layers' names, to report progress as they are taken; can be pickled.

    Raises:
        gr.Error: a change makes no sense in this network, or a region is out of range.
    """
    try:
        changes = asked.interventions()
        work = partial(_changed, before=view.analysis, changes=changes, layer=layer, track=track)
        image = prepared(photo, source, size).tensor
        after, effects, channels = devices.run(source, image, work, seconds=SECONDS).value
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error
    changed = asked.layers if _inside(changes) else ()
    ablation = Ablation(view.analysis, after)
    return WhatIf(view, ablation, asked.described(), changed, effects, layer, channels)


def _changed(
    model: nn.Module,
    image: Tensor,
    *,
    before: Analysis,
    changes: list[Intervention],
    layer: str,
    track: Callable[[list[str]], Iterable[str]],
) -> tuple[Analysis, dict[str, float], dict[int, float]]:
    """The analysis with the changes, and the effects of layers and of channels."""
    target = before.target.to(image.device)
    after = analyze_changed(model, image, changes, target).compact()
    inside = _inside(changes)
    known = math.isfinite(float(log_probability(before.probabilities, before.target)))
    if not (inside and known):
        return after, {}, {}
    found = layer_effects(model, image, inside, target, layers=track(list(before.layers)))
    effects = {name: float(effect) for name, effect in found.items()}
    best = channel_effects(model, image, layer, inside, target)
    pairs = zip(best.channels[0].tolist(), best.measured[0].tolist(), strict=True)
    return after, effects, dict(pairs)


def _inside(changes: list[Intervention]) -> list[LayerChange]:
    """Those in the layers, not on the photo."""
    return [change for change in changes if not isinstance(change, PhotoRegion)]


def stage_of(view: View, layer: str) -> tuple[str, ...]:
    """The layers whose maps are as high and wide as that of ``layer``: its stage."""
    sizes = {
        name: found.trace.attention().shape[2:] for name, found in view.analysis.layers.items()
    }
    return tuple(name for name, size in sizes.items() if size == sizes[layer])


def report(found: WhatIf) -> dict[str, Any]:
    """All numbers, for JSON; None for what is infinite or undefined."""
    view, target = found.view, found.target
    return {
        "network": view.label,
        "trained": view.trained,
        "saw": list(view.pixels.size),
        "changes": list(found.changes),
        "layers": list(found.layers),
        "target": {"class": target, "name": view.classes[target]},
        "log_probability_change": _finite(float(found.ablation.change)),
        "before": _top(view, found.ablation.before.probabilities[0], target),
        "after": _top(view, found.ablation.after.probabilities[0], target),
        "layer_effects": {name: _finite(value) for name, value in found.effects.items()},
        "channel_effects": {
            "layer": found.layer,
            "channels": [{"channel": k, "effect": _finite(v)} for k, v in found.channels.items()],
        },
    }


def _top(view: View, probabilities: Tensor, target: int) -> list[dict[str, Any]]:
    """The five most probable classes, and the target."""
    best = probabilities.topk(min(5, len(probabilities))).indices.tolist()
    return [
        {"class": k, "name": view.classes[k], "probability": float(probabilities[k])}
        for k in dict.fromkeys([*best, target])
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
