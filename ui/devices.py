"""Where networks run: one at a time, on the GPU if it is there and well, or else on the CPU.

On ZeroGPU a GPU is lent for seconds to a forked process: ``_lent`` is the one function that is
run there, and what goes in and comes out are bytes, never tensors of a GPU.
"""

from __future__ import annotations

import copy
import importlib
import logging
import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN

from ui.networks import Source, load

ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
if ZERO_GPU:
    spaces = importlib.import_module("spaces")  # before anything touches CUDA
    gr = importlib.import_module("gradio")  # seconds that the command line does not need
T = TypeVar("T")
Work = Callable[[nn.Module, Tensor], T]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CPU = torch.device("cpu")
NO_GPU = ("ZeroGPU worker error", "ZeroGPU queue timeout", "ZeroGPU client error")
log = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()


class DeviceError(ValueError):
    """Neither GPU nor CPU could run a network; the message is for visitors."""


@dataclass(frozen=True)
class Ran(Generic[T]):
    """What a network's pass gave, and where it ran.

    Attributes:
        value: on the CPU.
        device: its name; of the CPU also why it was not the GPU that is here.
    """

    value: T
    device: str


def run(source: Source, image: Tensor, work: Work[T], *, seconds: int = 10) -> Ran[T]:
    """``work(model, image)`` on the GPU or the CPU, for nobody else meanwhile.

    Where the GPU has no memory left or fails, the CPU does it.

    Args:
        source: of the network.
        image: (B, 3, H, W), normalised, on the CPU.
        work: a module's function, or a ``partial`` of one, whose arguments can be pickled. What
            it returns has to lie on the CPU.
        seconds: that it takes at most on a GPU; ZeroGPU lends it for so long.

    Raises:
        DeviceError: the CPU has no memory left, or fails.
        ValueError: of ``work``, or of a checkpoint that cannot be loaded.
        gr.Error: ZeroGPU lends this visitor no more.
    """
    why = ""
    if DEVICE != CPU:
        try:
            return Ran(_on_gpu(source, image, work, seconds), gpu_name())
        except (torch.OutOfMemoryError, MemoryError):
            why = ", since the GPU's memory is full"
            torch.cuda.empty_cache()
        except RuntimeError as error:
            if "closed by visitor" in str(error):  # while waiting for ZeroGPU
                raise
            why = ", since the GPU failed"
            log.exception("the GPU failed, the CPU takes over")
    try:
        with _one_at_a_time:
            return Ran(_attempt(source, image, work, CPU), f"CPU{why}")
    except (RuntimeError, MemoryError) as error:
        log.exception("the CPU failed")
        raise DeviceError(
            "The network could not run: the server's memory may be full. Choose a smaller "
            "analysis resolution, or try again in a minute."
        ) from error


def _on_gpu(source: Source, image: Tensor, work: Work[T], seconds: int) -> T:
    if not ZERO_GPU:
        with _one_at_a_time:
            return _attempt(source, image, work, DEVICE)
    try:
        outcome: T | Exception = pickle.loads(_lent(pickle.dumps((source, image, work)), seconds))
    except gr.Error as error:  # of a quota: for the visitor
        if error.title not in NO_GPU:
            raise
        raise RuntimeError("ZeroGPU lent no GPU that works") from error
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _attempt(source: Source, image: Tensor, work: Work[T], device: torch.device) -> T:
    model = load(source).model if device == CPU else _on_gpus(source, device)
    if isinstance(model, MaskRCNN):  # or else it scales the photo itself
        model.transform.min_size = (min(image.shape[2:]),)
    return work(model, image.to(device))


def _lent(call: bytes, _seconds: int) -> bytes:
    """Run a pickled call where CUDA is; an exception is a result too, to keep its type."""
    try:
        source, image, work = pickle.loads(call)
        outcome: Any = _attempt(source, image, work, DEVICE)
    except (RuntimeError, ValueError, MemoryError) as error:
        outcome = error
    return pickle.dumps(outcome)


if ZERO_GPU:
    _lent = spaces.GPU(duration=lambda _, seconds: seconds)(_lent)


@lru_cache(maxsize=6)
def _on_gpus(source: Source, device: torch.device) -> nn.Module:
    """A copy of the network there."""
    return copy.deepcopy(load(source).model).to(device)


def gpu_name() -> str:
    """Of the GPU that is here, or CPU."""
    return torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU"
