"""What was done with a photo: what stands in every report, and the result it stands in."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ui.compute import Photo, View
from ui.devices import gpu_name
from ui.networks import Source, Untrained, load
from viz.report import Result

PACKAGES = ("drtam", "torch", "torchvision", "numpy", "pillow", "plotly")


def result_of(photo: Photo, view: View, source: Source, asked: dict[str, Any]) -> Result:
    """An explained photo with its record.

    Args:
        photo: decoded.
        view: of it.
        source: of the network.
        asked: more lines of the record, such as the date.
    """
    explained = int(view.analysis.target[0])
    found_any = bool(view.analysis.probabilities.any())  # a detector may find nothing
    record = {
        "trained": view.trained,
        "network": network_record(source),
        "photo": photo_record(photo, view),
        "ran_on": view.device,
        "target": {"class": explained, "name": view.classes[explained]} if found_any else None,
        **asked,
    }
    return Result(
        photo.image, view.pixels, view.analysis, view.classes, view.label, view.trained, record
    )


def photo_record(photo: Photo, view: View) -> dict[str, Any]:
    """Which photo it was, and how much of it the network saw."""
    return {
        "sha256_of_pixels": photo.digest.hex(),
        "size": list(photo.image.size),
        "seen_at": list(view.pixels.size),
    }


def network_record(source: Source) -> dict[str, Any]:
    """What network it was, with which weights."""
    network = load(source)
    weights: dict[str, Any] = (
        {"untrained": True, "seed": source.seed}
        if isinstance(source, Untrained)
        else {"file": source.path.name, "sha256": source.sha256}
    )
    return {
        "label": source.label,
        "spec": asdict(network.spec),
        "weights": weights,
        "mean": list(network.mean),
        "std": list(network.std),
    }


def machine_record() -> dict[str, Any]:
    """The versions and the device."""
    return {
        "device": gpu_name(),
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in PACKAGES}},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that is not installed
        return "checkout"
