"""The tab Do maps tell the truth and its endpoint."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gradio.media import get_image
from gradio_client import Client, handle_file
from playwright.sync_api import expect
from torch import Tensor, nn
from visitor import TRUTH, open_tab, shoot, violations

from drtam import CBAM, DRTAM
from drtam.explain import faithfulness, load_photo, prepare
from drtam.explain.faithfulness import passes
from models import build_model
from ui import stopping

FIGURES = ("#faithfulness-deletion", "#faithfulness-insertion", "#faithfulness-road")


def choose(page, network: str) -> None:
    page.locator("#network input").click()
    page.get_by_role("option", name=network).click()
    expect(page.locator("#status")).to_contain_text(network)


@pytest.mark.parametrize(("attention", "maps"), [(DRTAM, 4), (CBAM, 2)])
@pytest.mark.parametrize("steps", [2, 5])
def test_the_passes_are_counted(attention, maps, steps):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), attention(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    images: list[int] = []

    def count(_: nn.Module, inputs: tuple[Tensor]) -> None:
        images.append(len(inputs[0]) * (2 if torch.is_grad_enabled() else 1))

    network.register_forward_pre_hook(count)
    faithfulness(network, torch.randn(1, 3, 9, 9), "1", target=0, steps=steps, draws=2)
    assert sum(images) == passes(maps, steps, 2)


def test_a_visitor_tests_the_maps_and_reads_curves_and_numbers(page):
    choose(page, "DRTAM-ResNet-18")
    page.locator("#size input[type=number]").fill("96")
    page.locator("#size input[type=number]").press("Enter")
    expect(page.locator("#status")).to_contain_text("96×96 pixels")
    open_tab(page, TRUTH)
    table = page.locator("#faithfulness-table")
    expect(table).to_contain_text("Press Test the maps")
    for figure in FIGURES:
        expect(page.locator(figure)).to_have_count(0)
    run, stop = page.locator("#faithfulness-run"), page.locator("#faithfulness-stop")
    run.click()
    stop.click()
    expect(table).to_contain_text("Stopped.")
    expect(stop).to_have_count(0)
    run.focus()
    page.keyboard.press("Enter")
    expect(table.locator("tbody tr")).to_have_count(6 + 4 + 4)
    names = table.locator("tbody td:nth-child(2)").all_inner_texts()
    own = ["attention map", "A_I (initial)", "A_C (complement)", "Grad-CAM"]
    assert names[:6] == [*own, "random map", "centre blob"]
    for cell in table.locator("tbody tr").first.locator("td").all_inner_texts()[2:]:
        assert re.fullmatch(r"-?\d+\.\d{4}|–", cell), cell
    expect(table).to_contain_text("these numbers say nothing about DRTAM")
    for figure in FIGURES:
        expect(page.locator(f"{figure} .scatterlayer .trace")).to_have_count(14)
        expect(page.locator(figure)).to_contain_text("CBAM · untrained")
    assert violations(page) == []
    shoot(page, "truth")
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_function("document.scrollingElement.scrollWidth <= 360")
    shoot(page, "truth-phone")
    page.set_viewport_size({"width": 1400, "height": 1000})
    page.evaluate("document.body.classList.add('dark')")
    shoot(page, "truth-dark")
    open_tab(page, "A and B")
    page.locator("#pin").click()
    expect(page.locator("#sides-maps .tile")).to_have_count(3)
    open_tab(page, TRUTH)
    expect(table.locator("tbody tr")).to_have_count(6 + 4 + 4)  # nothing of it has changed
    run.click()
    page.locator("#layer input").click()
    page.get_by_role("option", name="layer2.0").click()
    expect(stop).to_be_visible()
    expect(stop).to_have_count(0)
    expect(table).to_contain_text("Press Test the maps")  # its numbers are of the layer before
    expect(page.locator(FIGURES[0])).to_have_count(0)


def test_a_stopped_visit_runs_no_further_pass_until_it_begins_anew():
    network = nn.Conv2d(3, 4, 3)
    me = SimpleNamespace(session_hash="me")

    def run(visit: str) -> None:
        with stopping.stoppable(network, visit):
            network(torch.randn(1, 3, 4, 4))

    run("me")
    stopping.stop(me)
    with pytest.raises(stopping.StoppedError):
        run("me")
    run("other")
    stopping.fresh(me)
    run("me")
    assert not network._forward_pre_hooks


def test_the_endpoint_says_what_the_library_says(url):
    client = Client(url, verbose=False, analytics_enabled=False)
    labels = client.predict(api_name="/networks")
    small = next(label for label in labels if "DRTAM-ResNet-18" in label)
    lion = get_image("lion.jpg")
    found = client.predict(
        photo=handle_file(lion),
        layer="layer4.1",
        network=small,
        size=96,
        steps=4,
        api_name="/faithfulness",
    )["networks"]
    assert list(found) == ["drtam", "cbam", "ca"]
    assert found["drtam"]["trained"] is False
    network = build_model("resnet18", "drtam", seed=0).eval()
    image = prepare(load_photo(lion, 1024), 96).tensor
    expected = faithfulness(network, image, "layer4.1", steps=4)
    assert found["drtam"]["target"] == expected.target
    for i, name in enumerate(expected.names):
        ours = found["drtam"]["maps"][name]
        for metric in ("deletion", "insertion", "road"):
            curves = getattr(expected, metric)
            np.testing.assert_allclose(ours[metric], float(curves.area[i]), atol=1e-5)
            np.testing.assert_allclose(
                ours["curves"][metric], curves.probabilities[i].numpy(), atol=1e-5
            )
        np.testing.assert_allclose(ours["sensitivity"], float(expected.sensitivity[i]), rtol=0.02)
