"""Whether maps stay when nothing relevant changes, and change when everything does."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from drtam.explain.copying import copied
from drtam.explain.correlation import rank_correlation

RADIUS = 0.1  # with ImageNet's normalisation about 6 of 255 levels of brightness


def sensitivity(
    explain: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    radius: float = RADIUS,
    draws: int = 3,
    seed: int = 0,
) -> Tensor:
    """The largest relative change of maps under noise that nobody would see.

    Yeh et al., *On the (In)fidelity and Sensitivity of Explanations*, NeurIPS 2019, of the maps
    less their mean: a constant ranks no pixel, so it must not make a change look small.

    Args:
        explain: from images (B, 3, H, W) to their maps (B, M, h, w).
        image: (1, 3, H, W).
        radius: the noise is uniform in [-radius, radius], in the units of ``image``.
        draws: of the noise, all in one batch.
        seed: of the noise.

    Returns:
        (M,), >= 0; 0 for a map that does not change, infinite where only the noise makes one.
    """
    noise = torch.rand((draws, *image.shape[1:]), generator=torch.Generator().manual_seed(seed))
    near = image + radius * (2 * noise - 1).to(image)
    maps = explain(torch.cat((image, near))).flatten(2).float()
    maps = maps - maps.mean(2, keepdim=True)  # (1 + draws, M, hw)
    change = (maps[1:] - maps[:1]).norm(dim=2).amax(0)
    return torch.where(change > 0, change / maps[0].norm(dim=1), 0.0).cpu()


def randomised(
    explain: Callable[[nn.Module], Tensor], model: nn.Module, *, seed: int = 0
) -> Tensor:
    """Rank correlation of maps before and after the weights lost all that they learnt.

    Adebayo et al., *Sanity Checks for Saliency Maps*, NeurIPS 2018, for all layers at once. A
    map that stays the same does not depend on what the network knows.

    Args:
        explain: from a network to M maps (M, h, w).
        model: left as it is; a copy is changed.
        seed: of the random weights.

    Returns:
        (M,), in [-1, 1]; NaN where one of the two maps is constant.
    """
    before, after = explain(model).cpu(), explain(shuffled(model, seed)).cpu()
    return torch.tensor([rank_correlation(a, b) for a, b in zip(before, after, strict=True)])


@torch.inference_mode(False)
@torch.no_grad()
def shuffled(model: nn.Module, seed: int) -> nn.Module:
    """A copy whose weights are those of the model, in a random order within each tensor.

    That needs no ``reset_parameters`` of anyone's modules, and keeps each layer's scale, so
    that features neither vanish nor explode behind the kept statistics of batch norms.
    """
    other = copied(model)
    generator = torch.Generator().manual_seed(seed)
    for parameter in other.parameters():
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return other
