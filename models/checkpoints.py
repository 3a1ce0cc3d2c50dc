"""Checkpoints: safetensors files that say themselves what network they hold."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from models.build import Spec, build_model
from models.description import Description
from models.files import MAX_TENSORS, HeaderError, check_header, listed, not_finite

KEY = "drtam_lens"  # of the description among the header's metadata
FLOATS = ("F16", "BF16", "F32", "F64")  # safetensors' names


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights, in evaluation mode, and its description."""

    model: nn.Module
    description: Description


def save_checkpoint(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str],
    input_size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    accuracy: dict[str, Any] | None = None,
    recipe: str | None = None,
    half: bool = False,
) -> None:
    """Write a network of ``build_model`` and its description, all or nothing.

    Args:
        model: the network; its ``spec`` says what it is.
        path: of the file, which is replaced if it exists.
        classes: as in ``Description``, like all up to ``recipe``.
        input_size: see there.
        mean: see there.
        std: see there.
        accuracy: see there.
        recipe: see there.
        half: store the weights of convolutions and linear layers as float16. Biases and norms
            stay float32: they take little room, and small variances would become 0.

    Raises:
        ValueError: the model is not (or no longer) one of ``build_model``, holds NaN or
            infinite values, or does not fit the description.
        OSError: the file cannot be written.
    """
    spec = getattr(model, "spec", None)
    if not isinstance(spec, Spec):
        raise ValueError("model must be a network of build_model: it has no spec")
    about = Description(spec, tuple(classes), input_size, mean, std, accuracy, recipe)
    text = about.to_json()
    tensors = {
        name: (t.half() if half and t.dim() > 1 else t).detach().cpu().contiguous()
        for name, t in _tensors(model).items()
    }
    different = _differences(_signatures(tensors), _signatures(_tensors(blank(spec))))
    if different:
        raise ValueError(f"model is no longer the network that its spec describes. {different}")
    if broken := not_finite(tensors):
        raise ValueError(
            f"model holds NaN, infinite or (with half) too large weights: {listed(broken)}"
        )
    path = Path(path)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        temporary.write_bytes(save(tensors, {KEY: text}))  # save_file's are for the owner alone
        os.replace(temporary, path)


def load_checkpoint(
    path: str | os.PathLike[str], device: str | torch.device = "cpu"
) -> Checkpoint:
    """The network in a file of ``save_checkpoint``. No code in the file is executed.

    Args:
        path: of the file.
        device: where the network goes.

    Returns:
        The network, float32 and in evaluation mode, and its description.

    Raises:
        CheckpointError: the file is no such checkpoint, is damaged, or its tensors do not
            fit the network that it describes.
    """
    path = Path(path)
    with _opened(path) as file:
        about = _description(file.metadata() or {}, path.name)
        model = blank(about.spec)
        wanted = _tensors(model)
        different = _differences(_stored_signatures(file), _signatures(wanted))
        if different:
            raise CheckpointError(
                f"{path.name} does not hold the network that it describes: save it again "
                f"with save_checkpoint. {different}"
            )
        found = {
            name: file.get_tensor(name).to(device, tensor.dtype, copy=True)
            for name, tensor in wanted.items()
        }
    if broken := not_finite(found):
        raise CheckpointError(
            f"{path.name} holds NaN or infinite weights, so its training failed or the file is "
            f"damaged; use another one: {listed(broken)}"
        )
    model.load_state_dict(found, strict=False, assign=True)  # F0, F1 have two names in it
    return Checkpoint(model.eval(), about)


def describe(path: str | os.PathLike[str]) -> Description:
    """What a file of ``save_checkpoint`` says of itself, without its weights.

    Raises:
        CheckpointError: the file is no such checkpoint, or its header is damaged.
    """
    path = Path(path)
    with _opened(path) as file:
        return _description(file.metadata() or {}, path.name)


def blank(spec: Spec) -> nn.Module:
    """The network without memory for its tensors."""
    with torch.device("meta"):
        return build_model(**asdict(spec))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; those that modules share (F0, F1) once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The safetensors file, with every failure to read it as a ``CheckpointError``."""
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}: check its name.")
    try:
        check_header(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            if len(file.keys()) > MAX_TENSORS:
                raise HeaderError(f"holds {len(file.keys())} tensors, more than {MAX_TENSORS}")
            yield file
    except HeaderError as error:
        raise CheckpointError(f"{path.name} {error}: choose another one.") from error
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}.") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} {_why(path)}") from error


def _why(path: Path) -> str:
    """Why safetensors refuses a file."""
    with path.open("rb") as file:
        start = file.read(9)  # the length of the header, then the header's {
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return (
            "is a pickle, which could run code and was not opened: choose a .safetensors file "
            "that save_checkpoint wrote."
        )
    if start[8:] != b"{":
        return "is not a safetensors file: choose one that save_checkpoint wrote."
    return "is damaged or incomplete: copy or download it again."


def _description(metadata: dict[str, str], name: str) -> Description:
    if KEY not in metadata:
        raise CheckpointError(
            f"{name} does not say which network it holds (its header has no {KEY!r}): choose a "
            "file that save_checkpoint wrote."
        )
    try:
        return Description.from_json(metadata[KEY])
    except ValueError as error:
        raise CheckpointError(
            f"The description in {name} cannot be used: {str(error)[:500]}. "
            "Save the network again with save_checkpoint."
        ) from error


def _signatures(tensors: dict[str, Tensor]) -> dict[str, str]:
    return {
        name: f"{'float' if t.is_floating_point() else 'int'} {list(t.shape)}"
        for name, t in tensors.items()
    }


def _stored_signatures(file: Any) -> dict[str, str]:
    """Of the tensors in a file, from its header alone."""
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    kinds = {"I64": "int", **dict.fromkeys(FLOATS, "float")}
    return {
        name: f"{kinds.get(t.get_dtype(), t.get_dtype())} {t.get_shape()}"
        for name, t in slices.items()
    }


def _differences(found: dict[str, str], wanted: dict[str, str]) -> str:
    """What differs between two networks by the signatures of their tensors, or nothing."""
    shared = sorted(found.keys() & wanted.keys())
    changed = [f"{k} {found[k]} for {wanted[k]}" for k in shared if found[k] != wanted[k]]
    parts = {
        "Missing": sorted(wanted.keys() - found.keys()),
        "Unexpected": sorted(found.keys() - wanted.keys()),
        "Of another shape or type": changed,
    }
    return " ".join(f"{what}: {listed(names)}." for what, names in parts.items() if names)
