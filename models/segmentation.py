"""FCN (Table 7): torchvision's on a dilated ResNet, with the head of MMSegmentation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models.segmentation import FCN, fcn_resnet50, fcn_resnet101
from torchvision.ops import Conv2dNormActivation

WIDTH = 512  # of the head's convolutions


class FCNHead(nn.Module):
    """Two 3x3 convolutions, one over their input and output together, and the scores.

    Args:
        channels: C of the features.
        num_classes: K.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            Conv2dNormActivation(channels, WIDTH), Conv2dNormActivation(WIDTH, WIDTH)
        )
        self.concatenated = Conv2dNormActivation(channels + WIDTH, WIDTH)
        self.dropout = nn.Dropout2d(0.1)
        self.scores = nn.Conv2d(WIDTH, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H, W)."""
        both = torch.cat((x, self.convs(x)), dim=1)
        return self.scores(self.dropout(self.concatenated(both)))  # type: ignore[no-any-return]


def _fcn(build: Callable[..., FCN], *, num_classes: int) -> FCN:
    """FCN without trained weights. torchvision's auxiliary head is the one of MMSegmentation."""
    model = build(weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=True)
    model.classifier = FCNHead(2048, num_classes)
    return model


SEGMENTERS: dict[str, Callable[..., nn.Module]] = {
    "fcn_resnet50": partial(_fcn, fcn_resnet50),
    "fcn_resnet101": partial(_fcn, fcn_resnet101),
}
