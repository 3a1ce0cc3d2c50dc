"""Parameters and GFLOPs, counted as the paper's tables count them."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection import MaskRCNN
from torchvision.models.segmentation import FCN

from drtam import CBAM, RankOneAttention
from drtam.checks import check_range

aten = torch.ops.aten

BOXES, MASKS = 1000, 100  # that the heads of a Mask R-CNN see: mmdetection's get_flops.py


@dataclass(frozen=True)
class Complexity:
    """What a network costs for one image.

    Attributes:
        params: number of parameters, shared ones once.
        gflops: 10^9 operations, as the tables count them.
        by_layer: GFLOPs of each module that computes something itself, by its dotted path, in
            the order of their first use; they add up to ``gflops``.
    """

    params: int
    gflops: float
    by_layer: dict[str, float]


def complexity(model: nn.Module, input_size: tuple[int, int] = (224, 224)) -> Complexity:
    """Count a network's parameters and operations.

    The tables follow the counter of mmcv (``get_model_complexity_info``): one operation for
    each multiply-accumulate of a convolution or linear layer, two for each element of a batch
    norm, one for each that an activation or a pooling reads. That counter sees layers, not
    functions: sigmoids, sums and products of features (the map of Eqn 1 too) cost nothing, nor
    do the averages of CBAM, whose published code pools with functions. Biases and the maxima
    of attention cost nothing either: only without them do most cells come out as printed.

    What a network does after training counts: an FCN without its auxiliary head, and a Mask
    R-CNN of the image as it is, with 1000 boxes and 100 masks whatever it may find.

    Args:
        model: any network for images; it is not changed. A copy of it runs without data.
        input_size: height and width of the image, at least 1.

    Raises:
        ValueError: a side is not a whole number of at least 1.
    """
    for name, side in zip(("height", "width"), input_size, strict=True):
        check_range(name, side, 1)
    tensors = chain(model.parameters(), model.buffers())
    no_data = {id(tensor): torch.empty(tensor.shape, device="meta") for tensor in tensors}
    dry = copy.deepcopy(model, no_data).eval()
    image = torch.empty(1, 3, *input_size, device="meta")
    counter = _Counter()
    with torch.no_grad(), _paths(dry, counter), counter:
        _infer(dry, image)
    by_layer = {path: count / 1e9 for path, count in counter.counts.items()}
    params = sum(parameter.numel() for parameter in model.parameters())
    return Complexity(params, sum(counter.counts.values()) / 1e9, by_layer)


def _infer(model: nn.Module, image: Tensor) -> None:
    """Run what an image needs, without anything that depends on what it shows."""
    if isinstance(model, MaskRCNN):
        features, heads = model.backbone(image), model.roi_heads
        model.rpn.head(list(features.values()))
        channels = model.backbone.out_channels
        boxes = image.new_empty(BOXES, channels, *heads.box_roi_pool.output_size)
        heads.box_predictor(heads.box_head(boxes))
        masks = image.new_empty(MASKS, channels, *heads.mask_roi_pool.output_size)
        heads.mask_predictor(heads.mask_head(masks))
    elif isinstance(model, FCN):
        model.classifier(model.backbone(image)["out"])
    else:
        model(image)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds the operations of everything that runs to the module that it runs in."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self.running: list[tuple[str, nn.Module]] = []  # the innermost module is the last

    def enter(self, path: str, module: nn.Module, inputs: Sequence[Any]) -> None:
        """Note that a module runs; RTAM's average pools (Eqn 3, 4, 7, 8) read its inputs twice."""
        self.running.append((path, module))
        if isinstance(module, RankOneAttention):
            seen = inputs[0]
            self.counts[path] += 2 * (seen.ch.numel() + seen.cw.numel() + seen.hw.numel())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        kind = func.overloadpacket
        if kind in OPERATIONS:
            path, module = self.running[-1]
            free = isinstance(module, RankOneAttention) or (  # all of it counts as it starts
                kind is aten.mean and isinstance(module, CBAM)
            )
            if not free:
                self.counts[path] += OPERATIONS[kind](args, output)
        return output


@contextmanager
def _paths(model: nn.Module, counter: _Counter) -> Iterator[None]:
    """Keep the modules that run, with their paths, in ``counter.running``."""
    hooks = []
    for path, module in model.named_modules():

        def enter(module: nn.Module, inputs: Any, path: str = path) -> None:
            counter.enter(path, module, inputs)

        def leave(*_: Any) -> None:
            counter.running.pop()

        hooks.append(module.register_forward_pre_hook(enter))
        hooks.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _convolution(inputs: Sequence[Any], output: Tensor) -> int:
    transposed = inputs[6]
    positions: Tensor = inputs[0] if transposed else output
    weight: Tensor = inputs[1]
    return positions.numel() * math.prod(weight.shape[1:])


def _addmm(inputs: Sequence[Any], output: Tensor) -> int:
    return output.numel() * int(inputs[1].shape[1])


def _mm(inputs: Sequence[Any], output: Tensor) -> int:
    return output.numel() * int(inputs[0].shape[1])


def _batch_norm(inputs: Sequence[Any], _: Any) -> int:
    return 2 * int(inputs[0].numel())


def _elements(inputs: Sequence[Any], _: Any) -> int:
    return int(inputs[0].numel())


OPERATIONS: dict[Any, Callable[[Sequence[Any], Any], int]] = {
    aten.convolution: _convolution,
    aten.addmm: _addmm,
    aten.mm: _mm,
    aten.native_batch_norm: _batch_norm,
    aten._native_batch_norm_legit_no_training: _batch_norm,
    aten.cudnn_batch_norm: _batch_norm,
    **dict.fromkeys((aten.relu, aten.relu_, aten.hardtanh, aten.hardtanh_), _elements),
    **dict.fromkeys((aten.hardswish, aten.hardswish_), _elements),
    **dict.fromkeys((aten.leaky_relu, aten.leaky_relu_, aten.elu, aten.elu_), _elements),
    **dict.fromkeys((aten.gelu, aten.silu, aten.silu_), _elements),
    **dict.fromkeys((aten.mean, aten._adaptive_avg_pool2d, aten.avg_pool2d), _elements),
    aten.max_pool2d_with_indices: _elements,
}
