"""What strangers may send to the page's own events, upload, and write into a checkpoint."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import plotly.graph_objects as go
import pytest
from gradio.media import get_image
from gradio.utils import get_upload_folder
from PIL import Image
from test_hostile_calls import BUSY, SECONDS, harmless

from drtam.explain import Ablation, analyze, prepare
from models import build_model
from ui import serving
from ui.photo_argument import uploaded
from viz.ablation import paired_scores_figure
from viz.scores import scores_figure
from viz.text import plain

LION = Path(get_image("lion.jpg"))
NETWORK = "DRTAM-ResNet-18 (S=3, N=1, r=32), untrained, seed 0"
NAMES = [
    "<img src=https://example.org/x.png onerror=alert(1)>",
    "![x](https://example.org/y.png) [z](javascript:alert(1))",
    "a|b *c* _d_ `e` $$f$$ ~~g~~ &lt;h&gt; \\i https://example.org",
    "<b>bold</b><a href='https://example.org'>j</a>",
]


class Stranger:
    """Somebody who calls the page's events by hand."""

    def __init__(self, url: str) -> None:
        self.url, self.session = url, secrets.token_hex(6)
        self.config = httpx.get(f"{url}config").json()
        self.components = {c["id"]: c for c in self.config["components"]}
        found = reversed(self.config["dependencies"])
        self.events = {event["api_name"]: event for event in found}

    def upload(self, name: str) -> httpx.Response:
        files = {"files": (name, LION.read_bytes())}
        return httpx.post(f"{self.url}gradio_api/upload", files=files)

    def send(self, name: str, changed: dict[int, Any] | None = None, event: Any = None) -> Any:
        """The output of an event whose inputs are as the page has them, but for some."""
        chosen = {"network": NETWORK, "size": 96, "target": -1}
        inputs = []
        for place, i in enumerate(self.events[name]["inputs"]):
            properties = self.components[i]["props"]
            usual = chosen.get(properties.get("elem_id"), properties.get("value"))
            usual = None if self.components[i]["type"] == "state" else usual
            inputs.append((changed or {}).get(place, usual))
        body = {"fn_index": self.events[name]["id"], "data": inputs, "event_data": event}
        start = time.perf_counter()
        answer = httpx.post(
            f"{self.url}gradio_api/queue/join",
            content=json.dumps({**body, "session_hash": self.session}),
            headers={"content-type": "application/json"},
        )
        found = self._completed(answer.json()["event_id"])
        assert time.perf_counter() - start < SECONDS * BUSY, name
        return found

    def _completed(self, event: str) -> Any:
        address = f"{self.url}gradio_api/queue/data"
        where = {"session_hash": self.session}
        with httpx.stream("GET", address, params=where, timeout=60) as answers:
            for line in answers.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line else {}
                if message.get("event_id") == event and message["msg"] == "process_completed":
                    return message["success"], message["output"]
        raise AssertionError("no answer")


def opened(url: str) -> Stranger:
    """A visitor whose photo is open and analysed."""
    visitor = Stranger(url)
    path = visitor.upload("lion.jpg").json()[0]
    photo = {"path": path, "meta": {"_type": "gradio.FileData"}}
    assert visitor.send("open_photo", {0: photo})[0]
    assert visitor.send("analyse_4")[0]
    return visitor


def shown(visitor: Stranger) -> Any:
    """What the page says of the analysis."""
    good, output = visitor.send("analyse_4")
    assert good
    return output["data"][:3]


@pytest.fixture(scope="module")
def stranger(url: str) -> Stranger:
    return opened(url)


WRONG = {
    1: ["x", 7, ["x"], None, {"a": 1}, "x" * 10_000],
    2: ["x", [224]],
    3: ["x", [1], {"a": 1}, 10**9, -7, 1.5, float("nan")],
    4: ["x", 7, ["x"], {"a": 1}],
}
NEAREST = (None, 1e9, -5, 1e300, float("nan"), float("inf"), 95.5)  # sizes, as if half typed


def test_wrong_choices_are_refused_and_the_next_visitor_sees_what_is_right(url, stranger):
    before = shown(stranger)
    for place, values in WRONG.items():
        for value in values:
            good, output = stranger.send("analyse_4", {place: value})
            message = output.get("error")
            assert not good, (place, value)
            # Gradio itself refuses what is no number at all, without a word.
            assert message is None or harmless(message, 20_000), (place, value, message)
    for size in NEAREST:
        assert stranger.send("analyse_4", {2: size})[0], size
    assert shown(stranger) == shown(opened(url)) == before


def test_a_state_cannot_be_sent(stranger):
    for value in ("x", [1], {"image": "x"}, LION.as_posix()):
        assert stranger.send("analyse_4", {0: value, 5: value})[0]  # its own state is taken


