"""What strangers may send as a photo is read rightly or refused, at little cost."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from bombs import photos
from corpus import Case, whole
from gradio.media import get_image
from hypothesis import given, settings
from hypothesis import strategies as st

from drtam.explain import PhotoError, load_photo
from experiments.server import ROOT

SECONDS, MEGABYTES = 2, 200
LION = get_image("lion.jpg")


def run_measured(lines: list[str]) -> list[dict[str, Any]]:
    """What ``measured.py`` says of each; it may print nothing else."""
    done = subprocess.run(
        [sys.executable, "tests/measured.py"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "."},
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"died of {lines[len(found)]}: {done.stderr}"
    assert not done.stderr.partition("nanobind: leaked")[0]  # triton says so at the end
    return found


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return photos()


@pytest.fixture(scope="module")
def found(cases, tmp_path_factory) -> dict[str, dict[str, Any]]:
    """What became of each case, and of a sound photo before and after."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = []
    for i, case in enumerate(cases):
        (folder / f"{i}.jpg").write_bytes(case.content)
        lines.append(f"photo {folder / f'{i}.jpg'}")
    results = run_measured([f"photo {LION}", *lines, f"photo {LION}"])
    names = ["before", *(case.name for case in cases), "after"]
    return dict(zip(names, results, strict=True))


def test_the_corpus_is_large_and_every_case_has_its_name(cases):
    assert len(cases) > 300
    assert Counter(case.name for case in cases).most_common(1)[0][1] == 1
    assert max(len(case.content) for case in cases) < 10_000_000  # as the Space takes


def test_every_file_takes_little_time_and_memory(found):
    slow = {name: r for name, r in found.items() if r["seconds"] > SECONDS}
    large = {name: r for name, r in found.items() if r["megabytes"] > MEGABYTES}
    assert not slow
    assert not large


def test_what_is_a_photo_shows_upright_in_its_colours(cases, found):
    for case in cases:
        result = found[case.name]
        if case.either or case.says:
            continue
        assert "error" not in result, case.name
        assert (result["mode"], tuple(result["size"])) == ("RGB", case.size), case.name
        pairs = zip(result["quarters"], case.quarters or (), strict=case.quarters is not None)
        for seen, expected in pairs:
            assert seen == pytest.approx(expected, abs=16), (case.name, result["quarters"])


def test_what_is_none_gets_a_sentence_that_names_no_file(cases, found):
    for case in cases:
        error = found[case.name].get("error")
        if error is None:
            assert case.either or not case.says, case.name
            continue
        assert re.search(case.says, error), (case.name, error)
        assert 40 < len(error) < 300, (case.name, error)
        assert "/" not in error, (case.name, error)
        assert "Error" not in error, (case.name, error)


def test_the_next_photo_is_read_as_before(found):
    assert found["after"]["digest"] == found["before"]["digest"]


def test_bytes_and_paths_are_read_alike(cases, found):
    for case in cases:
        if len(case.content) > 100_000:
            continue
        try:
            digest = hashlib.sha256(load_photo(io.BytesIO(case.content), 1024).tobytes())
            assert digest.hexdigest() == found[case.name]["digest"], case.name
        except PhotoError as error:
            assert str(error) == found[case.name]["error"], case.name  # noqa: PT017


SOUND = [case.content for case in whole() if not case.says]


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.sampled_from(SOUND), st.data())
def test_a_changed_file_gives_a_photo_or_a_sentence(content, data):
    """Pieces overwritten, taken out and doubled."""
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        length = data.draw(st.sampled_from([1, 2, 4, 16, 200]))
        piece = data.draw(
            st.binary(max_size=8)
            | st.just(bytes(content[place : place + length]) * 2)
            | st.sampled_from([b"", b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
        )
        content[place : place + length] = piece
    try:
        photo = load_photo(io.BytesIO(bytes(content)), 1024)
    except PhotoError as error:
        assert len(str(error)) > 40  # noqa: PT017 - any other error fails the test
    else:
        assert photo.mode == "RGB"
        assert min(photo.size) >= 1
