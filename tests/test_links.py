"""Links: what they hold, and what opening one restores, in the real page."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
from gradio.media import get_image
from playwright.sync_api import Page, expect
from test_page import striped_photo, upload_checkpoint
from test_published import checkpoint
from visitor import analysed, film, open_tab, shoot

from ui.compute import Photo
from ui.links import Place, query_of
from ui.networks import catalogue

TABS = ["Overview", "Layer", "Descriptors"]
SMALL = next(label for label in catalogue() if "ResNet-18" in label)
LION = Photo.open(get_image("lion.jpg"))
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "../../etc/passwd",
    "'; DROP TABLE",
    "9" * 5000,
    "-1",
    "",
]


def place(**query: str) -> Place:
    return Place.of(query, TABS)


def test_what_a_link_holds_is_what_it_restores():
    query = query_of(LION, SMALL, 160, 291, "layer3.0", "Descriptors")
    values = {key: value[0] for key, value in parse_qs(query[1:]).items()}
    assert Place.of(values, TABS) == Place("a lion", SMALL, 160, 291, "layer3.0", "Descriptors")


@pytest.mark.parametrize("name", ["photo", "network", "size", "target", "layer", "tab"])
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: value[:12])
def test_a_hostile_value_falls_back_to_the_default(name, value):
    found = place(**{name: value, "utm_source": value, "__theme": value})
    assert found == Place(problems=(name,))


@pytest.mark.parametrize("query", [{"size": "95"}, {"size": "96.0"}, {"size": "480"}])
def test_only_sizes_of_the_slider_are_restored(query):
    assert place(**query).problems == ("size",)


def test_class_and_layer_are_those_of_the_linked_network():
    assert place(network=SMALL, layer="layer4.2").problems == ("layer",)
    assert place(layer="layer4.2").layer == "layer4.2"
    assert place(network=SMALL, target="1000").problems == ("target",)
    assert place(network="VGG", layer="layer4.2", target="3").problems == (
        "layer",
        "network",
        "target",
    )


def test_a_key_of_an_opened_checkpoint_is_in_no_link():
    query = query_of(LION, "Xb3-secret-key", 224, 5, "layer1.0", "Layer")
    assert parse_qs(query[1:]) == {"photo": ["a lion"], "size": ["224"], "tab": ["Layer"]}


def copied(page: Page) -> str:
    page.get_by_role("button", name="Take it away").click()
    page.locator("#copy-link").click()
    link = page.locator("#link textarea, #link input")
    expect(link).to_have_value(re.compile(r"^http"))
    return link.input_value()


def test_a_visitor_copies_a_link_and_another_sees_the_same(page, url):
    page.locator("#network input").click()
    page.get_by_role("option", name="DRTAM-ResNet-18").click()
    expect(page.locator("#filmstrip .tile")).to_have_count(8)
    page.locator('[data-layer="layer2.1"]').click()
    open_tab(page, "Descriptors")
    expect(page.locator("#descriptors-figure")).to_contain_text("layer2.1")
    expect(page.locator(".toast-wrap")).to_have_text("")  # though the layers have other names
    link = copied(page)
    shoot(page, "link")
    assert link.startswith(url)
    other = page.context.new_page()
    other.goto(link)
    expect(other.locator("#descriptors-figure")).to_contain_text("layer2.1", timeout=60_000)
    expect(other.locator("#descriptors-figure")).to_contain_text("ResNet-18")
    expect(other.locator("#layer input")).to_have_value("layer2.1")
    expect(other.get_by_role("tab", name="Descriptors")).to_have_attribute("aria-selected", "true")
    expect(other.locator(".toast-wrap")).not_to_contain_text("restored")
    other.close()
    open_tab(page, "Paper")
    page.locator("#copy-link").click()
    expect(page.locator("#link textarea, #link input")).to_have_value(re.compile(r"tab=Paper"))


def test_a_link_restores_photo_class_and_size(page, url):
    before = film(page)
    query = {"photo": "a tower", "target": "779", "size": "128", "network": SMALL}
    page.goto(f"{url}?{urlencode(query)}")
    analysed(page)
    expect(page.locator("#status")).to_contain_text("Saw 96×160 pixels")
    expect(page.locator("#target input")).to_have_value(re.compile("school bus"))
    assert film(page)[0] not in before
    assert page.locator("#filmstrip .tile").count() == 8


def test_a_link_restores_a_variant(page, url):
    query = {"network": "resnet18 drtam s4 n2 r16 seed3 block", "layer": "layer2.1", "size": "96"}
    assert place(**query) == Place(None, query["network"], 96, None, "layer2.1")
    page.goto(f"{url}?{urlencode(query)}")
    analysed(page)
    variant = "DRTAM-ResNet-18 (S=4, N=2, r=16), untrained, seed 3"
    expect(page.locator("#status")).to_contain_text(variant)
    expect(page.locator("#network input")).to_have_value(variant)
    expect(page.locator("#layer input")).to_have_value("layer2.1")
    again = parse_qs(urlparse(copied(page)).query)
    assert {key: again[key] for key in query} == {key: [value] for key, value in query.items()}


def test_hostile_values_leave_the_page_whole_with_a_sentence(page, url):
    query = dict.fromkeys(("photo", "network", "size", "target", "layer", "tab"), HOSTILE[0])
    page.goto(f"{url}?{urlencode(query)}")
    expect(page.locator(".toast-wrap")).to_contain_text("the default is shown")
    expect(page.locator(".toast-wrap")).not_to_contain_text("onerror")
    analysed(page)
    assert page.locator("#filmstrip .tile").count() == 16


def test_photo_and_checkpoint_of_a_visitor_stay_out_of_the_link(page, tmp_path):
    import torch

    page.locator("#photo input[type=file]").set_input_files(striped_photo(tmp_path / "mine.png"))
    expect(page.locator("#status")).to_contain_text("128×160 pixels")
    torch.save(checkpoint("drtam_resnet18_block"), tmp_path / "theirs.pth")
    upload_checkpoint(page, tmp_path / "theirs.pth")
    expect(page.locator("#status")).to_contain_text("from theirs.pth")
    query = parse_qs(urlparse(copied(page)).query)
    assert set(query) == {"size", "tab"}
    expect(page.locator("#link")).to_contain_text("Without your photo, which stays here")
    expect(page.locator("#link")).to_contain_text("the checkpoint that you opened")
