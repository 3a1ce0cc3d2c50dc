"""The machine and the versions, to stand beside every number."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch


def machine() -> str:
    """One line."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return (
        f"{platform.machine()}, {torch.get_num_threads()} threads, {device}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchvision {version('torchvision')}"
    )
