"""Weights to start from, and to keep."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from torch import Tensor, nn
from torchvision.models import get_model_weights

from drtam.checks import check_range
from models.build import Spec
from models.detection import DETECTORS
from models.files import read_tensors
from models.placement import STAGES
from models.segmentation import SEGMENTERS

HEADS = ("fc.", "classifier.")
ATTENTION = ".attention."
BODY = "backbone.body"  # the ResNet in a detector


def start_from(model: nn.Module, source: str, fresh_attention: bool = False) -> list[str]:
    """Load a classifier's weights; what it lacks of attention and head stays fresh.

    Args:
        model: of ``build_model``; in a detector or segmenter they are for the ResNet inside.
        source: a ``.safetensors`` file, a ``.pth`` or ``.pt`` file with a state dict (also under
            ``state_dict``, also with ``module.`` before every name), or the name of torchvision's
            weights for the classifier, such as ``IMAGENET1K_V2``, which are downloaded.
        fresh_attention: whether attention stays fresh also where the source has weights for it.

    Returns:
        The names of the tensors that stay fresh.

    Raises:
        ValueError: the source is unknown, needs code to load, or does not fit the backbone.
    """
    spec: Spec = model.spec  # type: ignore[assignment]
    prefix = _prefix(spec)
    found = {prefix + name: tensor for name, tensor in _read(source, spec).items()}
    own = model.state_dict()
    fits = {
        k: v
        for k, v in found.items()
        if k in own and own[k].shape == v.shape and not (fresh_attention and ATTENTION in k)
    }
    fresh = [name for name in own if name not in fits]
    wrong = [
        name
        for name in fresh
        if name.startswith(prefix)
        and ATTENTION not in name
        and not name.startswith(HEADS)
        and not name.endswith("num_batches_tracked")  # which torch before 0.4.1 did not save
    ]
    if wrong:
        raise ValueError(
            f"{source} does not fit {spec.backbone}: "
            f"{len(wrong)} of its tensors are missing or of another shape, such as {wrong[0]}"
        )
    model.load_state_dict(fits, strict=False)
    return fresh


def zero_residuals(model: nn.Module) -> None:
    """Set the weights of the last norm of every residual block of a ResNet to 0."""
    for block in model.modules():
        last = getattr(block, "bn3", getattr(block, "bn2", None))
        if isinstance(last, nn.BatchNorm2d):
            nn.init.zeros_(last.weight)


def _prefix(spec: Spec) -> str:
    """What stands before the names of the ResNet's tensors."""
    if spec.backbone in DETECTORS:
        return f"{BODY}."
    return "backbone." if spec.backbone in SEGMENTERS else ""


def freeze(model: nn.Module, stages: int, fresh: Collection[str]) -> None:
    """Keep the stem and the first stages of a detector's ResNet, and its norms' statistics.

    What starts fresh is trained all the same. Not in the paper: by the Param. cells of Table 5
    the toolbox froze the first stage with its attention, as random as that started.

    Args:
        model: a detector of ``build_model``. Frozen parameters need no gradient from now on, and
            batch norms are in evaluation mode.
        stages: 1 to 4.
        fresh: names of the tensors that start fresh.

    Raises:
        ValueError: ``stages`` is out of range.
    """
    check_range("frozen_stages", stages, 1, 4)
    kept = ("conv1", "bn1", "relu", *STAGES[:stages])  # the stem's attention is in relu
    for name, module in model.get_submodule(BODY).named_modules():
        own = dict(module.named_parameters(recurse=False))
        if any(f"{BODY}.{name}.{parameter}" in fresh for parameter in own):
            continue
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eval()
        if name.split(".")[0] in kept:
            for parameter in own.values():
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
