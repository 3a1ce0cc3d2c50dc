"""The What if tab in a real browser, its figures, and its endpoint."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch
from gradio.media import get_image
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import Locator, Page, expect
from visitor import UNTRAINED, open_tab, shoot, violations

from drtam.explain import Ablation, MapRegion, Off, ablate, layer_effects, load_photo, prepare
from models import build_model
from ui.region import CELLS, mask_of
from viz.ablation import layer_effects_figure, paired_scores_figure

LION = get_image("lion.jpg")


def cells(page: Page) -> Locator:
    return page.locator("#what-if-region .cells button")


def run(page: Page) -> None:
    page.locator("#what-if-run").click()


def exported(page: Page) -> dict[str, Any]:
    href = page.locator("#what-if-download a").get_attribute("href")
    return json.loads(base64.b64decode(href.partition(",")[2]))


def test_a_visitor_switches_the_complement_off_and_sees_the_difference(page):
    open_tab(page, "What if")
    expect(page.locator("#what-if-summary")).to_contain_text("Nothing has run yet")
    expect(page.locator("#what-if-tiles .tile")).to_have_count(2)
    run(page)
    expect(page.locator("#what-if-tiles .tile")).to_have_count(4)
    pictures = page.locator("#what-if-tiles img").evaluate_all("all => all.map(i => i.src)")
    assert pictures[0] != pictures[1]
    assert pictures[2] != pictures[3]
    expect(page.locator("#what-if-tiles .untrained")).to_have_count(4)
    summary = page.locator("#what-if-summary")
    expect(summary).to_contain_text("A_C = 0: no complement in all 16 layers")
    expect(summary).to_contain_text("Untrained network")
    expect(page.locator("#what-if-scores")).to_contain_text("after")
    expect(page.locator("#what-if-layers .bars .point")).to_have_count(16)
    expect(page.locator("#what-if-ranking tbody tr")).to_have_count(16)
    numbers = exported(page)
    assert numbers["before"] != numbers["after"]
    assert len(numbers["layer_effects"]) == 16
    assert violations(page) == []
    shoot(page, "what-if")
    open_tab(page, "Layer")
    open_tab(page, "What if")  # results stay
    expect(page.locator("#what-if-layers .bars .point")).to_have_count(16)


def test_a_region_is_painted_by_pointer_and_by_keyboard(page):
    open_tab(page, "What if")
    page.get_by_label("A_C = 0: no complement").uncheck()
    run(page)
    expect(page.locator(".toast-wrap")).to_contain_text("Tick a change or paint a region")
    cells(page).nth(2).scroll_into_view_if_needed()
    for place in (2, 2 + 3 * CELLS):
        box = cells(page).nth(place).bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=12)
        if place == 2:
            page.mouse.down()
    page.mouse.up()
    pressed = page.locator("#what-if-region .cells [aria-pressed=true]")
    expect(pressed).to_have_count(4)
    cells(page).first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(pressed).to_have_count(5)
    assert cells(page).nth(1).get_attribute("aria-pressed") == "true"
    page.locator('[data-layer="layer2.1"]').evaluate("tile => tile.click()")
    page.get_by_label("this layer").check()
    run(page)
    expect(page.locator("#what-if-summary")).to_contain_text("3% of the map × 0 in layer2.1")
    expect(pressed).to_have_count(5)
    page.get_by_label("the photo", exact=True).check()
    page.locator("[data-paint=all]").click()
    expect(pressed).to_have_count(CELLS**2)
    run(page)
    expect(page.locator("#what-if-summary")).to_contain_text("100% of the photo × 0.")
    expect(page.locator("#what-if-layers")).to_be_hidden()
    page.locator("[data-paint=invert]").click()
    expect(pressed).to_have_count(0)


def test_another_attention_offers_what_it_has(page):
    open_tab(page, "What if")
    page.locator("#network input").click()
    page.get_by_role("option", name="CBAM-ResNet-50 (r=16), untrained").click()
    expect(page.locator("#what-if-changes")).to_contain_text("channel gate")
    expect(page.locator("#what-if-changes input")).to_have_count(2)
    page.get_by_label("channel gate → its mean").check()
    page.get_by_label("its stage").check()
    run(page)
    expect(page.locator("#what-if-summary")).to_contain_text("layer4.0, layer4.1, layer4.2")


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False, analytics_enabled=False)


def ask(client: Client, **arguments: Any) -> Any:
    given = {"photo": handle_file(LION), "network": UNTRAINED, "size": 96, **arguments}
    return client.predict(**given, api_name="/what_if")


def test_the_endpoint_says_what_the_library_does(client):
    region = [[0, 1, 1], [0, 0.5, 0]]
    found = ask(
        client,
        changes=["off_complement"] * 9,
        layers=["layer3.1"] * 9,
        region=region,
        gain=1.5,
        target=7,
    )
    assert (len(found["changes"]), found["layers"]) == (2, ["layer3.1"])  # the region is one
    network = build_model("resnet50", "drtam", seed=0).eval()
    tensor = prepare(load_photo(LION, 1024), 96).tensor
    changes = [
        Off("complement", ("layer3.1",)),
        MapRegion(torch.tensor(region), 1.5, ("layer3.1",)),
    ]
    expected = ablate(network, tensor, changes, 7)
    assert found["log_probability_change"] == pytest.approx(float(expected.change), rel=1e-3)
    assert found["target"]["class"] == 7
    (after,) = (e["probability"] for e in found["after"] if e["class"] == 7)
    assert after == pytest.approx(float(expected.after.probabilities[0, 7]), rel=1e-4)
    effects = layer_effects(network, tensor, changes, 7, layers=["layer1.0", "layer4.2"])
    for name, effect in effects.items():
        theirs = found["layer_effects"][name]
        assert theirs == pytest.approx(float(effect), rel=1e-2, abs=1e-6)
    assert found["channel_effects"]["layer"] == "layer4.2"
    assert len(found["channel_effects"]["channels"]) == 8
    assert found["trained"] is False


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"changes": []}, "name a change or paint a region"),
        ({"changes": ["flat_c"]}, "changes must be one of off, off_initial"),
        ({"changes": ["off"], "layers": ["layer9"]}, "layers must be one of"),
        ({"changes": [], "region": [[1], [1, 1]]}, "rows of the same length"),
        ({"changes": [], "region": [[2.0]]}, "region must hold numbers from 0 to 1, not 2"),
        ({"changes": [], "region": [[1]], "gain": 3}, "gain must be from 0 to 2"),
    ],
)
def test_the_endpoint_refuses_what_makes_no_sense(client, arguments, says):
    with pytest.raises(AppError, match=says):
        ask(client, **arguments)


@pytest.mark.parametrize("sent", [None, "", "01", "2" * CELLS**2, "<b>" + "0" * (CELLS**2 - 3)])
def test_a_region_that_is_none_is_refused(sent):
    with pytest.raises(ValueError, match="Reload the page"):
        mask_of(sent)
    assert mask_of("0" * CELLS**2) is None


@pytest.fixture(scope="module")
def lion_ablation(lion_tensor: torch.Tensor) -> Ablation:
    network = build_model("resnet18", "drtam", num_classes=9, seed=0).eval()
    return ablate(network, lion_tensor, [Off()], target=4)


def test_pairs_of_bars_are_the_probabilities_before_and_after(lion_ablation):
    names = [f"class {k}" for k in range(9)]
    before, after = paired_scores_figure(lion_ablation, names, "title", count=2).data
    shown = [int(label.split()[1]) for label in before.y]
    assert 4 in shown
    for bars, analysis in ((before, lion_ablation.before), (after, lion_ablation.after)):
        np.testing.assert_allclose(bars.x, analysis.probabilities[0, shown])
        assert set(analysis.probabilities[0].topk(2).indices.tolist()) <= set(shown)
        assert bars.y == before.y


def test_layer_bars_are_coloured_where_the_network_was_changed():
    effects = {"a": 0.5, "b": -1.0, "c": float("nan")}
    (bars,) = layer_effects_figure(effects, ["b"], "title").data
    assert list(bars.x) == [0.5, -1.0, None]
    first, second, third = bars.marker.color
    assert first == third != second
