"""Whether the maps of one layer show what the network really uses.

Deletion, insertion, ROAD, sensitivity and randomised weights are written here rather than taken
from a library: captum has the sensitivity (it is the tests' oracle), torchcam has average drop,
and Quantus, which has most of it, takes NumPy arrays of photos with one map each, where here
one batch of masked photos, or of noisy ones, serves all maps of a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from drtam.checks import check_range
from drtam.explain.analysis import gradcam, named_maps
from drtam.explain.correlation import constant
from drtam.explain.faithfulness_curves import Curves, deletion, insertion, refuse_boxes, road
from drtam.explain.faithfulness_stability import randomised, sensitivity
from drtam.explain.gradients import score_gradients
from drtam.explain.recording import evaluating, recording, refuse_undifferentiable
from drtam.explain.scores import class_scores

BASELINES = ("random", "centre")  # what a map of no worth, and the habit of photographers, score
WIDTH = 0.25  # of the photo's sides: the standard deviation of the centre map


@dataclass(frozen=True)
class Faithfulness:
    """How the maps of one layer fared for one photo.

    A map that is the same everywhere ranks nothing: all its numbers are NaN.

    Attributes:
        target: the class.
        names: M of them: ``combined``, for DRTAM ``initial`` and ``complement``, ``gradcam``,
            and the two ``BASELINES``.
        maps: (M, h, w), means over channels.
        deletion: a small area is good.
        insertion: a large area is good.
        road: a large area is good, about 0 is what a random map has.
        sensitivity: (M,), the relative change under slight noise; 0 for the baselines, which
            ignore the photo.
        randomised: (M,), rank correlation with the map of shuffled weights; 1 for the
            baselines, which ignore the network. NaN also where that map is constant.
    """

    target: int
    names: tuple[str, ...]
    maps: Tensor
    deletion: Curves
    insertion: Curves
    road: Curves
    sensitivity: Tensor
    randomised: Tensor


def faithfulness(
    model: nn.Module,
    image: Tensor,
    layer: str,
    target: int | None = None,
    *,
    steps: int = 6,
    draws: int = 3,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> Faithfulness:
    """Judge all maps of one attention layer, a random map and a blob in the photo's centre.

    Args:
        model: a classifier or a segmentation with attention modules; it is left as it was.
        image: (1, 3, H, W), normalised as the network expects.
        layer: a name of ``analyze``, such as ``layer4.2``.
        target: the class; by default the most probable one.
        steps: of the deletion and insertion curves, 2 to 100; ROAD has half as many.
        draws: of the noise, at least 1.
        seed: of ties, noise, random map and shuffled weights.
        progress: called before each stage with the share that is done and the stage's name.

    Raises:
        ValueError: an argument is out of range, the model is a detector or has no such layer.
    """
    check_range("steps", steps, 2, 100)
    check_range("draws", draws, 1)
    if image.dim() != 4 or len(image) != 1:
        raise ValueError(f"image must have the shape (1, 3, H, W), not {tuple(image.shape)}")
    report = progress or (lambda *_: None)
    report(0.0, "maps")
    chosen = target if target is not None else _best(model, image)
    found = layer_maps(model, image, layer, chosen)
    own = torch.cat(list(found.values()))
    maps = torch.cat((own, baselines(own.shape[1], own.shape[2], seed).to(own)))

    def stacked(network: nn.Module, images: Tensor) -> Tensor:
        return torch.stack(list(layer_maps(network, images, layer, chosen).values()), 1)

    report(0.05, "deletion")
    deleted = deletion(model, image, maps, chosen, steps=steps, seed=seed)
    report(0.35, "insertion")
    inserted = insertion(model, image, maps, chosen, steps=steps, seed=seed)
    report(0.65, "ROAD")
    imputed = road(model, image, maps, chosen, steps=max(2, steps // 2), seed=seed)
    report(0.85, "slight noise")
    change = sensitivity(lambda near: stacked(model, near), image, draws=draws, seed=seed)
    report(0.95, "shuffled weights")
    alike = randomised(lambda network: stacked(network, image)[0], model, seed=seed)
    even = constant(maps.float()).cpu()

    def known(numbers: Tensor) -> Tensor:
        numbers[even] = torch.nan
        return numbers

    def known_curves(curves: Curves) -> Curves:
        return replace(curves, probabilities=known(curves.probabilities))

    return Faithfulness(
        target=chosen,
        names=(*found, *BASELINES),
        maps=maps.cpu(),
        deletion=known_curves(deleted),
        insertion=known_curves(inserted),
        road=known_curves(imputed),
        sensitivity=known(torch.cat((change, torch.zeros(len(BASELINES))))),
        randomised=known(torch.cat((alike, torch.ones(len(BASELINES))))),
    )


def passes(maps: int, steps: int, draws: int = 3) -> int:
    """How many images go through the network forward or backward, for so many maps of its own."""
    every = maps + len(BASELINES)
    curves = 2 * (2 + every * (steps - 1)) + 2 * every * (max(2, steps // 2) - 1)
    explained = 1 + (1 + draws) + 2  # as it is; with noise; before and after the shuffle
    return curves + 2 * explained


def layer_maps(model: nn.Module, image: Tensor, layer: str, target: int) -> dict[str, Tensor]:
    """(B, h, w) each: a layer's attention maps, their means over channels, and its Grad-CAM.

    The same as those of ``analyze``, without the work for all other layers.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        evaluating(model),
        recording(model) as records,
    ):
        output = model(image.clone())
        refuse_boxes(output)
        scores = class_scores(output).values
        if layer not in records:
            raise ValueError(f"layer must be one of {', '.join(records)}, not {layer!r}")
        check_range("target", target, 0, scores.shape[1] - 1)
        refuse_undifferentiable({layer: records[layer]})
        trace = records[layer].trace
        score = scores[:, target].sum()
        (gradient,) = score_gradients(score, [trace.output], of_boxes=False)
    with torch.no_grad():
        maps = {name: values.float().mean(1) for name, values in named_maps(trace).items()}
        return maps | {"gradcam": gradcam(trace.output, gradient)}


def baselines(height: int, width: int, seed: int) -> Tensor:
    """(2, h, w): uniform noise, and a Gaussian around the centre."""
    noise = torch.rand((height, width), generator=torch.Generator().manual_seed(seed))
    rows, columns = ((torch.arange(n) + 0.5) / n - 0.5 for n in (height, width))
    squared = rows[:, None] ** 2 + columns[None] ** 2
    return torch.stack((noise, torch.exp(squared / (-2 * WIDTH**2))))


@torch.no_grad()
def _best(model: nn.Module, image: Tensor) -> int:
    with evaluating(model):
        output = model(image.clone())
    refuse_boxes(output)
    return int(class_scores(output).probabilities.argmax())
