"""A visitor ends what takes long, between two passes of a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
from torch import nn

_wishes: set[str] = (
    set()
)  # the visits whose work is to end; on ZeroGPU, another process knows none


class StoppedError(Exception):
    """The visitor wants no more of it."""


def stop(request: gr.Request) -> None:
    """End what this visit runs; the handler of a button."""
    _wishes.add(str(request.session_hash))


def fresh(request: gr.Request) -> None:
    """Forget an earlier wish of this visit."""
    _wishes.discard(str(request.session_hash))


def check(visit: str) -> None:
    """Raise ``StoppedError`` if the visit's work is to end."""
    if visit in _wishes:
        raise StoppedError


@contextmanager
def stoppable(model: nn.Module, visit: str) -> Iterator[None]:
    """Within it, every pass of the model first asks whether it is still wanted."""
    handle = model.register_forward_pre_hook(lambda *_: check(visit))
    try:
        yield
    finally:
        handle.remove()
