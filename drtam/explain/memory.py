"""Whether the memory is enough for an analysis, before it is tried."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from drtam.explain.recording import evaluating, recording

PROBE = 64  # side in pixels of the image whose memory is counted
CHECKED = 2**20  # pixels in a batch from which on it is worth the time
MEMINFO = Path("/proc/meminfo")  # of Linux, with what its caches would give back
OWN_GROUPS = Path("/proc/self/cgroup")
CONTAINERS = (  # control groups, 2 and 1: the line of this process, the folder, and names in it
    (r"^0::/(.*)$", Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (
        r"^\d+:(?:.*,)?memory(?:,.*)?:/(.*)$",
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
MAPS = 3  # of the largest layer that are looked at together: A, A_I and A_C


def check_fits(model: nn.Module, image: Tensor) -> None:
    """Refuse a large batch whose analysis would not fit in the memory that is free.

    The need grows linearly with the pixels; it is counted on a small image. Smaller batches
    than ``CHECKED`` pixels are never refused, nor where need or free memory cannot be told.

    Args:
        model: as for ``analyze``.
        image: (B, 3, H, W).

    Raises:
        MemoryError: with what it needs, what is free, and what to do.
    """
    pixels = image.shape[0] * prod(image.shape[2:])
    free = free_bytes(image.device)
    if pixels < CHECKED or free is None:
        return
    try:
        needed = pixels * bytes_per_pixel(model, image)
    except Exception:  # a network of others that takes no such image: it cannot be told
        return
    if needed > free:
        raise MemoryError(
            f"the analysis of a batch of {tuple(image.shape)} would take about "
            f"{needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on {image.device}: give "
            "fewer or smaller images"
        )


def bytes_per_pixel(model: nn.Module, image: Tensor) -> float:
    """About what an analysis takes at most for each pixel of a batch, weights aside.

    On a CPU convolutions of other types than float32 may take as much again to work in.

    Args:
        model: as for ``analyze``.
        image: (B, 3, H, W), whose dtype and device count.

    Raises:
        ValueError: the network scales images itself, as detectors do.
    """
    with evaluating(model), recording(model) as records:
        graph = kept_bytes(model, lambda: model(image.new_zeros(1, 3, PROBE, PROBE)))
    if any(max(record.trace.output.shape[2:]) > PROBE for record in records.values()):
        raise ValueError("model scales images itself: its need does not grow with their pixels")
    outputs = [record.trace.output for record in records.values()]
    whole, largest = sum(t.nbytes for t in outputs), max(t.numel() for t in outputs)
    size = outputs[0].itemsize
    floats = 4 if size == 4 else 8  # bytes of a deviation, and of what a map is as float32
    before = graph + whole  # when the backward pass starts
    after = 2 * whole + (MAPS * size + floats) * largest  # the graph is gone, the gradients there
    return max(before, after) / PROBE**2


def kept_bytes(model: nn.Module, forward: Callable[[], object]) -> int:
    """What autograd keeps of a forward pass for the backward pass, weights aside.

    Args:
        model: whose weights do not count.
        forward: the pass; what it returns has to hold the graph.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output that held itself would never be freed

    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        result = forward()
    weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    del result  # so far nothing of the graph was freed, and no place was used twice
    return sum(size for place, size in kept.items() if place not in weights)


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be had there; None where it cannot be told."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu" or not MEMINFO.exists():
        return None
    found = re.search(r"MemAvailable:\s+(\d+) kB", MEMINFO.read_text())
    return min([1024 * int(found[1]), *_left_in_containers()]) if found else None


def _left_in_containers() -> Iterator[int]:
    """Bytes that each control group around this process may still take, if it has a limit."""
    own = OWN_GROUPS.read_text() if OWN_GROUPS.exists() else ""
    for line, root, limit_name, used_name, cached_name in CONTAINERS:
        place = re.search(line, own, re.MULTILINE)
        inner = root / place[1] if place else root
        for group in (inner, *inner.parents):
            if not group.is_relative_to(root):
                break
            try:
                limit = (group / limit_name).read_text().strip()
                used = int((group / used_name).read_text())
                counted = (group / "memory.stat").read_text()
            except OSError:  # a container does not see the groups that it is in from outside
                continue
            if limit != "max":
                cached = re.search(rf"^{cached_name} (\d+)", counted, re.MULTILINE)
                yield int(limit) - used + (int(cached[1]) if cached else 0)
