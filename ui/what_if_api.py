"""The What if tab's work as an endpoint for programs."""

from __future__ import annotations

import gradio as gr
import torch

from ui.api import Json, checked_size, checked_view, layer_of
from ui.arguments import check_choice, register, shown
from ui.interventions import MADE_FOR, MOST_GAIN, Asked, report, run
from ui.networks import catalogue, spec_of
from ui.photo_argument import photo_of
from ui.session import MOST_PROBABLE, source_of

MOST_CELLS = 256  # along a side of the region


def build() -> None:
    """Register the endpoint in the open ``gr.Blocks``."""
    register(what_if, concurrency_id="model", concurrency_limit=1)


def what_if(
    photo: str,
    changes: list[str],
    layers: list[str] | None = None,
    network: str = "",
    target: int = MOST_PROBABLE,
    size: int | None = None,
    region: list[list[float]] | None = None,
    gain: float = 0.0,
    on_photo: bool = False,
    channels_of: str = "",
) -> Json:
    """Class scores before and after changes of the attention, and what each layer does alone.

    Args:
        photo: a data URI (data:image/jpeg;base64,...) of at most 3 MB, what handle_file gives,
            or the name of an example: "an espresso", "a lion", "a cheetah" or "a tower".
        changes: any of off (A = 1), off_initial, off_complement, exact_residual, and flat_c,
            flat_h, flat_w with _initial or _complement (the factor replaced by its mean);
            flat_c alone for CBAM, flat_h and flat_w alone for CA. May be empty with a region.
        layers: names from /analyze, such as layer4.2; all layers if empty.
        network: a label from /networks; the default network if empty.
        target: the class whose log-probability is followed; -1 for the most probable one.
        size: side of a square with as many pixels as the network is to see, 96 to 448; the
            network's own if empty.
        region: rows of numbers from 0 to 1, 1 where painted, of any size up to 256 x 256; it
            covers the whole photo. Empty for none.
        gain: of the region, 0 (suppress) to 2 (boost).
        on_photo: whether the region is painted on the photo, not on the layers' maps.
        channels_of: the layer whose channels are ranked; the last one if empty.
    """
    source = source_of(network or next(iter(catalogue())))
    size = checked_size(size, source)
    view = checked_view(photo, network, target, size)
    changes, layers = list(dict.fromkeys(changes)), list(dict.fromkeys(layers or ()))
    for name in layers:
        layer_of(view, name, "layers")
    names = list(view.analysis.layers)
    layer = channels_of or names[-1]
    layer_of(view, layer, "channels_of")
    offered = MADE_FOR[str(spec_of(source).attention)]
    for change in changes:
        check_choice("changes", change, offered)
    if not changes and not region:
        raise gr.Error("name a change or paint a region", print_exception=False)
    if not 0 <= gain <= MOST_GAIN:
        raise gr.Error(
            f"gain must be from 0 to {MOST_GAIN:g}, not {shown(gain)}", print_exception=False
        )
    mask = None if not region else _mask(region)
    asked = Asked(tuple(changes), tuple(layers or names), mask, gain, on_photo)
    found = run(photo_of(photo), source, size, view, asked, layer)
    return report(found)


def _mask(region: list[list[float]]) -> torch.Tensor:
    sides = {len(row) for row in region}
    if len(sides) != 1 or not 1 <= max(len(region), *sides) <= MOST_CELLS or 0 in sides:
        raise gr.Error(
            f"region must be rows of the same length, from 1 to {MOST_CELLS} each way",
            print_exception=False,
        )
    mask = torch.tensor(region, dtype=torch.float32)
    if mask.min() < 0 or mask.max() > 1:
        raise gr.Error(
            f"region must hold numbers from 0 to 1, not {mask.min():g} to {mask.max():g}",
            print_exception=False,
        )
    return mask
