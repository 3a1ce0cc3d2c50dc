"""Weights to start from."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torchvision.models import get_model_weights

from models.build import Spec
from models.files import read_tensors

HEADS = ("fc.", "classifier.")


def start_from(model: nn.Module, source: str) -> list[str]:
    """Load a backbone's weights; attention, and a head of another size, stay fresh.

    Args:
        model: of ``build_model``.
        source: a ``.safetensors`` file, a ``.pth`` or ``.pt`` file with a state dict (also under
            ``state_dict``, also with ``module.`` before every name), or the name of torchvision's
            weights for the backbone, such as ``IMAGENET1K_V2``, which are downloaded.

    Returns:
        The names of the tensors that stay fresh.

    Raises:
        ValueError: the source is unknown, needs code to load, or does not fit the backbone.
    """
    found = _read(source, model.spec)  # type: ignore[arg-type]
    own = model.state_dict()
    fits = {k: v for k, v in found.items() if k in own and own[k].shape == v.shape}
    fresh = [name for name in own if name not in fits]
    wrong = [name for name in fresh if ".attention." not in name and not name.startswith(HEADS)]
    if wrong:
        raise ValueError(
            f"{source} does not fit {model.spec.backbone}: "  # type: ignore[union-attr]
            f"{len(wrong)} of its tensors are missing or of another shape, such as {wrong[0]}"
        )
    model.load_state_dict(fits, strict=False)
    return fresh


def _read(source: str, spec: Spec) -> dict[str, Tensor]:
    if Path(source).is_file():
        return read_tensors(Path(source))
    try:
        weights = get_model_weights(spec.backbone.removesuffix("_075").removesuffix("_050"))
        return dict(weights[source].get_state_dict(progress=True, check_hash=True))
    except KeyError as error:
        known = ", ".join(weights.__members__)
        raise ValueError(f"{source!r} is neither a file nor one of {known}") from error
    except OSError as error:
        raise ValueError(
            f"{source} could not be downloaded ({error}): download it elsewhere and give the file"
        ) from error
