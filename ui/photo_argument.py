"""The photo that a program or an assistant sends to an endpoint.

Its type is ``str`` in the endpoints' signatures: for ``gr.FileData``, Gradio would offer
assistants to fetch any address. What a program's ``handle_file`` gives arrives all the same, as a
dictionary whose path Gradio has checked.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from gradio_client.utils import is_file_obj_with_meta

from drtam.explain import PhotoError
from ui.compute import Photo
from ui.examples import EXAMPLES

MAX_URI = 3_000_000  # characters; the mcp package takes messages of 4 MB


def photo_of(given: Any) -> Photo:
    """The photo in an uploaded file or a data URI, or the example of that name.

    Raises:
        gr.Error: it is none of these, or no photo; the message says what to send.
    """
    try:
        if is_file_obj_with_meta(given):  # Gradio has checked the paths of those that have it
            return Photo.open(given["path"])
        if isinstance(given, str) and given in EXAMPLES:
            return Photo.open(EXAMPLES[given])
        return Photo.open(_decoded(given))
    except PhotoError as error:
        raise gr.Error(str(error), print_exception=False) from error


def uploaded(file: Any) -> str:
    """The path of a file that the page's photo holds, which a stranger may have written.

    Gradio checks the paths of events that preprocess their inputs, and of those that name
    themselves a ``gradio.FileData``.

    Raises:
        gr.Error: it is not in the folder of uploads.
    """
    path = file.get("path") if isinstance(file, dict) else None
    folder = Path(get_upload_folder()).resolve()
    if not isinstance(path, str) or "\0" in path:
        raise gr.Error("This is no photo: upload one.", print_exception=False)
    if not Path(path).resolve().is_relative_to(folder) or not Path(path).is_file():
        raise gr.Error("This photo is no longer here: upload it again.", print_exception=False)
    return path


def _decoded(uri: Any) -> io.BytesIO:
    """The bytes in a data URI; paths and addresses are not followed."""
    head, comma, content = uri.partition(",") if isinstance(uri, str) else ("", "", "")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise gr.Error(
            "photo must be a data URI of an image in base64, the name of an example "
            f"({', '.join(EXAMPLES)}), or what gradio_client's handle_file gives",
            print_exception=False,
        )
    if len(content) > MAX_URI:
        raise gr.Error(
            f"photo has more than {MAX_URI // 1_000_000} MB as a data URI: scale it down",
            print_exception=False,
        )
    try:
        return io.BytesIO(base64.b64decode(content, validate=True))
    except ValueError as error:
        raise gr.Error("photo is no base64", print_exception=False) from error
