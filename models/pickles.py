"""Files of torch.save, looked through before torch.load spends memory on them.

``torch.load(weights_only=True)`` runs no foreign code, but inflates compressed members and calls
functions that make any amount of bytes out of a few.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import IO, Any, BinaryIO

MAX_DIRECTORY = 2_000_000  # bytes; about 100 for each tensor
MAX_OPERATIONS = 400_000  # of a pickle; some 25 for each tensor
MAX_PICKLE = 8_000_000  # bytes
LEGACY_PICKLES = 5  # magic number, protocol, system, state dict, names of storages
ALLOWED = {
    "collections OrderedDict",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    "torch Size",
    "torch device",
}


class PickleError(ValueError):
    """A file that torch.load must not see; the message is half a sentence."""


def check_pickle(path: Path) -> None:
    """Refuse a file of torch.save that holds, or may become, more than tensors by name.

    Raises:
        PickleError: it does.
        zipfile.BadZipFile: it is damaged; so do other errors of ``zipfile`` say.
        ValueError: likewise, of ``pickletools``.
    """
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            _check_archive(path.stat().st_size, file)
            return
        file.seek(0)
        for _ in range(LEGACY_PICKLES):
            _check_operations(file)


class _Directory:
    """A file of which zipfile reads no longer directory than it has to."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size if 0 <= size <= MAX_DIRECTORY else MAX_DIRECTORY + 1)
        if len(content) > MAX_DIRECTORY:
            raise PickleError("holds absurdly many parts")
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _check_archive(size: int, file: BinaryIO) -> None:
    with zipfile.ZipFile(_Directory(file)) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise PickleError("is compressed, as torch.save never does")
        if sum(max(member.file_size, member.compress_size) for member in members) > size:
            raise PickleError("promises more numbers than it holds")
        pickles = [member for member in members if member.filename.endswith("data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE:
            raise PickleError("holds no state dict of a usual size")
        with archive.open(pickles[0]) as content:
            _check_operations(content)


def _check_operations(content: IO[bytes]) -> None:
    """Read one pickle, up to its end, without doing what it says."""
    for count, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if count > MAX_OPERATIONS:
            raise PickleError("holds absurdly many parts")
        if operation.name == "GLOBAL" and not _is_allowed(str(argument)):
            raise PickleError("holds more than weights, which could run code when loaded")


def _is_allowed(name: str) -> bool:
    """Whether a state dict needs it: a few functions, storages, and torch.float32 and the like."""
    module, _, what = name.partition(" ")
    is_torchs = module in ("torch", "torch.cuda", "torch.storage")
    return name in ALLOWED or (is_torchs and (what.endswith("Storage") or what[-1:].isdigit()))
