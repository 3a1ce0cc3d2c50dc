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


def freeze_first_stage(model: MaskRCNN) -> None:
    """Stop the training of the stem and the first stage, attention included, as Table 5 counts.

    For a backbone with trained weights. The batch norms go on training: only so all six
    Param. cells come out.
    """
    body = model.backbone.body
    for part in (body.conv1, body.relu, body.layer1):
        for module in part.modules():
            if not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(False)


DETECTORS: dict[str, Callable[..., nn.Module]] = {
    f"maskrcnn_{resnet}": partial(mask_rcnn, resnet)
    for resnet in ("resnet18", "resnet50", "resnet101")
}
