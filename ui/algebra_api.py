"""The How it works tab's values as an endpoint for programs."""

from __future__ import annotations

from dataclasses import asdict

import gradio as gr

from drtam import DRTAM, DRTAMTrace, attention_layers
from drtam.explain import Embedding, drtam_steps
from ui.api import Json, about, checked_view, layer_of, listed
from ui.arguments import register
from ui.networks import catalogue, load
from ui.session import MOST_PROBABLE, source_of


def build() -> None:
    """Register the endpoint in the open ``gr.Blocks``."""
    register(steps, concurrency_id="model", concurrency_limit=1)


def steps(photo: str, layer: str, network: str = "", size: int | None = None) -> Json:
    """Every value of Eqn 3-11 of both passes of DRTAM: strips, convolution, norm, factors.

    Large: some 50,000 numbers in a late layer.

    Args:
        photo: a data URI (data:image/jpeg;base64,...) of at most 3 MB, what handle_file gives,
            or the name of an example: "an espresso", "a lion", "a cheetah" or "a tower".
        layer: a name from /analyze, such as layer4.2.
        network: the label of a DRTAM network; the default network if empty.
        size: side of a square with as many pixels as the network is to see, 96 to 448; the
            network's own if empty.
    """
    view = checked_view(photo, network, MOST_PROBABLE, size)
    trace = layer_of(view, layer).trace
    model = load(source_of(network or next(iter(catalogue())))).model
    module = attention_layers(model).get(layer)
    if not isinstance(trace, DRTAMTrace) or not isinstance(module, DRTAM):
        raise gr.Error(f"{view.label} has no such steps: only DRTAM does.", print_exception=False)
    found = drtam_steps(module, trace)
    return {
        **about(view),
        **{
            name: {"c": _values(passed.c), "h": _values(passed.h), "w": _values(passed.w)}
            for name, passed in (("initial", found.initial), ("complement", found.complement))
        },
    }


def _values(found: Embedding) -> Json:
    """One factor's way; batched tensors without their batch."""
    return {
        "strips": [asdict(strip) for strip in found.strips],
        "pooled": listed(found.pooled),
        "weight": found.weight.tolist(),
        "mixed": listed(found.mixed),
        "normed": listed(found.normed),
        "logit": listed(found.logit),
        "factor": listed(found.factor),
    }
