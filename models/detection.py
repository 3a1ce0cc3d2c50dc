"""Mask R-CNN (Table 5): torchvision's, with FPN on a ResNet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone


def mask_rcnn(resnet: str, *, num_classes: int) -> MaskRCNN:
    """Mask R-CNN without trained weights: all of it trains, its batch norms too.

    Args:
        resnet: torchvision's name.
        num_classes: with the background, at least 2.
    """
    backbone = resnet_fpn_backbone(
        backbone_name=resnet, weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
    )
    return MaskRCNN(backbone, num_classes)


DETECTORS: dict[str, Callable[..., nn.Module]] = {
    f"maskrcnn_{resnet}": partial(mask_rcnn, resnet)
    for resnet in ("resnet18", "resnet50", "resnet101")
}