@pytest.mark.parametrize("event", [{}, {"layer": ["x"]}, {"node": ["x"]}, {"row": {}}, [1], "x"])
@pytest.mark.parametrize("name", ["follow", "open_row"])
def test_a_click_on_what_is_not_there_gets_a_sentence(stranger, name, event):
    good, output = stranger.send(name, event=event)
    assert not good
    assert "click" in output["error"]


@pytest.mark.parametrize("cells", [5, None, "2" * 196, "1" * 10_000, ["1"] * 196, {"a": 1}])
def test_a_region_of_something_else_gets_a_sentence(stranger, cells):
    good, output = stranger.send("answer", {10: cells})
    assert not good
    assert "did not arrive" in output["error"]


@pytest.mark.parametrize(
    "name",
    [
        *("../../x.jpg", "/etc/x.jpg", "a\0b.jpg", "..", "....//....//x.jpg", "x.jpg/../../y"),
        *("%2e%2e%2fx.jpg", "C:\\x\\y.jpg", "<img src=x onerror=alert(1)>.jpg", "a\nb.jpg"),
        *("x" * 300 + ".jpg", "é漢.jpg", ".hidden"),
    ],
)
def test_a_file_of_any_name_stays_in_its_folder(stranger, name):
    answer = stranger.upload(name)
    if answer.status_code != 200:
        assert answer.status_code in (400, 413)
        return
    path = Path(answer.json()[0]).resolve()
    assert path.parent.parent.name.startswith(serving.PREFIX)
    assert not set("<>\0\n/\\") & set(path.name)
    photo = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
    assert stranger.send("open_photo", {0: photo})[0]


def test_a_photo_is_only_what_was_uploaded(tmp_path):
    inside = Path(get_upload_folder()) / secrets.token_hex(8) / "lion.jpg"
    inside.parent.mkdir(parents=True)
    inside.write_bytes(LION.read_bytes())
    (inside.parent / "link.jpg").symlink_to(LION)
    assert uploaded({"path": str(inside)}) == str(inside)
    for path in (
        *(LION.as_posix(), "app.py", "/etc/passwd", "/dev/zero", f"{inside.parent}/../../x"),
        *(5, None, ["x"], "a\0b", "", "data:image/png;base64,AAAA", "http://127.0.0.1/"),
        *(str(inside.parent), str(inside.parent / "link.jpg"), str(tmp_path)),
    ):
        with pytest.raises(gr.Error) as error:
            uploaded({"path": path})
        assert harmless(str(error.value.message)), path
    for file in ("x", 5, [1], {}, {"x": 1}):
        with pytest.raises(gr.Error, match="no photo"):
            uploaded(file)


@pytest.fixture(scope="module")
def show() -> Iterator[str]:
    """The address of a page with class names of a stranger as the tabs write them."""
    network = build_model("resnet18", "drtam", num_classes=len(NAMES), seed=0).eval()
    found = analyze(network, prepare(Image.new("RGB", (64, 64)), 64).tensor)
    figures = [
        scores_figure(found, NAMES, "scores"),
        paired_scores_figure(Ablation(found, found), NAMES, "scores"),
    ]
    assert all(isinstance(figure, go.Figure) for figure in figures)
    with gr.Blocks(analytics_enabled=False) as demo:
        rows = [f"| {plain(name)} |" for name in NAMES]
        gr.Markdown("\n".join(["| class |", "|---|", *rows]), elem_id="t")
        for name in NAMES:
            gr.Markdown(f"- {plain(name)}", elem_classes="name")
        for i, figure in enumerate(figures):
            gr.Plot(figure, elem_id=f"p{i}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    demo.launch(prevent_thread_lock=True, server_port=port, quiet=True, ssr_mode=False)
    yield f"http://127.0.0.1:{port}/"
    demo.close()


def test_names_of_classes_are_shown_and_not_obeyed(browser, show):
    page = browser.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(show)
    page.wait_for_selector("#p1 .js-plotly-plot .ytick")
    assert page.locator("#t td").all_inner_texts() == NAMES
    assert page.locator(".name li").all_inner_texts() == NAMES
    for plot in ("#p0", "#p1"):
        labels = page.locator(f"{plot} .ytick").all_text_contents()
        assert sorted(label.strip() for label in labels) == sorted(NAMES)
    for selector in ("#t", ".name", "#p0", "#p1"):
        inside = f"{selector} :is(img, script, b, em, code, s)"
        assert page.locator(inside).count() == 0, selector
        assert page.locator(f"{selector} a[href]:not(.modebar a)").count() == 0, selector
    assert not [address for address in requests if "example.org" in address]
    page.close()
