"""What a network still recognises when pixels are taken away in the order of a map."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from drtam.checks import check_range
from drtam.explain.faithfulness_imputation import impute
from drtam.explain.recording import evaluating
from drtam.explain.scores import class_scores

BATCH = 16  # images in one forward pass
BLUR = 0.05  # of the shorter side: the standard deviation of insertion's blur
GRID = 64  # ROAD removes cells of a grid of about so many by so many
NOISE = 0.01  # of the photo's standard deviation, on imputed pixels


@dataclass(frozen=True)
class Curves:
    """A probability over the share of pixels, for M maps.

    Attributes:
        fractions: (S + 1,), from 0 to 1.
        probabilities: (M, S + 1); for ``road`` differences of two.
    """

    fractions: Tensor
    probabilities: Tensor

    @property
    def area(self) -> Tensor:
        """(M,), under each curve, by the trapezoid rule."""
        return torch.trapezoid(self.probabilities, self.fractions)


def deletion(
    model: nn.Module, image: Tensor, maps: Tensor, target: int, *, steps: int = 6, seed: int = 0
) -> Curves:
    """The probability while the most important pixels take on the photo's mean colour.

    Petsiuk et al., *RISE*, BMVC 2018. A map that finds what the network needs makes the
    probability fall early: a small area is good.

    Args:
        model: a classifier or a segmentation, see ``class_scores``; it is left as it was.
        image: (1, 3, H, W).
        maps: (M, h, w), scaled to (H, W) bilinearly.
        target: the class whose probability it is.
        steps: S, at least 2.
        seed: of the order of pixels with equal values.

    Raises:
        ValueError: the model is a detector, or returns no class scores; an argument is out of
            range, or of another shape.
    """
    _check(image, steps)
    mean = image.mean((2, 3), keepdim=True).expand_as(image)
    return _mixed(model, mean, image, maps, target, steps, seed, removing=True)


def insertion(
    model: nn.Module, image: Tensor, maps: Tensor, target: int, *, steps: int = 6, seed: int = 0
) -> Curves:
    """The probability while the most important pixels of a blurred photo become sharp.

    The counterpart of ``deletion``, with the same arguments: a large area is good.
    """
    _check(image, steps)
    deviation = BLUR * min(image.shape[2:])
    soft = gaussian_filter(image[0].detach().cpu().float().numpy(), (0, deviation, deviation))
    blurred = torch.from_numpy(soft)[None].to(image)
    return _mixed(model, blurred, image, maps, target, steps, seed, removing=False)


def road(
    model: nn.Module, image: Tensor, maps: Tensor, target: int, *, steps: int = 3, seed: int = 0
) -> Curves:
    """How much more of the probability is left without the least than the most important pixels.

    Removed pixels are imputed from the others (Rong et al., ICML 2022), so that neither a flat
    colour nor its outline counts. Arguments as for ``deletion``. The curves are the probability
    with the least important pixels removed minus that with the most important ones removed, 0
    at both ends: a large area is good, and that of a random map is about 0. Photos of 1.5 ``GRID``
    pixels a side and more are imputed in cells of several pixels, about ``GRID`` a side.
    """
    _check(image, steps)
    cell = max(1, round((image.shape[2] * image.shape[3]) ** 0.5 / GRID))
    grid = avg_pool2d(image, cell, ceil_mode=True)
    ranks = ranking(maps, grid.shape[2:], seed)  # (M, h, w)
    counts = [round(k / steps * ranks[0].numel()) for k in range(1, steps)]
    removed = [
        side for rank in (ranks, ranks.amax() - ranks) for r in rank for side in _first(r, counts)
    ]
    generator = torch.Generator().manual_seed(seed)
    images = (_imputed(image, grid, gone, cell, generator) for gone in removed)
    left = probabilities(model, images, target).view(2, len(maps), steps - 1)
    ends = left.new_zeros(len(maps), 1)
    return Curves(_fractions(steps), torch.cat((ends, left[1] - left[0], ends), 1))


def ranking(maps: Tensor, size: Iterable[int], seed: int) -> Tensor:
    """(M, h, w) to (M, H, W): 0 for the most important pixel, ties in a random order."""
    scaled = interpolate(maps[:, None].float().cpu(), tuple(size), mode="bilinear")[:, 0]
    flat = scaled.flatten(1)
    shuffle = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(seed))
    order = shuffle[flat[:, shuffle].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(flat.shape[1]).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view_as(scaled)


@torch.no_grad()
def probabilities(model: nn.Module, images: Iterable[Tensor], target: int) -> Tensor:
    """(N,), of the target for N images (3, H, W), a few of them in one pass.

    Raises:
        ValueError: the model is a detector, or returns no class scores.
    """
    found, rest = [], iter(images)
    with evaluating(model):
        while part := list(islice(rest, BATCH)):
            output = model(torch.stack(part))
            refuse_boxes(output)
            known = class_scores(output).probabilities
            check_range("target", target, 0, known.shape[1] - 1)
            found.append(known[:, target].cpu())
    return torch.cat(found)


def refuse_boxes(output: Any) -> None:
    """Raise ``ValueError`` for the boxes of a detector."""
    if isinstance(output, list | tuple):
        raise ValueError(
            "faithfulness judges classifiers and segmentations: the score of a detector's best "
            "box jumps from box to box while pixels are removed. Choose another network."
        )


def _mixed(
    model: nn.Module,
    base: Tensor,
    image: Tensor,
    maps: Tensor,
    target: int,
    steps: int,
    seed: int,
    *,
    removing: bool,
) -> Curves:
    """Curves between base and photo; their ends, the same for all maps, are computed once."""
    ranks = ranking(maps, image.shape[2:], seed)
    counts = [round(k / steps * ranks[0].numel()) for k in range(1, steps)]
    first, last = (image, base) if removing else (base, image)
    inner = (
        torch.where(most.to(image.device), last[0], first[0])
        for rank in ranks
        for most in _first(rank, counts)
    )
    found = probabilities(model, (first[0], last[0], *inner), target)
    ends, between = found[:2].expand(len(maps), 2), found[2:].view(len(maps), steps - 1)
    return Curves(_fractions(steps), torch.cat((ends[:, :1], between, ends[:, 1:]), 1))


def _check(image: Tensor, steps: int) -> None:
    check_range("steps", steps, 2)
    if image.dim() != 4 or len(image) != 1:
        raise ValueError(f"image must have the shape (1, 3, H, W), not {tuple(image.shape)}")


def _first(rank: Tensor, counts: Iterable[int]) -> list[Tensor]:
    return [rank < count for count in counts]


def _fractions(steps: int) -> Tensor:
    return torch.linspace(0, 1, steps + 1)


def _imputed(
    image: Tensor, grid: Tensor, gone: Tensor, cell: int, generator: torch.Generator
) -> Tensor:
    """The photo, what is gone of its grid of cells (``cell`` pixels a side) imputed."""
    filled = impute(grid[0], gone)
    noise = torch.randn(filled.shape, generator=generator).to(filled)
    filled = filled + NOISE * image.std() * noise
    height, width = image.shape[2:]
    whole = [side * cell for side in gone.shape]  # cells may reach beyond the photo
    large = interpolate(filled[None], whole, mode="bilinear")[0, :, :height, :width]
    where = gone.repeat_interleave(cell, 0).repeat_interleave(cell, 1)[:height, :width]
    return torch.where(where.to(image.device), large, image[0])
