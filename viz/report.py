"""All figures and pictures of one explained photo, for reports and files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from PIL import Image
from torch import Tensor

from drtam import DRTAMTrace
from drtam.base import AttentionTrace
from drtam.explain import Analysis, LayerAnalysis, named_maps
from viz.descriptors import descriptors_figure
from viz.gates import gates_figure
from viz.maps import maps_figure
from viz.scores import scores_figure

TITLES = {
    "combined": "A (combined)",
    "initial": "A_I (initial)",
    "complement": "A_C (complement)",
    "gradcam": "Grad-CAM",
}


def titles(trace: AttentionTrace) -> dict[str, str]:
    """Of the maps of a layer by their names; only DRTAM combines two."""
    return TITLES if isinstance(trace, DRTAMTrace) else TITLES | {"combined": "A"}


@dataclass(frozen=True)
class Result:
    """A photo, explained, and how.

    Attributes:
        photo: upright, RGB.
        pixels: what the network saw of it.
        analysis: compact, of that one photo.
        classes: the name of each class.
        label: of the network.
        trained: whether its weights have seen data.
        record: what was done, as JSON can hold it.
    """

    photo: Image.Image
    pixels: Image.Image
    analysis: Analysis
    classes: tuple[str, ...]
    label: str
    trained: bool
    record: dict[str, Any]

    @property
    def note(self) -> str:
        """What has to stand beside every map of this network."""
        return "" if self.trained else "untrained"


def layer_maps(layer: LayerAnalysis) -> dict[str, Tensor]:
    """The maps (H, W) of a layer, means over channels, and Grad-CAM; see ``titles``."""
    means = {name: value[0].mean(0) for name, value in named_maps(layer.trace).items()}
    return {**means, "gradcam": layer.gradcam[0]}


def scores(result: Result) -> go.Figure:
    """The class scores."""
    title = " · ".join(["Class scores", *result.note.split()])
    return scores_figure(result.analysis, result.classes, title)


def figures(result: Result) -> dict[str, go.Figure]:
    """Every chart by name: ``scores``, and ``LAYER/factors``, ``maps``, ``descriptors``."""
    found = {"scores": scores(result)}
    for name, layer in result.analysis.layers.items():
        title = f"{name} · {result.label}"
        named = titles(layer.trace)
        maps = {named[key]: value for key, value in layer_maps(layer).items()}
        found[f"{name}/maps"] = maps_figure(maps, f"Means over channels · {title}", shared=False)
        found[f"{name}/factors"] = gates_figure(layer.trace, title)
        if isinstance(layer.trace, DRTAMTrace) and layer.residual is not None:
            found[f"{name}/descriptors"] = descriptors_figure(
                layer.trace, layer.residual, f"Descriptors of {title}"
            )
    return found
