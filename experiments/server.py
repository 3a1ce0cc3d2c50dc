"""The app as a visitor finds it: started by `python app.py` in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class App:
    """A running app: its address, and the number of its process."""

    url: str
    pid: int


@contextmanager
def running_app(
    log: Path,
    *,
    python: str = sys.executable,
    command: Sequence[str] = ("app.py",),
    folder: Path = ROOT,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[App]:
    """A fresh app; it is stopped when the context closes.

    Args:
        log: a file for what it prints.
        python: that runs it.
        command: of that Python.
        folder: with ``app.py``.
        environment: besides this process's own.

    Raises:
        RuntimeError: it does not start; with its log.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port), **environment}
    with (
        log.open("w") as output,
        subprocess.Popen(
            [python, *command], cwd=folder, env=variables, stdout=output, stderr=output
        ) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}/"
            _wait_for(url, process, log)
            yield App(url, process.pid)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):  # it waits for pages that are still open
                process.wait(2)
            process.kill()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 300) -> None:
    """Return when the address answers; fail with the log if the process dies."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise RuntimeError(f"the app did not start:\n{log.read_text()}")
