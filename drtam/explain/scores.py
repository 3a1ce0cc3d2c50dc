"""Class scores of a network, whatever it returns: what Grad-CAM can explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassScores:
    """How much of each class a network sees in each image.

    Attributes:
        values: (B, K), which Grad-CAM differentiates.
        probabilities: (B, K), in [0, 1]; at least float32.
    """

    values: Tensor
    probabilities: Tensor


def class_scores(output: Any, *, least: int = 1) -> ClassScores:
    """The class scores in what a network returned.

    Args:
        output: one of

            - (B, K), alone or as ``logits`` in a dictionary: the scores of a classifier; their
              softmax are the probabilities.
            - (B, K, H, W), alone or as ``out`` in a dictionary: the scores of a semantic
              segmentation, or any features. Values are the means over all positions, as in
              Seg-Grad-CAM (Vinogradova et al., AAAI 2020); probabilities are the mean of the
              positions' softmax, the share of the image that each class is given.
            - a dictionary of features without either: its last tensor (B, K, H, W), likewise.
            - one dictionary with ``labels`` and ``scores`` for each image: the boxes of a
              detector. Both are the best box's score; 0 for a class without a box. K is one
              more than the largest label.

        least: of a detector, K is at least this.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(output, Mapping):
        tensors = [value for value in output.values() if isinstance(value, Tensor)]
        output = output.get("out", output.get("logits", tensors[-1] if tensors else output))
    if isinstance(output, Tensor) and output.dim() == 2:
        return ClassScores(output, _softmax(output))
    if isinstance(output, Tensor) and output.dim() == 4:
        return ClassScores(output.mean((2, 3)), _softmax(output).mean((2, 3)))
    if are_boxes(output):
        best = _best_boxes(output, least)
        return ClassScores(best, best.float())
    got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise ValueError(
        "model must return class scores (B, K), maps of them (B, K, H, W) or the boxes of a "
        f"detector, not {got}"
    )


def _softmax(output: Tensor) -> Tensor:
    return output.softmax(1, dtype=torch.promote_types(output.dtype, torch.float32))


def are_boxes(output: Any) -> bool:
    """Whether a network returned what torchvision's detectors do."""
    return (
        isinstance(output, Sequence)
        and len(output) > 0
        and all(
            isinstance(found, Mapping) and {"labels", "scores"} <= {*found} for found in output
        )
    )


def _best_boxes(output: Sequence[Mapping[str, Tensor]], least: int) -> Tensor:
    labels = torch.cat([found["labels"] for found in output]).tolist()
    count = max(least, 1 + max(labels, default=0))
    best = []
    for found in output:
        none = found["scores"].new_zeros(count)
        best.append(none.scatter_reduce(0, found["labels"], found["scores"], "amax"))
    return torch.stack(best)
