"""What strangers may send to the endpoints and to the page's own events."""

from __future__ import annotations

import base64
import inspect
import json
import math
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_type_hints

import gradio as gr
import httpx
import pytest
from bombs import bombs, sizes
from corpus import Case, damaged, no_photos
from gradio.media import get_image
from hypothesis import given, settings
from hypothesis import strategies as st

from ui.algebra_api import steps
from ui.api import analyze, compare_modules, descriptors, layer, variant
from ui.arguments import PHOTOS, checked
from ui.faithfulness_api import faithfulness
from ui.paper_api import paper
from ui.side_by_side_api import side_by_side
from ui.what_if_api import what_if

SECONDS = 2
BUSY = 8  # times as long where others use the machine, and each request waits for them
LION = get_image("lion.jpg")
ENDPOINTS = (analyze, layer, descriptors, compare_modules, variant, steps, side_by_side)
ENDPOINTS = {f.__name__: f for f in (*ENDPOINTS, what_if, faithfulness, paper)}
GOOD = {"photo": "a lion", "other_photo": "a lion", "layer": "layer4.1", "size": 96}
GOOD |= {"network": "DRTAM-ResNet-18 (S=3, N=1, r=32), untrained, seed 0", "changes": ["off"]}
GOOD |= {"table": 4, "backbone": "resnet18"}
NAN, INFINITE = math.nan, math.inf
TEXTS = [None, 7, ["x"], {"a": 1}, True, NAN, "x" * 100_000, "../../etc/passwd", "\0", "<script>"]
WRONG: dict[Any, list[Any]] = {
    str: TEXTS,
    int: [None, "x", [1], {}, 1.5, NAN, INFINITE, -INFINITE, -(10**9), 10**30, True, "7" * 9999],
    float: ["x", [1], {}, NAN, INFINITE, -1, 1e300, True],
    bool: ["yes", 3, [], {}],
    list[str]: ["off", 7, {"off": 1}, [5], [["off"]], [None], ["x" * 9999], ["off"] * 9999 + [1]],
    list[list[float]]: [
        *("x", 7, {"a": [1]}, [1, 2], [[None]], [["1"]], [[NAN]], [[1e39]], [[-1]], [[[1]]]),
        *([[]], [[1], [1, 1]], [[0] * 257], [[0]] * 9999, [[True]]),
    ],
}
PHOTO = [7, True, ["a lion"], {"path": LION}, {}, "a dog", LION, "data:image/png;base64,AAAA"]


def wrong(name: str, hint: Any) -> list[Any]:
    """Values that no argument of that name and type may have."""
    if name in PHOTOS:
        return PHOTO
    if hint in WRONG:
        return WRONG[hint]
    values = next(found for kind, found in WRONG.items() if hint == kind | None)
    return [value for value in values if value is not None]


def arguments(function: Callable[..., Any], **changed: Any) -> list[Any]:
    """All of an endpoint, good ones but for those that are named."""
    parameters = inspect.signature(function).parameters
    chosen = {name: GOOD.get(name, parameter.default) for name, parameter in parameters.items()}
    return list({**chosen, **changed}.values())


def bad_calls() -> Iterator[tuple[str, str, Any]]:
    """Endpoint, argument, and a value that it may not have."""
    for endpoint, function in ENDPOINTS.items():
        for name in inspect.signature(function).parameters:
            for value in wrong(name, get_type_hints(function)[name]):
                yield endpoint, name, value


CALLS = list(bad_calls())


def harmless(message: str, longest: int = 700) -> bool:
    """Whether a message is a sentence that tells nothing of the server."""
    return 20 < len(message) < longest and not re.search(
        r"Traceback|\.py\b|/work|/tmp|/usr", message
    )


@pytest.fixture(scope="module")
def warm() -> None:
    """The network is built, as in an app that runs."""
    checked(analyze)(*arguments(analyze))


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_argument_of_another_kind_gets_a_sentence_that_names_it(endpoint):
    call = checked(ENDPOINTS[endpoint])
    for _, name, value in (case for case in CALLS if case[0] == endpoint):
        start = time.process_time()
        with pytest.raises(gr.Error) as error:
            call(*arguments(ENDPOINTS[endpoint], **{name: value}))
        message = str(error.value.message)
        assert harmless(message), (name, message)
        assert not error.value.print_exception, name
        assert name.removeprefix("other_") in message or name in PHOTOS, (name, message)
        assert time.process_time() - start < SECONDS, name


@settings(max_examples=80, derandomize=True, deadline=None, database=None)
@given(st.data())
def test_any_arguments_get_an_answer_or_a_sentence(data):
    function = ENDPOINTS[data.draw(st.sampled_from(["analyze", "layer", "what_if", "paper"]))]
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
        max_leaves=5,
    )
    names = list(inspect.signature(function).parameters)
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3))
    try:
        checked(function)(*arguments(function, **{name: data.draw(anything) for name in chosen}))
    except gr.Error as error:
        assert harmless(str(error.message))  # noqa: PT017 - any other error fails the test


def ask(url: str, endpoint: str, data: list[Any]) -> tuple[bool, Any]:
    """Whether a raw request is answered in time, and with what."""
    address = f"{url}gradio_api/call/{endpoint}"
    body = json.dumps({"data": data})  # NaN as JavaScript would never write it
    start = time.perf_counter()
    started = httpx.post(address, content=body, headers={"content-type": "application/json"})
    answer = httpx.get(f"{address}/{started.json()['event_id']}", timeout=60).text
    assert time.perf_counter() - start < SECONDS * BUSY, endpoint
    event, _, content = answer.strip().partition("\ndata: ")
    return event == "event: complete", json.loads(content)


@pytest.fixture(scope="module")
def before(url) -> Any:
    """A visitor's analysis before all that follows."""
    good, found = ask(url, "analyze", arguments(analyze))
    assert good
    return found


def test_a_wrong_call_gets_a_sentence_and_the_next_visitor_what_is_right(url, before):
    def call(case: tuple[str, str, Any]) -> None:
        endpoint, name, value = case
        good, answer = ask(url, endpoint, arguments(ENDPOINTS[endpoint], **{name: value}))
        assert not good, case
        assert harmless(str(answer["error"])) or name in PHOTOS, (case, answer)

    with ThreadPoolExecutor(2) as visitors:
        list(visitors.map(call, CALLS[::7]))
    assert ask(url, "analyze", arguments(analyze)) == (True, before)


def test_a_data_uri_may_carry_anything(url, before):
    def call(case: Case) -> None:
        uri = f"data:image/jpeg;base64,{base64.b64encode(case.content).decode()}"
        good, answer = ask(url, "analyze", arguments(analyze, photo=uri))
        if case.says:
            assert not good, case.name
            assert re.search(case.says, answer["error"]), (case.name, answer)
        assert good or harmless(answer["error"]), (case.name, answer)

    kinds = (damaged(), no_photos(), sizes(), bombs())
    small = [case for kind in kinds for case in kind if len(case.content) < 2_000_000]
    chosen = [case for case in small if case.says or case.either][::9]
    names = ("a text of 50 MB", "300,000 chunks", "JPEG of 100 passes", "a tile of 12000")
    chosen += [case for case in small if any(name in case.name for name in names)]
    with ThreadPoolExecutor(2) as visitors:
        list(visitors.map(call, chosen))
    assert ask(url, "analyze", arguments(analyze)) == (True, before)
