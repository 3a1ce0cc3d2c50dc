"""The A and B tab's work as an endpoint for programs."""

from __future__ import annotations

from drtam.explain import difference, rank_correlation
from ui.api import Json, about, checked_size, checked_view, layer_of, listed
from ui.arguments import register
from ui.networks import catalogue
from ui.session import MOST_PROBABLE, source_of
from ui.variants import counterpart


def build() -> None:
    """Register the endpoint in the open ``gr.Blocks``."""
    register(side_by_side, concurrency_id="model", concurrency_limit=1)


def side_by_side(
    photo: str,
    other_photo: str,
    layer: str,
    network: str = "",
    other_network: str = "",
    target: int = MOST_PROBABLE,
    other_target: int = MOST_PROBABLE,
    size: int | None = None,
) -> Json:
    """Two photos, two networks, or both, at the same layer: maps, Grad-CAM, and their difference.

    A layer that the other network lacks stands for the one at the same depth.

    Args:
        photo: a data URI (data:image/jpeg;base64,...) of at most 3 MB, what handle_file gives,
            or the name of an example: "an espresso", "a lion", "a cheetah" or "a tower".
        other_photo: likewise; may be the same.
        layer: a name from /analyze, such as layer4.2.
        network: a label from /networks; the default network if empty.
        other_network: likewise.
        target: the class that Grad-CAM explains; -1 for the most probable one.
        other_target: likewise, of the other.
        size: side of a square with as many pixels as the networks are to see, 96 to 448;
            the first network's own if empty.
    """
    size = checked_size(size, source_of(network or next(iter(catalogue()))))
    a = checked_view(photo, network, target, size)
    b = checked_view(other_photo, other_network, other_target, size)
    found = layer_of(a, layer), layer_of(b, counterpart(b, layer, a))
    maps = [layer.trace.spatial()[0] for layer in found]
    cams = [layer.gradcam[0] for layer in found]
    sides = [
        {**about(view), "map": listed(layer.trace.spatial()), "gradcam": listed(layer.gradcam)}
        for view, layer in zip((a, b), found, strict=True)
    ]
    return {
        "a": sides[0],
        "b": sides[1],
        "difference": difference(*maps).tolist(),
        "gradcam_difference": difference(*cams).tolist(),
        "rank_correlation": rank_correlation(*maps),
    }
