"""What a checkpoint says of itself, as a dataclass and as the JSON in its header."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from drtam.checks import check_range
from models.build import Spec

VERSION = 1
MAX_NAME = 500  # characters of a class
NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control, and halves of characters
MAX_LENGTH = 4_000_000  # characters of JSON; 100,000 class names take about 3,000,000


@dataclass(frozen=True)
class Description:
    """All that is needed to use a checkpoint, besides its tensors.

    Attributes:
        spec: of the network.
        classes: the name of each class, ``spec.num_classes`` of them.
        input_size: side in pixels that the network was trained for, 1 to 4096.
        mean: of the normalisation, for red, green and blue; 0 to 10.
        std: likewise; above 0, up to 10.
        accuracy: whatever was measured, as JSON can hold it, such as ``{"top1": 77.4}``.
        recipe: how the network was trained, such as the command.

    Raises:
        ValueError: a value is of another type or out of its range.
    """

    spec: Spec
    classes: tuple[str, ...]
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    accuracy: dict[str, Any] | None = None
    recipe: str | None = None

    def __post_init__(self) -> None:
        names = self.classes if isinstance(self.classes, tuple) else (self.classes,)
        if wrong := [name for name in names if not _is_name(name)]:
            raise ValueError(
                f"classes must be a list of names of at most {MAX_NAME} characters in one line, "
                f"not {ascii(wrong[0])[:100]}"
            )
        if len(self.classes) != self.spec.num_classes:
            raise ValueError(
                f"classes must have as many names as the network has classes, "
                f"{self.spec.num_classes}, not {len(self.classes)}"
            )
        side = check_range("input_size", self.input_size, 1, 4096)
        object.__setattr__(self, "input_size", side)  # JSON has no NumPy numbers
        _check_colours("mean", self.mean)
        _check_colours("std", self.std)
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, not {self.std!r}")
        if not isinstance(self.accuracy, dict | None):
            raise ValueError(f"accuracy must be a dictionary or None, not {self.accuracy!r}")
        if not isinstance(self.recipe, str | None):
            raise ValueError(f"recipe must be text or None, not {self.recipe!r}")

    def to_json(self) -> str:
        """The description as JSON that says its version.

        Raises:
            ValueError: ``accuracy`` holds something that JSON cannot, such as NaN.
        """
        try:
            return json.dumps({"version": VERSION, **asdict(self)}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"accuracy must be what JSON can hold: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> Description:
        """The description that ``to_json`` wrote.

        Raises:
            ValueError: the text is no such description; the message is half a sentence.
        """
        if len(text) > MAX_LENGTH:
            raise ValueError(f"it has {len(text)} characters, more than {MAX_LENGTH}")
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError("it is not JSON") from error
        version = values.pop("version", None) if isinstance(values, dict) else None
        if version != VERSION:
            raise ValueError(f"its version is {version!r}, and only {VERSION} is known here")
        _check_names("it", values, cls)
        _check_names("its spec", values["spec"], Spec)
        lists = {name: _as_tuple(name, values[name]) for name in ("classes", "mean", "std")}
        return cls(**{**values, **lists, "spec": Spec(**values["spec"])})


def _is_name(value: object) -> bool:
    """Whether it is text that a page can show in one line."""
    return isinstance(value, str) and len(value) <= MAX_NAME and not NO_TEXT.search(value)


def _check_colours(name: str, values: object) -> None:
    if (
        not isinstance(values, tuple)
        or len(values) != 3
        or not all(isinstance(value, int | float) and 0 <= value <= 10 for value in values)
    ):
        raise ValueError(f"{name} must be a tuple of three numbers from 0 to 10, not {values!r}")


def _check_names(what: str, values: object, kind: type[Description | Spec]) -> None:
    names = [field.name for field in fields(kind)]
    if not isinstance(values, dict) or set(values) != set(names):
        raise ValueError(f"{what} must give exactly {', '.join(names)}")


def _as_tuple(name: str, values: object) -> tuple[Any, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{name} must be a list")
    return tuple(values)
