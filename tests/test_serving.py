"""What strangers get from the server, and what they do not."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from visitor import apart

from experiments.server import ROOT
from ui import serving, take_away

SECRETS = (
    "root:x:",
    "Builds the page and",
    "Traceback",
    str(ROOT),
    sys.prefix,
    str(Path.home() / "."),
)
TRAVERSALS = (
    "/etc/passwd",
    "../../../../../../etc/passwd",
    "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "....//....//....//....//etc/passwd",
    "%00/etc/passwd",
    "/proc/self/environ",
    "file:///etc/passwd",
    f"{ROOT}/app.py",
    f"{ROOT}/ui/../app.py",
)


@pytest.fixture
def visitor(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


def guarded(folder: Path) -> httpx.AsyncClient:
    """A small app behind the guard: it says how long a body was, or streams."""

    async def length(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    async def stream(request: Request) -> StreamingResponse:
        async def parts():
            for part in ("one ", "two"):
                yield part
                if await request.is_disconnected():
                    return

        await request.body()
        return StreamingResponse(parts())

    routes = [
        Route("/gradio_api/upload", length, methods=["POST"]),
        Route("/length", length, methods=["POST"]),
        Route("/stream", stream, methods=["POST"]),
    ]
    app = serving.Guard(Starlette(routes=routes), max_upload=1000, folder=folder)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")


def routes_of(visitor: httpx.Client) -> list[str]:
    """Every GET route, each parameter replaced by ``{}``."""
    paths = visitor.get("/openapi.json").json()["paths"]
    found = [path for path, methods in paths.items() if "get" in methods]
    assert len(found) > 20
    return found


def test_no_route_serves_a_file_by_traversal_or_tells_of_the_host(visitor):
    tried = 0
    for route in routes_of(visitor):
        head, parameter, _ = route.partition("{")
        for way in TRAVERSALS if parameter else ("",):
            if "heartbeat" in route or "startup-events" in route:  # streams without end
                continue
            answer = visitor.get(head + way)
            found = [secret for secret in SECRETS if secret not in way and secret in answer.text]
            assert not found, (head + way, found)
            tried += 1
    assert tried > 100


def test_what_the_page_does_not_use_is_closed(visitor):
    for path in (
        *("/monitoring", "/gradio_api/proxy=https://example.com/", "/gradio_api/runs"),
        *("/gradio_api/file=https://example.com/a.png", "/gradio_api/dev/reload"),
        *("/gradio_api/file/https://example.com/a.png", "/gradio_api/vibe-starter-queries/"),
        "/gradio_api/custom_component/1/client/component/x.js",
    ):
        answer = visitor.get(path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"}), path
    assert visitor.post("/gradio_api/vibe-edit", json={}).status_code == 404
    queued = visitor.post("/gradio_api/run/networks", json={"data": []})
    assert queued.status_code == 404  # nobody passes by the queue
    assert visitor.get("/health").json() == {"status": "ok"}


def test_every_answer_has_security_headers(visitor):
    for answer in (visitor.get("/"), visitor.get("/theme.css"), visitor.get("/nothing")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "object-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'self' https://huggingface.co" in str(answer.headers)


def test_an_uploaded_page_is_never_shown_as_one(visitor):
    for name in ("page.html", "picture.svg"):
        evil = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
        (path,) = visitor.post("/gradio_api/upload", files={"files": (name, evil)}).json()
        answer = visitor.get(f"/gradio_api/file={path}")
        assert answer.content == evil
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_server_fetches_no_address_for_a_visitor(visitor):
    file = {"path": "https://example.com/a.png", "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [file, "", -1, 96]})
    for form in (
        body,
        body.replace("F", "\\u0046").replace("h", "\\u0068"),
        body.encode("utf-16"),
    ):
        answer = visitor.post("/gradio_api/call/analyze", content=form)
        assert answer.status_code == 413
        assert "upload the file itself" in answer.json()["detail"]


def test_oversized_requests_are_refused_before_they_are_read(visitor):
    answer = visitor.post("/gradio_api/queue/join", content=b" " * (serving.MAX_MESSAGE + 1))
    assert answer.status_code == 413
    assert answer.json() == {"detail": "A request has at most 5 MB."}


def test_uploads_say_their_length_and_leave_room_on_the_disk(tmp_path, monkeypatch):
    async def chunks():
        yield b"x"

    async def upload(content: Any, **headers: str) -> httpx.Response:
        async with guarded(tmp_path) as visitor:
            return await visitor.post("/gradio_api/upload", content=content, headers=headers)

    assert apart(upload(b"x" * 1000)).text == "1000"
    assert apart(upload(b"x" * 1001)).status_code == 413
    assert apart(upload(chunks())).status_code == 411
    both = {"transfer-encoding": "chunked", "content-length": "1"}
    assert apart(upload(b"x" * 1000, **both)).status_code == 411
    monkeypatch.setattr(serving, "SPARE", 10**18)
    answer = apart(upload(b"x"))
    assert answer.status_code == 507
    assert "no room" in answer.json()["detail"]


def test_a_body_passes_the_guard_whole_and_streams_are_not_cut(tmp_path):
    async def send(path: str, content: bytes) -> str:
        async with guarded(tmp_path) as visitor:
            return (await visitor.post(path, content=content)).text

    assert apart(send("/length", b"y" * 1_000_000)) == "1000000"
    assert apart(send("/stream", b"y")) == "one two"


OWNER = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from ui import serving
folder = serving.private_folder()
(folder / "photo.png").write_bytes(b"x")
print(folder, flush=True)
time.sleep(float(sys.argv[2]))
"""


def owner(base: Path, seconds: int) -> tuple[subprocess.Popen[str], Path]:
    """A process with a folder of visitors' files."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(base), str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_files_of_visitors_go_with_the_process_even_if_it_was_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, left = owner(tmp_path, 60)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert (left / "photo.png").exists()
    living, theirs = owner(tmp_path, 60)
    assert not left.exists()
    (tmp_path / f"{serving.PREFIX}young").mkdir()
    (old := tmp_path / f"{serving.PREFIX}old").mkdir()
    os.utime(old, (0, 0))
    mine = serving.private_folder()
    assert not old.exists()
    assert (tmp_path / f"{serving.PREFIX}young").exists()
    assert mine.stat().st_mode & 0o077 == 0
    assert (theirs / "photo.png").exists()
    living.kill()
    living.wait()
    ended, gone = owner(tmp_path, 0)
    assert ended.wait() == 0
    assert not gone.exists()
    assert not theirs.exists()


def test_when_the_disk_is_full_a_sentence_says_so_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(gr.Error, match="no room for this file"):
            take_away.kept("a.zip", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
    assert Path(take_away.kept("a.zip", b"x" * 5000)).stat().st_size == 5000
