"""How the page is served to strangers: headers, limits, what is closed, and where files lie."""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gradio_client.utils import is_http_url_like
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

API = "/gradio_api/"
UPLOAD = f"{API}upload"
MAX_MESSAGE = 5_000_000  # bytes of a request that is no upload: a photo as a data URI, and more
WAITING = 100  # events of all visitors together, before others are told to come back
SPARE = 500_000_000  # bytes of the disk that uploads may not take
PREFIX = "drtam-lens-"  # of the folders of visitors' files
M_ARENA_MAX = -8  # of malloc.h
CLOSED = (  # what Gradio serves and this page does not use
    *(f"{API}{path}" for path in ("proxy=", "file/", "stream/", "dev/", "vibe-", "undo-vibe-")),
    *(f"{API}{path}" for path in ("runs", "run-history", "deep_link", "process_recording")),
    *(f"{API}custom_component", "/monitoring"),
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    # Gradio's own scripts are inline, and its HTML components are compiled in the browser.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "media-src 'self' data: blob:",
            "connect-src 'self' data: blob:",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'self' https://huggingface.co https://*.huggingface.co",
        )
    ),
}


class Guard:
    """ASGI middleware: security headers on every answer, and limits before Gradio reads anything.

    Args:
        app: what it guards.
        max_upload: bytes of one request to the upload route.
        folder: whose disk the uploads fill.
    """

    def __init__(self, app: ASGIApp, *, max_upload: int, folder: Path) -> None:
        self.app = app
        self.max_upload = max_upload
        self.folder = folder
        self.coming = 0  # bytes of the uploads that are under way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the app answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        path = scope["path"].removeprefix(scope.get("root_path", ""))
        refusal = self._refusal(path, Headers(scope=scope))
        if refusal is None and scope["method"] == "POST" and path != UPLOAD:
            try:
                receive = _replay(await _body(receive), receive)
            except ValueError as error:
                refusal = JSONResponse({"detail": str(error)}, 413)
        if refusal is not None or path != UPLOAD:
            await (refusal or self.app)(scope, receive, send_with_headers)
            return
        length = int(Headers(scope=scope)["content-length"])
        self.coming += length
        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            self.coming -= length

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        """The answer to a request that is refused by its first lines."""
        fetched = path.removeprefix(f"{API}file=")
        if path.startswith(CLOSED) or (fetched != path and is_http_url_like(fetched)):
            return JSONResponse({"detail": "Not Found"}, 404)
        if path == UPLOAD:
            length = headers.get("content-length", "")
            if not length.isdecimal() or "transfer-encoding" in headers:
                return JSONResponse({"detail": "An upload has to say its length."}, 411)
            if int(length) > self.max_upload:
                most = f"{self.max_upload // 1_000_000} MB"
                return JSONResponse({"detail": f"An upload has at most {most}."}, 413)
            if not has_room(self.folder, self.coming + int(length)):
                text = "The server has no room for files right now: try again in an hour."
                return JSONResponse({"detail": text}, 507)
        return None


def has_room(folder: Path, size: int) -> bool:
    """Whether so many bytes more leave something to spare on the disk of a folder."""
    return shutil.disk_usage(folder).free >= SPARE + size


async def _body(receive: Receive) -> bytes:
    """A request's body.

    Raises:
        ValueError: it is over ``MAX_MESSAGE``, or would have the server fetch an address.
    """
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_MESSAGE:
            raise ValueError(f"A request has at most {MAX_MESSAGE // 1_000_000} MB.")
    if any(is_http_url_like(path) for path in _paths(body)):
        raise ValueError("Addresses are not fetched: upload the file itself.")
    return body


def _paths(body: bytes) -> Iterator[str]:
    """What a JSON body names as path of a file."""
    try:
        open_ones: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):
        return
    while open_ones:
        value = open_ones.pop()
        if isinstance(value, dict):
            if isinstance(value.get("path"), str):
                yield value["path"]
            open_ones.extend(value.values())
        elif isinstance(value, list):
            open_ones.extend(value)


def _replay(body: bytes, rest: Receive) -> Receive:
    """A ``receive`` that gives the body, then what else comes over the connection."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await rest()

    return receive


async def _health(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


HEALTH = Route("/health", _health)


def save_memory() -> None:
    """Let all threads share two of malloc's arenas; call it before they start.

    The forty threads that serve visitors would each keep what they once needed. glibc's only.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 2)


def private_folder() -> Path:
    """A new folder for all that visitors bring and take away, removed when this process ends.

    The folders of processes that were killed, whose locks are free, are removed first.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if _is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = (folder / ".locking").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.rename(folder / ".locking", folder / ".lock")  # others look only at what is locked

    def remove() -> None:
        for inside in folder.iterdir():
            if inside.name != ".lock":  # the last: whoever finds it free removes what is left
                shutil.rmtree(inside, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()

    atexit.register(remove)
    return folder


def _is_left(folder: Path) -> bool:
    """Whether the process that made a folder is gone."""
    try:
        with (folder / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # not yet locked, or what an older version left
        return time.time() - folder.stat().st_mtime > 60
    except OSError:  # locked, or of another user
        return False
    return True
