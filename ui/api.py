"""The tabs' work as endpoints for programs, see "Use via API" at the foot of the page.

They are MCP tools too, hence ``photo: str``, see ``ui.photo_argument``.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from torch import Tensor

from drtam import DRTAMTrace
from drtam.explain import LayerAnalysis, named_maps
from models.paper import find_row
from ui import compare
from ui.arguments import check_choice, check_range, register
from ui.compute import SIZES, View, explain, own_size
from ui.networks import ATTENTION_NAMES, BACKBONE_NAMES, Source, Untrained, catalogue, cost, load
from ui.photo_argument import photo_of
from ui.rivals import PLAIN, rivals
from ui.session import MOST_PROBABLE, source_of, view_of
from ui.variant_key import SEEDS
from ui.variants import PLACEMENTS

Json = dict[str, Any]


def build() -> None:
    """Register every endpoint in the open ``gr.Blocks``."""
    for function in (networks, analyze, layer, descriptors, compare_modules, variant):
        register(function, concurrency_id="model", concurrency_limit=1)


def networks() -> list[str]:
    """Call this first: the labels of the networks that the other tools take, the default first.

    A label with "untrained" has random weights: its maps show the mechanism, no knowledge. Other
    variants have names such as "resnet50 drtam s4 n1 r32 seed0 block".
    """
    return list(catalogue())


def analyze(
    photo: str, network: str = "", target: int = MOST_PROBABLE, size: int | None = None
) -> Json:
    """Start here with a photo: class scores, and the statistics of every attention layer.

    The keys of "layers" are the names that the tools layer, descriptors and compare_modules take.
    "trained" says whether the network has learnt anything.

    Args:
        photo: a data URI (data:image/jpeg;base64,...) of at most 3 MB, what handle_file gives,
            or the name of an example: "an espresso", "a lion", "a cheetah" or "a tower".
        network: a label from /networks; the default network if empty.
        target: the class that Grad-CAM explains; -1 for the most probable one.
        size: side of a square with as many pixels as the network is to see, 96 to 448; the
            network's own if empty.
    """
    view = checked_view(photo, network, target, size)
    probabilities = view.analysis.probabilities[0]
    best = probabilities.topk(min(5, len(probabilities)))
    return {
        **about(view),
        "target": int(view.analysis.target[0]),
        "top": [
            {"class": k, "name": view.classes[k], "probability": p}
            for p, k in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ],
        "layers": {
            name: {
                "shape": list(found.trace.attention().shape[1:]),
                "maps": {
                    key: {
                        "mean": float(numbers.mean),
                        "spread": float(numbers.spread),
                        "entropy": float(numbers.entropy),
                    }
                    for key, numbers in found.statistics.items()
                },
                "added": None if found.added is None else float(found.added),
                "residual_error": None
                if found.residual is None
                else dict(zip(("ch", "cw", "hw"), listed(found.residual.error), strict=True)),
            }
            for name, found in view.analysis.layers.items()
        },
    }


def layer(
    photo: str,
    layer: str,
    network: str = "",
    target: int = MOST_PROBABLE,
    size: int | None = None,
    channel: int = -1,
) -> Json:
    """The attention maps of one layer, cell by cell, their factors, and Grad-CAM there.

    Call analyze before, for the names of layers; late layers have small maps (7 x 7), early ones
    large ones (56 x 56).

    Args:
        photo: a data URI (data:image/jpeg;base64,...) of at most 3 MB, what handle_file gives,
            or the name of an example: "an espresso", "a lion", "a cheetah" or "a tower".
        layer: a name from /analyze, such as layer4.2.
        network: a label from /networks; the default network if empty.
        target: the class that Grad-CAM explains; -1 for the most probable one.
        size: side of a square with as many pixels as the network is to see, 96 to 448; the
            network's own if empty.
        channel: whose maps; -1 for the mean over channels.
    """
    view = checked_view(photo, network, target, size)
    trace = layer_of(view, layer).trace
    full = named_maps(trace)
    channels = full["combined"].shape[1]
    check_range("channel", channel, -1, channels - 1)
    factors = None
    if isinstance(trace, DRTAMTrace):
        factors = {
            name: {"c": listed(f.c), "h": listed(f.h), "w": listed(f.w)}
            for name, f in (("initial", trace.initial), ("complement", trace.complement))
        }
    return {
        **about(view),
        "maps": {
            name: listed(value.mean(1) if channel < 0 else value[:, channel])
            for name, value in full.items()
        },
        "factors": factors,
        "gradcam": listed(layer_of(view, layer).gradcam),
    }


def descriptors(photo: str, layer: str, network: str = "", size: int | None = None) -> Json:
    """X_ch, X_cw, X_hw, those of the residual by Eqn 12-14, and those pooled exactly.

    Large: up to 100,000 numbers. For the relative errors alone, call analyze.

    Args:
        photo: a data URI (data:image/jpeg;base64,...) of at most 3 MB, what handle_file gives,
            or the name of an example: "an espresso", "a lion", "a cheetah" or "a tower".
        layer: a name from /analyze, such as layer4.2.
        network: the label of a DRTAM network; the default network if empty.
        size: side of a square with as many pixels as the network is to see, 96 to 448; the
            network's own if empty.
    """
    view = checked_view(photo, network, MOST_PROBABLE, size)
    found = layer_of(view, layer)
    if not isinstance(found.trace, DRTAMTrace) or found.residual is None:
        raise gr.Error(f"{view.label} has no descriptors: only DRTAM does.", print_exception=False)
    kinds = {
        "input": found.trace.descriptors,
        "residual": found.trace.residual,
        "exact_residual": found.residual.exact,
    }
    return {
        **about(view),
        **{
            name: {"ch": listed(d.ch), "cw": listed(d.cw), "hw": listed(d.hw)}
            for name, d in kinds.items()
        },
        "relative_error": dict(zip(("ch", "cw", "hw"), listed(found.residual.error), strict=True)),
    }


def compare_modules(
    photo: str,
    layer: str,
    network: str = "",
    target: int = MOST_PROBABLE,
    size: int | None = None,
) -> Json:
    """The map and Grad-CAM of DRTAM, CBAM and CA at one layer, and their rank correlations.

    Beside them Grad-CAM at the same place of the network without attention ("none", whose map is
    null). Call analyze before, for the names of layers.

    Args:
        photo: a data URI (data:image/jpeg;base64,...) of at most 3 MB, what handle_file gives,
            or the name of an example: "an espresso", "a lion", "a cheetah" or "a tower".
        layer: a name from /analyze, such as layer4.2.
        network: a label from /networks; the default network if empty.
        target: the class that Grad-CAM explains; -1 for the most probable one.
        size: side of a square with as many pixels as the network is to see, 96 to 448; the
            network's own if empty.
    """
    label = network or next(iter(catalogue()))
    size = checked_size(size, source_of(label))
    layer_of(checked_view(photo, label, target, size), layer)
    sources = rivals(source_of(label))
    _, found = compare.contenders(photo_of(photo), label, size, target, layer, sources)
    names, table = compare.correlations(found)
    return {
        "networks": {
            kind: {
                **about(theirs),
                "map": None if kind == PLAIN else listed(result.trace.spatial()),
                "gradcam": listed(result.gradcam),
            }
            for kind, (theirs, result) in found.items()
        },
        "names": names,
        "rank_correlation": table,
    }


def variant(
    photo: str,
    backbone: str = "resnet50",
    attention: str = "drtam",
    s: int = 3,
    n: int = 1,
    r: int = 32,
    seed: int = 0,
    size: int | None = None,
    placement: str = "block",
) -> Json:
    """An untrained variant: its cost, and its maps for a photo.

    Args:
        photo: a data URI (data:image/jpeg;base64,...) of at most 3 MB, what handle_file gives,
            or the name of an example: "an espresso", "a lion", "a cheetah" or "a tower".
        backbone: resnet18, resnet34, resnet50, resnet101, resnet152, mobilenet_v2,
            mobilenet_v2_075, mobilenet_v2_050, maskrcnn_resnet18, maskrcnn_resnet50,
            maskrcnn_resnet101, fcn_resnet50 or fcn_resnet101.
        attention: drtam, cbam or ca.
        s: S, 1 to 16.
        n: N, 1 to 64.
        r: reduction ratio, 1 to 128.
        seed: of the weights, 0 to 99.
        size: side of a square with as many pixels as the network is to see, 96 to 448; the
            network's own if empty.
        placement: block, or stage for a ResNet: after the stem and each stage.
    """
    for argument, choice, choices in (
        ("backbone", backbone, BACKBONE_NAMES),
        ("attention", attention, ATTENTION_NAMES),
        ("placement", placement, PLACEMENTS),
    ):
        check_choice(argument, choice, choices)
    limits = (("s", s, 1, 16), ("n", n, 1, 64), ("r", r, 1, 128), ("seed", seed, *SEEDS))
    for name, value, low, high in limits:
        check_range(name, value, low, high)
    source = Untrained(backbone, attention, s, n, r, seed, placement)  # type: ignore[arg-type]
    try:
        row = find_row(source.spec)
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error
    view = explain(photo_of(photo), source, checked_size(size, source), None)
    counted, side = cost(source)
    return {
        **about(view),
        "params": counted.params,
        "gflops": counted.gflops,
        "gflops_at": [side, side],
        "paper": None if row is None else {"table": row.table, "row": row.row, **row.cells},
        "maps": {
            name: listed(found.trace.spatial()) for name, found in view.analysis.layers.items()
        },
    }


def checked_view(photo: Any, network: str, target: int, size: int | None) -> View:
    """The analysis that arguments of a program ask for; ``gr.Error`` says which one is wrong."""
    label = network or next(iter(catalogue()))
    size = checked_size(size, source_of(label))
    check_range("target", target, MOST_PROBABLE, len(load(source_of(label)).classes) - 1)
    return view_of(photo_of(photo), label, size, target)


def checked_size(size: int | None, source: Source) -> int:
    """An analysis resolution that a program asks for; if none, the network's own."""
    if size is None:
        return own_size(source)
    check_range("size", size, *SIZES)
    return size


def layer_of(view: View, name: str, argument: str = "layer") -> LayerAnalysis:
    """The layer that an argument names; ``gr.Error`` lists those that there are."""
    check_choice(argument, name, view.analysis.layers)
    return view.analysis.layers[name]


def about(view: View) -> Json:
    """Which network answers, and what it saw."""
    return {"network": view.label, "trained": view.trained, "saw": list(view.pixels.size)}


def listed(values: Tensor) -> list[Any]:
    """The first of a batch, for JSON."""
    return values[0].float().tolist()
