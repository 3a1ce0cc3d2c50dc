"""Checkpoints that a visitor brings: from a file, or from the Hugging Face hub."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from models.hub import download
from ui.compute import HOUR
from ui.networks import Opened, catalogue, load
from ui.serving import has_room

ALLOWED = os.environ.get("CHECKPOINT_UPLOAD", "no" if "SPACE_ID" in os.environ else "yes") == "yes"
MAX_UPLOAD = 400_000_000 if ALLOWED else 10_000_000  # bytes
KEPT = 100  # of the networks that all visitors have opened

_opened: OrderedDict[str, Opened] = OrderedDict()  # by a key that only its visitor knows


def recall(key: str) -> Opened | None:
    """The network that was opened under a key."""
    return _opened.get(key)


def remember(source: Opened) -> str:
    """A fresh key for a checkpoint."""
    key = secrets.token_urlsafe(16)
    _opened[key] = source
    if len(_opened) > KEPT:
        _opened.popitem(last=False)
    return key


def is_key(text: str) -> bool:
    """Whether it may have been a key."""
    return re.fullmatch(r"[\w-]{22}", text) is not None


def select(label: str, key: str) -> gr.Dropdown:
    """The network dropdown with one that is not in the catalogue, which it shows."""
    return gr.Dropdown(choices=[*catalogue(), (label, key)], value=key)


def build(network: gr.Dropdown) -> list[Any]:
    """The controls; returns the events after which the dropdown shows another network."""
    if not ALLOWED:
        return []
    with gr.Accordion("Open another checkpoint", open=False):
        gr.Markdown(
            "Of this project, or by the authors of DRTAM, CBAM or CA: `.safetensors`, `.pth` or "
            "`.pt`. Files that need code to load are refused."
        )
        upload = gr.UploadButton(
            "Upload a file", file_types=[".safetensors", ".pth", ".pt"], elem_id="checkpoint"
        )
        repository = gr.Textbox(
            label="Or a model repository on the Hugging Face hub, then Enter",
            placeholder="user/name",
            max_lines=1,
        )
    how: dict[str, Any] = {
        "outputs": network,
        "concurrency_limit": 1,
        "api_visibility": "private",
    }
    return [
        upload.upload(_opening(Path), upload, **how).success,
        repository.submit(_opening(_from_hub), repository, **how).success,
    ]


def _from_hub(repository: str) -> Path:
    """The file of a repository, kept for an hour, as uploads are."""
    folder = Path(get_upload_folder()) / "hub"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if time.time() - old.stat().st_mtime > HOUR:
            shutil.rmtree(old, ignore_errors=True)
    if not has_room(folder, MAX_UPLOAD):
        raise ValueError("The server has no room for files right now: try again in an hour.")
    return download(repository, Path(tempfile.mkdtemp(dir=folder)))


def _opening(path_of: Callable[[str], Path]) -> Callable[[str], gr.Dropdown]:
    """A function that opens what a visitor names, and selects it."""

    def open_checkpoint(given: str, progress: gr.Progress = gr.Progress()) -> gr.Dropdown:  # noqa: B008 - how Gradio passes it
        progress(0.2, desc="Opening the checkpoint")
        try:
            source = Opened.of(path_of(given))
            if load(source).spec.attention is None:
                raise ValueError("It holds a network without attention: nothing to explain.")
            label = source.label
        except ValueError as error:
            title = "This checkpoint cannot be used"
            raise gr.Error(str(error), title=title, print_exception=False) from error
        return select(label, remember(source))

    return open_checkpoint
