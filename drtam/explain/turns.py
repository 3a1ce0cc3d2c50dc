"""Threads that explain one network take turns, since its modules change while one does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

_locks: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_while_looking = Lock()


@contextmanager
def turn(model: nn.Module) -> Iterator[None]:
    """While the context is open, other threads wait for this network; its own may open it again.

    Networks that share modules do not know of each other, and a plain forward pass does not wait.
    """
    with _while_looking:
        lock = _locks.setdefault(getattr(model, "_orig_mod", model), RLock())
    with lock:
        yield
