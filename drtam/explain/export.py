"""An analysis as named arrays: what an NPZ of it holds."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from drtam.explain.analysis import Analysis, LayerAnalysis, map_tensors, named_maps

NAMES = """\
logits                            (K,)   class scores
probabilities                     (K,)   of the classes, in [0, 1]
target                            ()     the class that Grad-CAM explains
LAYER/gradcam                     (H, W) Grad-CAM of the target at the module's output, >= 0
LAYER/map/combined                (H, W) mean over channels of the attention map, in (0, 1)
LAYER/map/initial                 (H, W) of A_I, for DRTAM; likewise LAYER/map/complement of A_C
LAYER/statistics/combined         (3,)   mean, spread and entropy of the whole map; likewise
                                         initial and complement
DRTAM
LAYER/descriptors/ch, cw, hw      (C, H) (C, W) (H, W) means of the feature X
LAYER/initial/c, h, w             (C,) (H,) (W,) factors of A_I = c o h o w (Eqn 2), in (0, 1)
LAYER/residual/ch, cw, hw         as descriptors: those of X (1 - A_I) by Eqn 12-14
LAYER/complement/c, h, w          as initial: factors of A_C
LAYER/exact_residual/ch, cw, hw   as descriptors: those of X (1 - A_I) by pooling
LAYER/residual_error              (3,)   relative error of residual for ch, cw and hw
LAYER/added                       ()     share of the combined map's mean that A_C adds to A_I
CBAM
LAYER/channel, LAYER/spatial_map  (C,) (H, W) its two gates
CA
LAYER/h, LAYER/w                  (C, H) (C, W) its two gates
NO ATTENTION, or one that is switched off
LAYER/ones                        (H, W) its map
A REGION SUPPRESSED OR BOOSTED
LAYER/gain                        (H, W) what the map is multiplied with
LAYER/trace/...                   as above: what the layer has without it
"""


def arrays(analysis: Analysis) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of one image by name, such as ``layer4.2/initial/c``; ``NAMES`` lists them.

    Floats are float32. A map of all channels is not among them: it follows from the factors,
    for DRTAM ``A_I = c[:, None, None] * h[:, None] * w`` and A = A_I + (1 - A_I) A_C.

    Args:
        analysis: of one image, compact or not.

    Raises:
        ValueError: it is of several, or a layer saw several.
    """
    found = {
        "logits": analysis.logits,
        "probabilities": analysis.probabilities,
        "target": analysis.target,
    }
    for name, layer in analysis.layers.items():
        found |= {f"{name}/{key}": value for key, value in _of_layer(layer).items()}
    return {name: _array(value) for name, value in found.items()}


def npz(analysis: Analysis) -> bytes:
    """An NPZ file of ``arrays``, the same bytes for the same numbers; it needs no pickle."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays(analysis))  # type: ignore[arg-type]
    return buffer.getvalue()


def of_image(analysis: Analysis, index: int) -> Analysis:
    """One image of a batch, still with a batch axis. The analysis must be compact.

    Raises:
        IndexError: the batch has no such image; -1 is its last.
        ValueError: a layer saw more maps than there are images, such as several views of each.
    """
    images = len(analysis.target)
    chosen = range(images)[index]

    def own(values: Tensor) -> Tensor:
        if len(values) not in (0, images):  # 0: the output of a compact analysis
            raise ValueError(
                f"each layer must have seen every image once, but one has {len(values)} maps for "
                f"{images} images: which of them are one image's, only the network knows"
            )
        return values[chosen : chosen + 1]

    return map_tensors(analysis, own)


def _of_layer(layer: LayerAnalysis) -> dict[str, Tensor]:
    found = {"gradcam": layer.gradcam}
    found |= {f"map/{key}": value.mean(1) for key, value in named_maps(layer.trace).items()}
    for key, numbers in layer.statistics.items():
        parts = (numbers.mean, numbers.spread, numbers.entropy)
        found[f"statistics/{key}"] = torch.stack(parts, dim=1)
    traced = _tensors(layer.trace)
    found |= {key: value for key, value in traced.items() if key.split("/")[-1] != "output"}
    if layer.residual is not None:
        found |= {f"exact_{k}": v for k, v in _tensors(layer.residual.exact, "residual").items()}
        found["residual_error"] = layer.residual.error
    if layer.added is not None:
        found["added"] = layer.added
    return found


def _tensors(value: object, prefix: str = "") -> dict[str, Tensor]:
    """The tensors in nested dataclasses by the path of their fields."""
    if isinstance(value, Tensor):
        return {prefix: value}
    found: dict[str, Tensor] = {}
    if not dataclasses.is_dataclass(value):
        return found
    for field in dataclasses.fields(value):
        path = f"{prefix}/{field.name}" if prefix else field.name
        found |= _tensors(getattr(value, field.name), path)
    return found


def _array(values: Tensor) -> npt.NDArray[np.generic]:
    if len(values) != 1:
        raise ValueError(
            f"analysis must be of one image, but holds {len(values)}: of_image takes one out"
        )
    first = values[0].detach().cpu()
    array: npt.NDArray[np.generic] = (
        first.float() if first.is_floating_point() else first
    ).numpy()
    return array
