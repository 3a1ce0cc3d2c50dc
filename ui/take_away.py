"""Take it away: everything about the open photo as a ZIP, or as a report in one HTML file."""

from __future__ import annotations

import io
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from ui.compute import Photo
from ui.record import machine_record, result_of
from ui.serving import has_room
from ui.session import NO_PHOTO, Session, source_of, view_of
from viz.report import Result
from viz.report_files import files
from viz.report_page import report_html
from viz.static import PLOTLY_JS

MAX_MB = 200  # of a ZIP; a ResNet-152 at the largest resolution stays below
WHEN = (1980, 1, 1, 0, 0, 0)  # of each file in a ZIP: the same content gives the same bytes


def build(session: Session) -> None:
    """The buttons and their events."""
    gr.Markdown(
        "Every array (NPZ), map, chart and the photo, with what was done; or one HTML file that "
        f"opens offline. Both are made when you ask, a ZIP of at most {MAX_MB} MB, and deleted "
        "here after an hour."
    )
    with gr.Row():
        pack = gr.Button("Make the ZIP", size="sm", elem_id="make-zip")
        write = gr.Button("Make the report", size="sm", elem_id="make-report")
    ready = gr.File(label="Ready to download", visible=False, elem_id="take-away")
    session.revision.change(  # it is of another view then
        lambda: gr.File(None, visible=False),
        outputs=ready,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    for button, make in ((pack, zip_of), (write, report_of)):
        button.click(
            _making(make),
            session.inputs[:4],
            ready,
            concurrency_id="take_away",
            concurrency_limit=1,
            show_progress_on=ready,
            api_visibility="private",
        )


def _making(make: Callable[[Result, gr.Progress], tuple[str, bytes]]) -> Callable[..., Any]:
    """The event that makes a file, shows it, and first that it is at work."""

    def run(
        photo: Photo | None,
        network: str,
        size: int,
        target: int,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes it
    ) -> Iterator[Any]:
        if photo is None:
            raise gr.Error(NO_PHOTO, print_exception=False)
        yield gr.File(None, visible=True)
        progress(0, desc="Running the network")
        name, content = make(result(photo, network, size, target), progress)
        yield gr.File(kept(name, content), visible=True)

    return run


def result(photo: Photo, network: str, size: int, target: int) -> Result:
    """What a visitor sees, with its record."""
    asked = {
        "asked": {"size": int(size), "target": int(target)},
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine_record(),
    }
    return result_of(photo, view_of(photo, network, size, target), source_of(network), asked)


def zip_of(result: Result, progress: gr.Progress) -> tuple[str, bytes]:
    """The name and the content of the ZIP.

    Raises:
        gr.Error: it is over ``MAX_MB``.
    """
    progress(0, desc="Drawing the charts")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        _add(archive, "charts/plotly.min.js", PLOTLY_JS.read_bytes())
        content = files(result, plotly_js="plotly.min.js", charts_as_pictures=True)
        for done, (name, data) in enumerate(content):
            progress((done, None), desc=name, unit="files")
            _add(archive, name, data)
            if buffer.tell() > MAX_MB * 1_000_000:
                raise gr.Error(
                    f"This ZIP would be over {MAX_MB} MB: choose a smaller analysis resolution.",
                    print_exception=False,
                )
    return f"{_stem(result)}.zip", buffer.getvalue()


def report_of(result: Result, progress: gr.Progress) -> tuple[str, bytes]:
    """The name and the content of the report."""
    progress(0.3, desc="Writing the report")
    return f"{_stem(result)}.html", report_html(result).encode()


def kept(name: str, content: bytes) -> str:
    """A file in Gradio's cache, under an address that nobody can guess.

    Gradio deletes it like the photos, see ``delete_cache`` of the page.

    Raises:
        gr.Error: there is no room; nothing is left of the file.
    """
    folder = Path(get_upload_folder()) / secrets.token_hex(16)
    try:
        folder.mkdir(parents=True)
        if not has_room(folder, len(content)):
            raise OSError("no room")
        (folder / name).write_bytes(content)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        text = "The server has no room for this file right now: try again in an hour."
        raise gr.Error(text, print_exception=False) from error
    return str(folder / name)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    compression = zipfile.ZIP_STORED if name.endswith((".png", ".npz")) else zipfile.ZIP_DEFLATED
    entry = zipfile.ZipInfo(name, WHEN)
    archive.writestr(entry, content, compression, compresslevel=6)


def _stem(result: Result) -> str:
    spec, photo = result.record["network"]["spec"], result.record["photo"]
    kind = spec["attention"] or "plain"
    return f"drtam-lens-{kind}-{spec['backbone']}-{photo['sha256_of_pixels'][:8]}"
