"""Tensors by name from files of several kinds, without executing code in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict in a ``.safetensors``, ``.pth`` or ``.pt`` file, on the CPU.

    A state dict may lie under ``state_dict``, and ``module.`` may stand before every name.

    Raises:
        ValueError: the file is missing or damaged, holds no state dict, or needs code to load.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}: check its name.")
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except SafetensorError as error:
        raise ValueError(f"{path.name} is no whole safetensors file: copy it again.") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path.name} holds more than weights, which could run code when loaded: save "
            "model.state_dict() alone and use that file."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{path.name} is damaged or no file of torch.save.") from error
    return plain_names(content, path.name)


def plain_names(content: Any, name: str) -> dict[str, Tensor]:
    """The state dict in what was loaded, without prefixes; see ``read_tensors``."""
    found = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{name} holds no state dict: save model.state_dict().")
    if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()):
        raise ValueError(f"{name} holds more than tensors by name: save model.state_dict().")
    prefix = "module." if all(k.startswith("module.") for k in found) else ""
    return {k.removeprefix(prefix): v for k, v in found.items()}
