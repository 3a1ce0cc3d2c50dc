"""The endpoint of the tab Do maps tell the truth."""

from __future__ import annotations

import math

import gradio as gr

from ui.api import Json, about, checked_size, checked_view, layer_of
from ui.arguments import check_range, register
from ui.faithfulness import DEFAULT_STEPS, STEPS, judged, rows_of
from ui.networks import catalogue
from ui.photo_argument import photo_of
from ui.session import MOST_PROBABLE, source_of

METRICS = ("deletion", "insertion", "road", "sensitivity", "randomised")


def build() -> None:
    """Register the endpoint in the open ``gr.Blocks``."""
    register(faithfulness, concurrency_id="model", concurrency_limit=1)


def faithfulness(
    photo: str,
    layer: str,
    network: str = "",
    target: int = MOST_PROBABLE,
    size: int | None = None,
    steps: int = DEFAULT_STEPS,
) -> Json:
    """Whether the maps of DRTAM, CBAM and CA and Grad-CAM at one layer tell the truth.

    Areas under the curves of deletion (lower is better), insertion and ROAD (higher is better),
    sensitivity to slight noise (lower), and rank correlation with the map of shuffled weights
    (nearer to 0), each beside a random map and a centre blob; null where a map is constant. Of
    networks that are not trained these numbers mean nothing. Takes many seconds.

    Args:
        photo: a data URI (data:image/jpeg;base64,...) of at most 3 MB, what handle_file gives,
            or the name of an example: "an espresso", "a lion", "a cheetah" or "a tower".
        layer: a name from /analyze, such as layer4.2.
        network: a label from /networks, no detector; the default network if empty.
        target: the class; -1 for the most probable one.
        size: side of a square with as many pixels as the network is to see, 96 to 448; the
            network's own if empty.
        steps: of the curves, 3 to 24.
    """
    check_range("steps", steps, *STEPS)
    label = network or next(iter(catalogue()))
    size = checked_size(size, source_of(label))
    layer_of(checked_view(photo, label, target, size), layer)
    _, results = judged(photo_of(photo), label, size, target, layer, steps, gr.Progress())
    networks = {}
    for kind, (view, result) in results.items():
        curves = {name: getattr(result, name) for name in METRICS[:3]}
        maps: Json = {
            name: dict(zip(METRICS, map(_known, numbers), strict=True))
            for name, *numbers in rows_of(result)
        }
        for i, name in enumerate(result.names):
            maps[name]["curves"] = {
                key: list(map(_known, curve.probabilities[i].tolist()))
                for key, curve in curves.items()
            }
        networks[kind] = {
            **about(view),
            "target": result.target,
            "fractions": {key: c.fractions.tolist() for key, c in curves.items()},
            "maps": maps,
        }
    return {"networks": networks}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
