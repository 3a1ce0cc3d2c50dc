"""Weights to start from, and to keep."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torchvision.models import get_model_weights

from drtam.checks import check_range
from models import attention_layers
from models.build import Spec
from models.detection import DETECTORS
from models.files import read_tensors
from models.placement import STAGES
from models.segmentation import SEGMENTERS

HEADS = ("fc.", "classifier.")


def start_from(model: nn.Module, source: str) -> list[str]:
    """Load a classifier's weights; attention, and a head of another size, stay fresh.

    Args:
        model: of ``build_model``; in a detector or segmenter they are for the ResNet inside.
        source: a ``.safetensors`` file, a ``.pth`` or ``.pt`` file with a state dict (also under
            ``state_dict``, also with ``module.`` before every name), or the name of torchvision's
            weights for the classifier, such as ``IMAGENET1K_V2``, which are downloaded.

    Returns:
        The names of the tensors that stay fresh.

    Raises:
        ValueError: the source is unknown, needs code to load, or does not fit the backbone.
    """
    spec: Spec = model.spec  # type: ignore[assignment]
    prefix = _prefix(spec)
    found = {prefix + name: tensor for name, tensor in _read(source, spec).items()}
    own = model.state_dict()
    fits = {k: v for k, v in found.items() if k in own and own[k].shape == v.shape}
    fresh = [name for name in own if name not in fits]
    wrong = [
        name
        for name in fresh
        if name.startswith(prefix) and ".attention." not in name and not name.startswith(HEADS)
    ]
    if wrong:
        raise ValueError(
            f"{source} does not fit {spec.backbone}: "
            f"{len(wrong)} of its tensors are missing or of another shape, such as {wrong[0]}"
        )
    model.load_state_dict(fits, strict=False)
    return fresh


def _prefix(spec: Spec) -> str:
    """What stands before the names of the ResNet's tensors."""
    if spec.backbone in DETECTORS:
        return "backbone.body."
    return "backbone." if spec.backbone in SEGMENTERS else ""


def freeze(model: nn.Module, stages: int) -> None:
    """Keep the stem and the first stages of a detector's ResNet, and all its statistics.

    Attention stays as it is: it starts fresh. (The toolbox would freeze it with its stage.)

    Args:
        model: a detector of ``build_model``, on which this leaves its mark: frozen parameters
            need no gradient, and the ResNet's batch norms are in evaluation mode.
        stages: 1 to 4.

    Raises:
        ValueError: ``stages`` is out of range.
    """
    check_range("frozen_stages", stages, 1, 4)
    resnet = model.get_submodule("backbone.body")
    kept = ("conv1", "bn1", *STAGES[:stages])
    attention = {part for layer in attention_layers(model).values() for part in layer.modules()}
    for name, module in resnet.named_modules():
        if module in attention:
            continue
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
        if name.split(".")[0] in kept:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)


def _read(source: str, spec: Spec) -> dict[str, Tensor]:
    if Path(source).is_file():
        return read_tensors(Path(source))
    name = spec.backbone.removesuffix("_075").removesuffix("_050")
    try:
        weights = get_model_weights(name.removeprefix("maskrcnn_").removeprefix("fcn_"))
        return dict(weights[source].get_state_dict(progress=True, check_hash=True))
    except KeyError as error:
        known = ", ".join(weights.__members__)
        raise ValueError(f"{source!r} is neither a file nor one of {known}") from error
    except OSError as error:
        raise ValueError(
            f"{source} could not be downloaded ({error}): download it elsewhere and give the file"
        ) from error
