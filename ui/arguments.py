"""The arguments of endpoints, which anybody may send, checked before anything runs."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import wraps
from typing import Any, get_type_hints

import gradio as gr
from gradio.events import api

LONGEST = 80  # characters of a wrong value in a message
MOST = 1e30  # of any number; float32 ends at 3e38
PHOTOS = ("photo", "other_photo")  # see ``ui.photo_argument``, which checks them


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= MOST and math.isfinite(value)  # type: ignore[arg-type]


def is_list(value: object, fits: Callable[[Any], bool]) -> bool:
    """Whether it is a list of what fits."""
    return isinstance(value, list) and all(fits(element) for element in value)


KINDS: dict[object, tuple[str, Callable[[Any], bool]]] = {
    str: ("text", lambda value: isinstance(value, str)),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    float: ("a number", is_number),
    list[str]: ("a list of texts", lambda value: is_list(value, lambda v: isinstance(v, str))),
    list[list[float]]: (
        "rows of numbers",
        lambda value: is_list(value, lambda row: is_list(row, is_number)),
    ),
}


def register(function: Callable[..., Any], **how: Any) -> None:
    """Register an endpoint in the open ``gr.Blocks``, under its name, with ``checked`` arguments.

    Args:
        function: see ``checked``.
        how: further options of ``gr.api``.
    """
    api(checked(function), api_name=function.__name__, **how)


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which is called only with what it is annotated with.

    Whole numbers are left to ``check_range``, which knows their range.

    Args:
        function: of arguments of the types in ``KINDS``, whole numbers, and ``PHOTOS``.
    """
    parameters = inspect.signature(function).parameters
    hints = get_type_hints(function)

    @wraps(function)
    def call(*values: Any) -> Any:
        given = dict(zip(parameters, values, strict=True))
        for name, value in given.items():
            is_left_out = value is None and parameters[name].default is None
            if name not in PHOTOS and not is_left_out:
                check_kind(name, value, hints[name])
        return function(**given)

    return call


def check_kind(name: str, value: Any, hint: Any) -> None:
    """Refuse what is not of the annotated type; ``list[str] | None`` is as ``list[str]``."""
    for kind, (words, fits) in KINDS.items():
        if hint in (kind, kind | None) and not fits(value):  # type: ignore[operator]
            raise gr.Error(f"{name} must be {words}, not {shown(value)}", print_exception=False)


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Refuse what is no whole number in [low, high]."""
    if type(value) is not int or not low <= value <= high:
        raise gr.Error(
            f"{name} must be a whole number from {low} to {high}, not {shown(value)}",
            print_exception=False,
        )


def check_choice(name: str, value: object, choices: Any) -> None:
    """Refuse what is none of the choices, and list them."""
    if value not in choices:
        raise gr.Error(
            f"{name} must be one of {', '.join(choices)}, not {shown(value)}",
            print_exception=False,
        )


def shown(value: object) -> str:
    """A value in a message, which may be as long as its sender likes."""
    text = repr(value[: LONGEST + 1] if isinstance(value, str | list) else value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
