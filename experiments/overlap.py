"""Mean intersection over union of classes."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.voc import IGNORED


def confusion(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """(K, K), int64: how many pixels of class i are taken for class j; ignored ones left out.

    Args:
        labels: of any shape, 0 to K - 1 or ``IGNORED``.
        predicted: of the same shape, 0 to K - 1.
        classes: K.
    """
    known = labels != IGNORED
    pairs = labels[known].long() * classes + predicted[known].long()
    return torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def overlap(counts: Tensor) -> dict[str, float]:
    """``mIoU`` and the share of right pixels, in percent.

    Args:
        counts: sum of ``confusion`` over all photos. A class that is neither there nor
            predicted anywhere does not count.
    """
    right = counts.diagonal().double()
    union = counts.sum(0) + counts.sum(1) - right
    share = (right / union)[union > 0]
    return {
        "mIoU": 100 * float(share.mean()),
        "pixel_accuracy": 100 * float(right.sum() / counts.sum()),
    }
