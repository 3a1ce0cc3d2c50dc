"""Tensors by name from files of several kinds, without executing code in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.pickles import PickleError, check_pickle

NAMED = 8  # tensors that a message lists before it counts
MAX_TENSORS = 10_000  # a Mask R-CNN of ResNet-101 has 2,000
MAX_HEADER = 10_000_000  # bytes of JSON; a description with 100,000 class names takes 3,000,000


class HeaderError(ValueError):
    """A safetensors file whose header is absurdly long; the message is half a sentence."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict in a ``.safetensors``, ``.pth`` or ``.pt`` file, on the CPU.

    A state dict may lie under ``state_dict``, and ``module.`` may stand before every name.

    Raises:
        ValueError: the file is missing or damaged, holds no state dict, or needs code to load.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}: check its name.")
    try:
        if path.suffix == ".safetensors":
            check_header(path)
            content: Any = load_file(path)
        else:
            check_pickle(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except HeaderError as error:
        raise ValueError(f"{path.name} {error}.") from error
    except SafetensorError as error:
        raise ValueError(f"{path.name} is no whole safetensors file: copy it again.") from error
    except PickleError as error:
        raise ValueError(
            f"{path.name} {error}: save model.state_dict() alone by torch.save and use that file."
        ) from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path.name} holds more than weights, which could run code when loaded: save "
            "model.state_dict() alone and use that file."
        ) from error
    except Exception as error:  # torch.load raises almost anything on a damaged file
        raise ValueError(f"{path.name} is damaged or no file of torch.save.") from error
    return plain_names(content, path.name)


def check_header(path: Path) -> None:
    """Refuse a safetensors file that would be parsed for long.

    Raises:
        HeaderError: its header is longer than ``MAX_HEADER``, and there.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if MAX_HEADER < length <= path.stat().st_size:
        raise HeaderError(f"has a header of {length} bytes, more than {MAX_HEADER}")


def plain_names(content: Any, name: str) -> dict[str, Tensor]:
    """The state dict in what was loaded, without prefixes; see ``read_tensors``."""
    found = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{name} holds no state dict: save model.state_dict().")
    if len(found) > MAX_TENSORS:
        raise ValueError(f"{name} holds {len(found)} tensors, more than {MAX_TENSORS}.")
    if not all(isinstance(k, str) and _is_plain(v) for k, v in found.items()):
        raise ValueError(f"{name} holds more than tensors by name: save model.state_dict().")
    if any(v.untyped_storage().nbytes() < v.numel() * v.element_size() for v in found.values()):
        raise ValueError(f"{name} promises more numbers than it holds.")
    prefix = "module." if all(k.startswith("module.") for k in found) else ""
    return {k.removeprefix(prefix): v for k, v in found.items()}


def _is_plain(value: Any) -> bool:
    """Whether it is a dense tensor with its numbers in memory."""
    dense = isinstance(value, Tensor) and value.layout == torch.strided
    return dense and value.device.type != "meta"


def not_finite(tensors: dict[str, Tensor]) -> list[str]:
    """The names of the tensors with NaN or infinite values."""
    return [name for name, tensor in tensors.items() if not tensor.isfinite().all()]


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(name[:100] for name in names[:NAMED]) + more
