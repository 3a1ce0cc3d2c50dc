"""Folders of photos, and the folders of results that belong to them."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from viz.report import Result
from viz.report_files import files
from viz.report_page import report_html
from viz.static import PLOTLY_JS

PHOTOS = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
CHUNK = 4  # batches whose photos are decoded at once and sorted by size
SCRIPT = "plotly.min.js"  # once for all photos


class FolderError(ValueError):
    """Photos or folders with which the work cannot start; the message says what to do."""


@dataclass(frozen=True)
class Job:
    """A photo and the folder of its results, which is there when it is whole."""

    photo: Path
    out: Path
    name: Path

    @property
    def is_done(self) -> bool:
        """Whether there are results."""
        return (self.out / self.name).is_dir()

    def write(self, result: Result, *, charts_as_pictures: bool) -> None:
        """Write all results, or, if killed, none."""
        folder = self.out / self.name
        digest = hashlib.sha256(os.fsencode(folder.name)).hexdigest()  # a name may be as long as
        partial = folder.with_name(f".{digest[:16]}.partial")  # the system allows
        shutil.rmtree(partial, ignore_errors=True)
        up = "../" * len(self.name.parts)
        content = files(
            result, plotly_js=f"../{up}{SCRIPT}", charts_as_pictures=charts_as_pictures
        )
        for name, data in content:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(data)
        report = report_html(result, plotly_js=f"{up}{SCRIPT}")
        (partial / "report.html").write_text(report, "utf-8")
        partial.rename(folder)


def jobs(photos: Sequence[Path], out: Path) -> list[Job]:
    """The photos that are named, and those in folders that are named.

    Raises:
        FolderError: a photo or folder is missing, there is none, two have one name, or a file
            lies where the results would go.
    """
    found: dict[Path, Job] = {}
    for given in photos:
        if not given.exists():
            raise FolderError(f"there is no {given}")
        for photo in _inside(given, out) if given.is_dir() else [given]:
            name = photo.relative_to(given if given.is_dir() else given.parent)
            if name in found and found[name].photo.resolve() != photo.resolve():
                raise FolderError(
                    f"{found[name].photo} and {photo} would both go to {out / name}: name the "
                    "folder above both instead"
                )
            found[name] = Job(photo, out, name)
    for job in found.values():
        if (out / job.name).is_file():
            raise FolderError(
                f"the results of {job.photo} would go to {out / job.name}, which is a file: "
                "choose another folder with --out"
            )
    if not found:
        raise FolderError(f"there are no photos: {', '.join(sorted(PHOTOS))} are looked for")
    return [found[name] for name in sorted(found)]


def _inside(folder: Path, out: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PHOTOS
        and path.is_file()
        and not path.resolve().is_relative_to(out.resolve())
    ]


def chunks(found: list[Job], batch: int) -> list[list[Job]]:
    """The same chunks for the same photos, however many processes share them."""
    step = CHUNK * batch
    return [found[i : i + step] for i in range(0, len(found), step)]


def prepare(out: Path, settings: Mapping[str, Any], machine: Mapping[str, Any]) -> None:
    """Make the folder of results ready; all processes may do so at once.

    Raises:
        FolderError: it holds results of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    run, asked = out / "run.json", json.loads(json.dumps(settings))
    if run.exists():
        before = json.loads(run.read_text("utf-8"))
        if any(before.get(key) != value for key, value in asked.items()):
            raise FolderError(
                f"{out} holds results of another network or other settings, see {run}: choose "
                "another folder"
            )
        return
    started = datetime.now(UTC).isoformat(timespec="seconds")
    replace(out / SCRIPT, PLOTLY_JS.read_bytes())
    replace(run, json.dumps({**asked, "started": started, **machine}, indent=2).encode())


def replace(path: Path, content: bytes) -> None:
    """Write a file whole, or, if killed, leave what was there."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    partial.write_bytes(content)
    os.replace(partial, path)
