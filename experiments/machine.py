"""The machine and the versions, to stand beside every number."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from experiments.mixed_precision import working_type


def machine() -> str:
    """One line."""
    cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if cuda else "CPU"
    if working_type(torch.device("cuda" if cuda else "cpu")) != torch.bfloat16:
        device += " without bfloat16"
    return (
        f"{platform.machine()}, {torch.get_num_threads()} threads, {device}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchvision {version('torchvision')}"
    )


def commit() -> str:
    """The commit of this checkout, with ``-dirty`` where it is changed; empty outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        found = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()
