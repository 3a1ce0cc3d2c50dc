"""What a visitor chose stays chosen, and means the same in another network."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

import gradio as gr
import pytest
from test_networks import filled, shelf  # noqa: F401 - fixtures

from ui import checkpoints, faithfulness, inputs, session, side_by_side, what_if
from ui.compute import HOUR, Photo
from ui.examples import EXAMPLES
from ui.layer import OWN, draw
from ui.networks import Untrained, catalogue, load
from ui.record import network_record
from ui.session import MOST_PROBABLE, source_of, view_of
from ui.side_by_side import Pinned
from ui.slider import accept_half_typed_numbers
from ui.variant_key import key_of, variant_of

SMALL = "resnet18 drtam s3 n1 r32 seed0 block"
LION = Photo.open(EXAMPLES["a lion"])


def test_an_analysis_sends_back_only_what_it_had_to_change():
    analyse = inputs._analysing(of_another_network=True)
    size, target, layer, *_, name = analyse(LION, SMALL, 128, 291, "layer1.0", 0, "")
    assert name == "lion"
    assert not any("value" in update for update in (size, target, layer))
    default = next(iter(catalogue()))
    size, target, layer, *_, name = analyse(LION, default, 128, 291, "layer1.9", 0, "lion")
    assert load(catalogue()[default]).classes[target["value"]] == name == "lion"
    assert layer["value"] in layer["choices"]
    assert "value" not in size
    _, target, *_, name = analyse(LION, default, 128, 291, "layer1.0", 0, "flute")
    assert (target["value"], name) == (MOST_PROBABLE, "")


def test_without_a_photo_it_says_so(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", said.append)
    inputs._analysing()(None, SMALL, 96, MOST_PROBABLE, None, 0, "")
    assert "reload" in said[0]
    with pytest.raises(gr.Error, match="reload"):
        faithfulness.draw(None, SMALL, 96, MOST_PROBABLE, None, 3, gr.Request())


@pytest.mark.parametrize(("asked", "corrected"), [(5, None), (900, 511)])
def test_the_channel_slider_is_moved_only_where_its_channel_does_not_exist(asked, corrected):
    *_, slider = draw(LION, SMALL, 96, MOST_PROBABLE, "layer4.1", "one channel", asked, OWN)
    assert slider["maximum"] == 511
    assert slider.get("value") == corrected


def test_class_and_resolution_are_pinned_too():
    pinned = Pinned(LION, SMALL, 128, 7)
    about, _, cams = side_by_side.draw(LION, SMALL, 96, 5, "layer4.1", OWN, pinned)
    names = load(source_of(SMALL)).classes
    captions = re.findall(r"<b>(.*?)</b> (\d)×\d", cams)
    assert captions[:2] == [
        (f"A: Grad-CAM, {names[5]}", "3"),
        (f"B: Grad-CAM, {names[7]}", "4"),
    ]
    assert "1.000" not in about


def test_results_of_a_what_if_stay_while_they_are_of_what_the_page_shows():
    reads = (["off"], [], (LION, SMALL, 96, MOST_PROBABLE, "layer4.1"))
    kept = what_if.redraw(LION, SMALL, 96, MOST_PROBABLE, "layer4.1", *reads)
    assert all(update == gr.skip() for update in kept)
    late = what_if.redraw(LION, SMALL, 96, MOST_PROBABLE, "layer2.0", *reads)
    assert late[3] == what_if.HINT
    assert "layer2.0: map" in late[4]
    assert late[-1] is None


@pytest.mark.parametrize(("typed", "taken"), [(3, 96), (None, 96), (320, 320), (3200, 448)])
def test_a_half_typed_number_is_taken_as_the_nearest(typed, taken):
    accept_half_typed_numbers()
    assert gr.Slider(96, 448, value=224, step=32).preprocess(typed) == taken


def test_beside_the_queue_few_wait_for_a_network(monkeypatch):
    draw = session.unqueued(lambda *_: "drawn")
    view_of(LION, SMALL, 96, MOST_PROBABLE)
    monkeypatch.setattr(session, "_waiting", threading.BoundedSemaphore(1))
    unknown = (LION, SMALL, 96, 7)
    assert draw(*unknown, "more") == "drawn"
    with session._waiting:
        assert draw(LION, SMALL, 96, MOST_PROBABLE) == draw(None, SMALL, 96, 7) == "drawn"
        with pytest.raises(gr.Error, match="Many visitors"):
            draw(*unknown)
    assert draw(*unknown) == "drawn"


def test_numbers_are_forgotten_when_they_are_of_something_else():
    shown = (LION, SMALL, 96, 5, "layer4.1")
    kept = faithfulness.forget(*shown, shown)
    assert all(update == gr.skip() for update in (*kept, *faithfulness.forget(*shown, None)))
    for i, other in enumerate((None, "another", 128, 6, "layer4.0")):
        now = (*shown[:i], other, *shown[i + 1 :])
        assert faithfulness.forget(*now, shown)[:2] == [None, faithfulness.HINT]


def test_only_drtam_has_a_combined_map():
    for attention, title in (("drtam", "A (combined)"), ("cbam", "A"), ("ca", "A")):
        key = f"resnet18 {attention} s3 n1 r32 seed0 block"
        tiles, summary, *_ = draw(LION, key, 96, MOST_PROBABLE, "layer4.1", "", 0, OWN)
        assert f"<b>{title}</b>" in tiles
        assert f"| {title} |" in summary


def test_variants_have_names_that_anybody_may_write():
    for source in (
        Untrained(),
        Untrained("mobilenet_v2", "ca", 16, 64, 128, 99),
        Untrained("fcn_resnet101", "cbam", r=16, placement="stage"),
    ):
        assert variant_of(key_of(source)) == source
    for key in (
        *("", SMALL.upper(), f"{SMALL} ", "resnet18 none s3 n1 r32 seed0 block"),
        *(SMALL.replace("s3", s) for s in ("s0", "s17", "s3.0", "s-3", "s٣", "s" + "9" * 999)),
        *(SMALL.replace("n1", n) for n in ("n0", "n65")),
        *(SMALL.replace("r32", r) for r in ("r0", "r129")),
        *(SMALL.replace("resnet18", name) for name in ("resnet7", "mobilenet_v2.", "../x")),
        "mobilenet_v2 drtam s3 n1 r32 seed0 stage",
    ):
        assert variant_of(key) is None, key


def test_what_was_opened_outlives_its_file(shelf):  # noqa: F811
    open_checkpoint = checkpoints._opening(Path)
    with pytest.raises(gr.Error, match="without attention"):
        open_checkpoint(str(shelf / "c.safetensors"))
    key = open_checkpoint(str(shelf / "b.safetensors")).value
    before = network_record(source_of(key))
    (shelf / "b.safetensors").unlink()
    assert network_record(source_of(key)) == before
    assert source_of(key).input_size == 64
    checkpoints._opened.clear()
    with pytest.raises(gr.Error, match="open it again"):
        source_of(key)
    with pytest.raises(gr.Error, match="Choose one of: "):
        source_of("somebody/else")


def test_files_of_the_hub_go_after_an_hour(monkeypatch, tmp_path):
    def download(_: str, folder: Path) -> Path:
        (folder / "model.pth").write_bytes(b"weights")
        return folder / "model.pth"

    monkeypatch.setattr(checkpoints, "get_upload_folder", lambda: str(tmp_path))
    monkeypatch.setattr(checkpoints, "download", download)
    files = [checkpoints._from_hub(f"a/{k}") for k in range(2)]
    long_ago = time.time() - HOUR - 1
    os.utime(files[0].parent, (long_ago, long_ago))
    files.append(checkpoints._from_hub("a/2"))
    assert [file.exists() for file in files] == [False, True, True]


def test_a_test_of_maps_that_would_take_too_long_is_refused():
    small, large = (
        [Untrained(backbone, kind) for kind in ("drtam", "cbam", "ca")]
        for backbone in ("resnet50", "fcn_resnet101")
    )
    faithfulness.refuse_long(small, 448, 24)
    with pytest.raises(gr.Error, match="fewer steps, a lower resolution or a smaller network"):
        faithfulness.refuse_long(large, 448, 24)
