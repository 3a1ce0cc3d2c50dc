"""Whether maps find the object: the pointing game, and the energy inside the box."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from tqdm import tqdm

from drtam import DRTAMTrace, NoAttentionTrace
from drtam.explain import LayerAnalysis, analyze
from experiments.accuracy import batches
from experiments.photos import Photos

CENTRE = "centre, or even"  # what a map that knows nothing of the photo scores


@dataclass(frozen=True)
class Score:
    """How well the maps of one kind find the object, in percent.

    Attributes:
        pointing: photos where the centre of the map's largest cell lies inside the box (Zhang et
            al., IJCV 2018). The largest pixel of an enlarged map would be in the photo's corner
            wherever the largest cell is in a corner.
        energy: share of the map inside the box, its smallest value taken as 0 (Wang et al.,
            CVPR workshops 2020); the mean over the photos.
        constant: photos whose map is the same everywhere, as a Grad-CAM that is 0 is: it points
            nowhere. None in results that are older than this count.
    """

    pointing: float
    energy: float
    constant: float | None = None


def localise(
    model: nn.Module,
    photos: Photos,
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    device: torch.device,
    batch: int = 50,
) -> dict[str, dict[str, Score]]:
    """The scores of every map at every attention layer, Grad-CAM explaining the true class.

    Returns:
        By layer, by map: ``gradcam``, of attention ``combined``, and of DRTAM ``initial`` and
        ``complement``. The layer "" holds what the centre scores, and an even map.

    Raises:
        ValueError: the photos have no boxes.
    """
    if photos.boxes is None:
        raise ValueError("the photos must have boxes: only Tiny-ImageNet's val part does so far")
    side = photos.images.shape[1]
    found: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
    steps = -(-len(photos.labels) // batch)
    for part, images, labels in tqdm(
        batches(photos, size, mean, std, device, batch), total=steps, desc="localisation"
    ):
        inside = box_masks(torch.from_numpy(photos.boxes[part]).to(device), side)
        found["", CENTRE].append(baseline(inside))
        for name, layer in analyze(model, images, labels).layers.items():
            for kind, values in spatial_maps(layer).items():
                found[name, kind].append(score(values, inside))
    table: dict[str, dict[str, Score]] = {}
    for (name, kind), parts in found.items():
        table.setdefault(name, {})[kind] = Score(*(100 * torch.cat(parts, 1).mean(1)).tolist())
    return table


def spatial_maps(layer: LayerAnalysis) -> dict[str, Tensor]:
    """(B, H, W) each: the means over channels of the attention maps, if any, and Grad-CAM."""
    trace = layer.trace
    maps = {} if isinstance(trace, NoAttentionTrace) else {"combined": trace.spatial()}
    if isinstance(trace, DRTAMTrace):
        for name, factors in (("initial", trace.initial), ("complement", trace.complement)):
            maps[name] = factors.spatial() * factors.c.mean(1)[:, None, None]
    return maps | {"gradcam": layer.gradcam}


def box_masks(boxes: Tensor, side: int) -> Tensor:
    """(B, 4) to (B, side, side): which pixels' centres lie in the box."""
    centres = torch.arange(side, device=boxes.device) + 0.5
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)  # (B, 1)
    columns, rows = (x0 <= centres) & (centres < x1), (y0 <= centres) & (centres < y1)
    return rows[:, :, None] & columns[:, None, :]


def score(maps: Tensor, inside: Tensor) -> Tensor:
    """(B, H, W) and (B, S, S) to (3, B): points inside, energy inside the box, is constant.

    A constant map points nowhere, and its energy is spread evenly.
    """
    side = inside.shape[1]
    large = interpolate(maps.float()[:, None], (side, side), mode="bilinear")[:, 0]
    flat, box = large.flatten(1), inside.flatten(1)
    flat = flat - flat.amin(1, keepdim=True)
    constant = flat.amax(1) <= 1e-6 * maps.float().abs().amax((1, 2))
    height, width = maps.shape[1:]
    largest = maps.flatten(1).argmax(1)
    row = ((largest // width + 0.5) * side / height).long()
    column = ((largest % width + 0.5) * side / width).long()
    pointing = inside[torch.arange(len(maps)), row, column] & ~constant
    energy = torch.where(constant, box.float().mean(1), (flat * box).sum(1) / flat.sum(1))
    return torch.stack((pointing.float(), energy, constant.float()))


def baseline(inside: Tensor) -> Tensor:
    """(3, B): whether the photo's centre is inside, the box's share of the photo, and 0."""
    middle = inside[:, inside.shape[1] // 2, inside.shape[2] // 2].float()
    return torch.stack((middle, inside.float().mean((1, 2)), torch.zeros_like(middle)))


def first(photos: Photos, count: int, seed: int = 0) -> Photos:
    """``count`` of the photos, drawn at random but the same ones for the same seed."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(photos.labels))[:count])
    boxes = None if photos.boxes is None else photos.boxes[chosen]
    return Photos(photos.images[chosen], photos.labels[chosen], boxes, photos.classes)
