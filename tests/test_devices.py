"""Where networks run, and what happens when the GPU or the memory gives up."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from gradio.media import get_image
from torch import Tensor, nn

from drtam.explain import analyze
from experiments.server import ROOT
from ui import compute, devices, faithfulness, interventions
from ui.networks import Untrained, load

SOURCE = Untrained("resnet18")


@pytest.fixture
def photo() -> compute.Photo:
    return compute.Photo.open(get_image("tower.jpg"))


@pytest.fixture
def image(photo: compute.Photo) -> Tensor:
    return compute.prepared(photo, SOURCE, 96).tensor


@pytest.fixture
def broken_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device on which no number can ever be read."""
    monkeypatch.setattr(devices, "DEVICE", torch.device("meta"))


@pytest.mark.usefixtures("broken_gpu")
def test_when_the_gpu_fails_the_cpu_explains_and_the_view_says_so(photo, image):
    view = compute.views_of(SOURCE, [compute.prepared(photo, SOURCE, 96)], None)[0]
    assert view.device == "CPU, since the GPU failed"
    expected = analyze(load(SOURCE).model, image)
    assert torch.equal(view.analysis.probabilities, expected.probabilities)
    assert torch.equal(
        view.analysis.layers["layer3.1"].gradcam, expected.layers["layer3.1"].gradcam
    )


def full_on_a_gpu(model: nn.Module, image: Tensor) -> str:
    if image.device.type != "cpu":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return type(model).__name__


@pytest.mark.usefixtures("broken_gpu")
def test_when_the_gpu_is_full_the_cpu_takes_over(image):
    ran = devices.run(SOURCE, image, full_on_a_gpu)
    assert ran == devices.Ran("ResNet", "CPU, since the GPU's memory is full")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU to fill")
def test_a_gpu_that_is_really_full_is_left_for_the_cpu():
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        ran = devices.run(Untrained("resnet34"), torch.randn(1, 3, 96, 96), full_on_a_gpu)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert ran.device.startswith("CPU, since")


def more_than_there_is(model: nn.Module, image: Tensor) -> Tensor:  # noqa: ARG001
    return torch.empty(1 << 60)


def test_when_the_cpu_is_full_the_visitor_is_told_what_to_do(image):
    with pytest.raises(ValueError, match="smaller analysis resolution") as failure:
        devices.run(SOURCE, image, more_than_there_is)
    assert "alloc" not in str(failure.value)
    assert devices.run(SOURCE, image, full_on_a_gpu).device == "CPU"


def test_networks_run_one_at_a_time_on_one_copy_of_the_weights(image):
    inside, most, models = 0, [0], set()

    def work(model: nn.Module, image: Tensor) -> None:  # noqa: ARG001
        nonlocal inside
        inside += 1
        most[0] = max(most[0], inside)
        models.add(id(model))
        time.sleep(0.02)
        inside -= 1

    with ThreadPoolExecutor(8) as visitors:
        list(visitors.map(lambda _: devices.run(SOURCE, image, work), range(16)))
    assert most == [1]
    assert models == {id(load(SOURCE).model)}


def test_visitors_who_ask_for_the_same_view_wait_for_one_analysis(photo, monkeypatch):
    passes = []
    run = devices.run
    monkeypatch.setattr(compute, "run", lambda *given: passes.append(1) or run(*given))
    together = threading.Barrier(4)

    def ask(_: int) -> compute.View:
        together.wait()
        return compute.explain(photo, SOURCE, 128, None)

    with ThreadPoolExecutor(4) as visitors:
        first, *others = visitors.map(ask, range(4))
    assert len(passes) == 1
    assert all(view is first for view in others)
    assert compute.explain.cache.currsize >= first.pixels.width * first.pixels.height * 3


@pytest.mark.parametrize(
    "work",
    [
        partial(compute._analysed, target=None),
        partial(
            faithfulness._judge,
            layer="layer4.1",
            target=3,
            steps=3,
            report=faithfulness.Share(print, "DRTAM", 0, 1, ""),
        ),
        partial(
            interventions._changed,
            before=None,
            changes=[interventions.CHANGES["off"][1]],
            layer="layer4.1",
            track=iter,
        ),
    ],
    ids=["analyze", "faithfulness", "what if"],
)
def test_all_that_the_page_runs_on_a_gpu_can_be_sent_to_another_process(work):
    assert pickle.loads(pickle.dumps(work)).keywords.keys() == work.keywords.keys()


def test_on_zero_gpu_only_the_forked_process_runs_the_network():
    printed = subprocess.run(
        [sys.executable, "tests/zero_gpu.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    ).stdout.splitlines()[-1]
    found = json.loads(printed)
    assert found["promised"] == "cuda"
    assert found["failing"] == "CPU, since the GPU failed"
    assert found["elsewhere"]
    assert found["lent"] == found["here"]
    assert found["weights"] == ["cpu"]
    asked = [float(seconds) for path, seconds in found["calls"] if path == "/schedule"]
    assert asked == [10, 7]
