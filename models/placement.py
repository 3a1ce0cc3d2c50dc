"""Where attention goes in a torchvision backbone; the backbone's tensors keep their names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn
from torchvision.models import MobileNetV2, ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck

from drtam.origin import normed

MakeAttention = Callable[[int], nn.Module]
STAGES = ("layer1", "layer2", "layer3", "layer4")


class _Attended(nn.Module):
    """Takes over the children of a torchvision block under their names."""

    conv1: nn.Module
    bn1: nn.Module
    conv2: nn.Module
    bn2: nn.Module
    relu: nn.Module
    downsample: nn.Module | None

    def __init__(self, block: BasicBlock | Bottleneck, attention: nn.Module) -> None:
        super().__init__()
        for name, child in block.named_children():
            self.add_module(name, child)
        self.downsample = block.downsample
        self.attention = attention


class AttendedBasicBlock(_Attended):
    """torchvision's ``BasicBlock`` with attention before the residual add."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the block's output."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.attention(normed(self.bn2, self.conv2(out))) + shortcut
        return self.relu(out)  # type: ignore[no-any-return]


class AttendedBottleneck(_Attended):
    """torchvision's ``Bottleneck`` with attention before the residual add."""

    conv3: nn.Module
    bn3: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the block's output."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.attention(normed(self.bn3, self.conv3(out))) + shortcut
        return self.relu(out)  # type: ignore[no-any-return]


def attend_blocks(model: ResNet, make: MakeAttention) -> None:
    """After the last batch norm of every block, before the residual add (section 4.1).

    Args:
        model: any ResNet of torchvision's blocks, also dilated, with frozen batch norms or
            as ``IntermediateLayerGetter`` keeps it in a detector.
        make: attention for a number of channels.
    """
    for stage in STAGES:
        blocks = getattr(model, stage)
        for name, block in list(blocks.named_children()):
            kind = AttendedBottleneck if isinstance(block, Bottleneck) else AttendedBasicBlock
            setattr(blocks, name, kind(block, make(_width(block))))


def attend_stages(model: ResNet, make: MakeAttention) -> None:
    """After the stem's ReLU and after each of the four stages: "Pool." in Table 7."""
    stem = make(model.conv1.out_channels)
    model.relu = nn.Sequential(OrderedDict(relu=model.relu, attention=stem))
    for stage in STAGES:
        blocks = getattr(model, stage)
        blocks.add_module("attention", make(_width(blocks[-1])))


def attend_depthwise(model: MobileNetV2, make: MakeAttention, *, first: bool) -> None:
    """After the depthwise convolution of every inverted residual, on the expanded features.

    Args:
        model: torchvision's, of any width.
        make: attention for a number of channels.
        first: whether the first inverted residual, whose expansion is 1, gets one too: "every"
            in section 4.1 and in DRTAM's code, but not in CA's. The Param. cells allow both.
    """
    for block in model.features[1 if first else 2 : -1]:
        depthwise = block.conv[-3]  # then comes the projection: a convolution and its norm
        depthwise.add_module("attention", make(depthwise.out_channels))


def _width(block: BasicBlock | Bottleneck) -> int:
    last = block.conv3 if isinstance(block, Bottleneck) else block.conv2
    width: int = last.out_channels
    return width
