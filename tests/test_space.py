"""The checkout is a Hugging Face Space as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from huggingface_hub import RepoCard

from experiments.server import ROOT, running_app

UV = str(Path(sys.executable).parent / "uv")
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


@pytest.fixture(scope="module")
def header() -> dict[str, object]:
    return RepoCard.load(ROOT / "README.md").data.to_dict()


@pytest.fixture
def pushed(tmp_path: Path) -> Path:
    """Of the files that a push brings to a Space those that the Dockerfile takes.

    No engine runs here, so its COPY lines and .dockerignore are read by hand.
    """
    folder = tmp_path / "pushed"
    taken = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    kept = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert set(kept) == set(" ".join(taken).split())
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if name.split("/")[0] in kept and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def test_the_header_says_what_the_space_needs(header):
    pinned = re.search(r"^gradio\S*==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)
    assert pinned is not None
    assert header["sdk"] == "gradio"
    assert header["sdk_version"] == pinned[1]
    assert header["python_version"] == "3.12.12"  # which ZeroGPU has too
    assert (ROOT / str(header["app_file"])).is_file()
    assert {header["colorFrom"], header["colorTo"]} <= COLORS
    assert len(str(header["short_description"])) <= 60
    assert header["suggested_hardware"] == "cpu-basic"
    assert header["tags"]


@pytest.mark.parametrize("python", ["3.12", "3.13"])  # a Space is built with this one below
def test_the_requirements_can_be_met(python):
    command = [UV, "pip", "compile", "requirements.txt", "--python-version", python, "--quiet"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^torch==2\.\d+", found, re.M)


def test_a_space_built_from_what_is_pushed_explains_a_photo(header, pushed, tmp_path):
    python = tmp_path / "venv" / "bin" / "python"
    gradio = f"gradio[oauth,mcp]=={header['sdk_version']}"
    for command in (
        f"venv --python {sys.executable} {tmp_path / 'venv'}",
        f"pip install --python {python} {gradio} spaces -r requirements.txt",
    ):
        subprocess.run([UV, "--quiet", *command.split()], check=True, cwd=pushed)
    space = {"SPACE_ID": "somebody/lens", "SYSTEM": "spaces", "VIRTUAL_ENV": ""}
    with running_app(
        tmp_path / "log.txt", python=str(python), folder=pushed, environment=space
    ) as app:
        client = Client(app.url, verbose=False, download_files=False)
        found = client.predict("a lion", size=96, api_name="/analyze")
        assert len(found["layers"]) == 16
        assert not any(c["type"] == "uploadbutton" for c in client.config["components"])
        large = httpx.post(f"{app.url}gradio_api/upload", files={"files": bytes(10_000_001)})
        assert (large.status_code, large.json()["detail"]) == (413, "An upload has at most 10 MB.")
