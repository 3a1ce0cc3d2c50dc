"""What a feature was made of, so that the backward pass can make it again."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import _has_any_global_hook

from drtam.recorded import recorded


@dataclass(frozen=True)
class Origin:
    """A batch norm in training and what it was given.

    Attributes:
        x: (B, C, H, W), which the norm keeps for its own backward pass.
        weight: (C,), or None.
        bias: (C,), or None.
        eps: of the norm.
        version: of the feature; it is another one if somebody has written into the feature.
    """

    x: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    version: int


def normed(norm: nn.Module, x: Tensor) -> Tensor:
    """``norm(x)``; where this is a batch norm that is being trained, with its ``origin``.

    DRTAM then keeps nothing of X's size: what it keeps is what the norm keeps anyway. Second
    derivatives are those by ``x`` and by the weights, not by the feature between the two.
    """
    feature: Tensor = norm(x)
    if (
        not recorded(x)
        and type(norm) is nn.BatchNorm2d
        and norm.training
        and "forward" not in norm.__dict__
        and not (norm._forward_hooks or norm._forward_pre_hooks)
        and not _has_any_global_hook()  # type: ignore[no-untyped-call]
        and feature.requires_grad
        and x.requires_grad
    ):
        made = Origin(x, norm.weight, norm.bias, norm.eps, feature._version)
        feature.origin = made  # type: ignore[attr-defined]
    return feature


def origin(feature: Tensor) -> Origin | None:
    """Of what ``normed`` returned, as long as nobody has changed it."""
    made: Origin | None = getattr(feature, "origin", None)
    return made if made is not None and feature._version == made.version else None


def again(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """The feature of an origin; the running statistics stay as they are."""
    return functional.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
