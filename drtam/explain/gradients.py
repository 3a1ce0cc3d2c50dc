"""Gradients of class scores at the attention layers' outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def score_gradients(score: Tensor, outputs: Sequence[Tensor], *, of_boxes: bool) -> list[Tensor]:
    """The gradient of a score at each output; 0 at one that has no part in the score.

    Args:
        score: a scalar.
        outputs: of the layers, in the graph of the network.
        of_boxes: whether it is a detector's, which has no gradient where there is no box.

    Raises:
        ValueError: no gradient reaches any output, and it is no detector's score.
    """
    found: Sequence[Tensor | None] = [None] * len(outputs)
    if score.requires_grad:
        found = torch.autograd.grad(score, outputs, allow_unused=True)
    if not of_boxes and all(gradient is None for gradient in found):
        raise ValueError(
            "no gradient of the class scores reaches the attention, and Grad-CAM needs it: is "
            "there a detach(), a torch.no_grad() or a quantised layer behind it?"
        )
    pairs = zip(outputs, found, strict=True)
    return [torch.zeros_like(output) if g is None else g for output, g in pairs]
