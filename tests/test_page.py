"""The real page in a real browser, as a new visitor uses it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from gradio.media import get_image
from PIL import Image
from playwright.sync_api import Page, expect
from test_published import checkpoint
from test_refused_checkpoints import Malicious
from visitor import SECONDS, TABS, TRUTH, analysed, bars, film, open_tab, shoot, violations

from models import build_model
from models.checkpoints import save_checkpoint
from ui.networks import catalogue


def striped_photo(path: Path) -> Path:
    """A photo that no other test has analysed: half a tower, half stripes."""
    photo = Image.open(get_image("tower.jpg")).convert("RGB").resize((300, 400))
    pixels = np.array(photo)
    pixels[:, 150:] = np.where(np.arange(400)[:, None, None] % 40 < 20, 250, 20)
    Image.fromarray(pixels).save(path)
    return path


def test_a_new_visitor_finds_the_trained_default_with_its_card(default_page):
    page, status = default_page, default_page.locator("#status")
    label, source = next(iter(catalogue().items()))
    expect(page.locator("#network input")).to_have_value(label)
    assert page.locator("#filmstrip .tile").count() == 16
    assert page.locator("#filmstrip .untrained").count() == 0
    expect(page.locator("#size input[type=number]")).to_have_value(str(source.input_size))
    expect(status).to_contain_text(re.search(r"Right for \S+ % of 10000", source.card)[0])
    shoot(page, "default")
    status.get_by_text("The card of this network").click()
    expect(status.get_by_role("heading", name="Limits")).to_be_visible()
    assert violations(page) == []
    shoot(page, "card")


def test_the_resolution_follows_the_network_until_the_visitor_chooses_one(default_page):
    page, size = default_page, default_page.locator("#size input[type=number]")
    choose(page, "DRTAM-ResNet-18")
    expect(size).to_have_value("224")
    expect(page.locator("#status")).to_contain_text("Untrained network")
    size.fill("")
    size.press_sequentially("160", delay=60)  # 1 and 16 are no resolutions
    expect(page.locator("#status")).to_contain_text("160×160 pixels")
    expect(page.locator(".toast-wrap")).to_have_text("")
    choose(page, "trained (drtam-resnet50)")
    expect(page.locator("#status")).to_contain_text("160×160 pixels")
    expect(size).to_have_value("160")


def choose(page: Page, network: str) -> None:
    """Choose a network and wait until it is analysed."""
    page.locator("#network input").click()
    page.get_by_role("option", name=network).click()
    expect(page.locator("#status")).to_contain_text(network)


def test_an_untrained_network_says_so_at_every_map(page):
    assert page.locator("#filmstrip .tile").count() == 16
    names = page.locator("#filmstrip .caption b").all_inner_texts()
    assert names[0] == "layer1.0"
    assert names[-1] == "layer4.2"
    assert page.locator("#filmstrip .untrained").count() == 16
    expect(page.locator("#status")).to_contain_text("Untrained network")
    expect(page.locator("#status")).to_contain_text("26.83 M parameters, 4.14 GFLOPs")


def test_a_new_photo_changes_predictions_and_maps(page, tmp_path):
    before, scores = film(page), bars(page)
    photo = striped_photo(tmp_path / "striped.png")
    page.locator("#photo input[type=file]").set_input_files(photo)
    page.wait_for_function(
        "old => { const i = document.querySelector('#filmstrip .tile img');"
        " return i && i.src !== old }",
        arg=before[0],
    )
    after = film(page)
    assert len(after) == 16
    assert not set(before) & set(after)
    expect(page.locator("#status")).to_contain_text("128×160 pixels")
    page.wait_for_function(
        "old => [...document.querySelectorAll('#scores .ytick')].map(t => t.textContent).join()"
        " !== old",
        arg=scores,
    )


def test_what_is_no_photo_gets_a_sentence_and_changes_nothing(page, tmp_path):
    before, shown = film(page), page.locator("#photo img").first.get_attribute("src")
    fake = tmp_path / "photo.jpg"
    fake.write_bytes(b"this is text")
    page.locator("#photo input[type=file]").set_input_files(fake)
    expect(page.locator(".toast-wrap")).to_contain_text("could not be read as a photo")
    expect(page.locator("#photo img").first).to_have_attribute("src", shown)
    assert "Traceback" not in page.content()
    assert film(page) == before


def test_a_click_on_a_layer_is_followed_by_every_tab(page):
    page.locator('[data-layer="layer2.1"]').click()
    expect(page.locator('[data-layer="layer2.1"]')).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#layer input")).to_have_value("layer2.1")
    open_tab(page, "Layer")
    expect(page.locator("#layer-tiles .caption").first).to_contain_text("16×16")
    expect(page.locator("#layer-maps")).to_contain_text("layer2.1")
    expect(page.locator("#layer-factors")).to_contain_text("layer2.1")
    open_tab(page, "Descriptors")
    expect(page.locator("#descriptors-figure")).to_contain_text("layer2.1")


def test_the_open_tab_follows_the_layer_chosen_beside_it(page):
    open_tab(page, "Layer")
    expect(page.locator("#layer-maps")).to_contain_text("layer4.2")
    page.locator("#layer input").click()
    page.get_by_role("option", name="layer1.1").click()
    expect(page.locator("#layer-maps")).to_contain_text("layer1.1")
    expect(page.locator("#layer-tiles .caption").first).to_contain_text("32×32")


def test_charts_that_were_replaced_leave_the_memory(page):
    open_tab(page, "Layer")
    chrome = page.context.new_cdp_session(page)
    chrome.send("Performance.enable")
    listeners = []
    for name in ("layer1.0", "layer1.1", "layer2.0", "layer2.1"):
        page.locator("#layer input").click()
        page.get_by_role("option", name=name).click()
        expect(page.locator("#layer-maps")).to_contain_text(name)
        page.wait_for_timeout(500)  # the tab's other charts
        chrome.send("HeapProfiler.collectGarbage")
        metrics = chrome.send("Performance.getMetrics")["metrics"]
        listeners.append(next(m["value"] for m in metrics if m["name"] == "JSEventListeners"))
    assert listeners[-1] < listeners[1] + 50, listeners


def test_the_layer_tab_shows_single_channels(page):
    open_tab(page, "Layer")
    tiles = page.locator("#layer-tiles img")
    expect(tiles).to_have_count(3)
    mean = tiles.first.get_attribute("src")
    page.get_by_label("one channel, by its rank").check()
    expect(page.locator("#layer-summary")).to_contain_text("rank 0 of 2048")
    assert tiles.first.get_attribute("src") != mean
    shoot(page, "layer")


def test_descriptors_show_their_relative_error(page):
    open_tab(page, "Descriptors")
    expect(page.locator("#descriptors-figure")).to_contain_text("of its norm")
    assert page.locator("#descriptors-figure .js-plotly-plot .hm").count() == 9


def test_compare_shows_all_three_modules_and_gradcam_without_any(page):
    open_tab(page, "Compare")
    for part, count in (("#compare-maps", 3), ("#compare-cams", 4)):
        expect(page.locator(f"{part} .tile")).to_have_count(count)
        expect(page.locator(f"{part} .untrained")).to_have_count(count)
    expect(page.locator("#compare-cams")).to_contain_text("no attention: ")
    titles = page.locator("#compare-maps .caption b").all_inner_texts()
    assert titles == ["DRTAM", "CBAM", "CA"]
    expect(page.locator("#compare-matrix .js-plotly-plot")).to_contain_text("DRTAM Grad-CAM")
    page.get_by_label("shared by all maps").last.check()
    page.wait_for_function(
        "new Set([...document.querySelectorAll('#compare-maps .range')]"
        ".map(range => range.textContent)).size === 1"
    )
    shoot(page, "compare")


def test_the_opacity_slider_needs_no_server(page):
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    picture = page.locator("#filmstrip .tile img").first
    page.locator(".opacity input").fill("0.25")
    expect(picture).to_have_css("opacity", "0.25")
    assert not requests


def test_a_slider_rebuilds_an_untrained_variant(page):
    open_tab(page, "Variants")
    expect(page.locator("#variants-table")).to_contain_text("S=4, N=1, r=32")
    variant = page.locator("#variants-tiles .tile img").nth(1)
    before = variant.get_attribute("src")
    slider = page.get_by_label(re.compile("^range slider for r, reduction"))
    slider.focus()
    for _ in range(16):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#variants-table")).to_contain_text("S=4, N=1, r=16")
    expect(page.locator("#variants-table")).to_contain_text("28.09 M")
    assert variant.get_attribute("src") != before
    shoot(page, "variants")


def test_another_network_and_class_are_explained(page):
    before = film(page)
    choose(page, "CBAM-ResNet-50 (r=16), untrained")
    page.wait_for_function(
        "old => document.querySelector('#filmstrip .tile img')?.src !== old", arg=before[0]
    )
    page.locator("#target input").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("lion")
    page.locator('[role=option][aria-label="lion"]').click()
    expect(page.locator("#scores")).to_contain_text("lion")
    open_tab(page, "Layer")
    expect(page.locator("#layer-factors")).to_contain_text("channel attention, sorted")
    open_tab(page, "Descriptors")
    expect(page.locator("#descriptors-text")).to_contain_text("only DRTAM does")


def test_one_analysis_sends_at_most_2_mb(context, url, tmp_path):
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    page.goto(url)
    analysed(page)
    sent: list[int] = []
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    client.on("Network.dataReceived", lambda event: sent.append(event["encodedDataLength"]))
    photo = Image.open(striped_photo(tmp_path / "photo.png")).rotate(180)
    photo.save(tmp_path / "photo.png")
    before = film(page)
    page.locator("#photo input[type=file]").set_input_files(tmp_path / "photo.png")
    page.wait_for_function(
        "old => document.querySelector('#filmstrip .tile img')?.src !== old", arg=before[0]
    )
    page.wait_for_timeout(1000)
    page.close()
    assert 50_000 < sum(sent) < 2_000_000


def upload_checkpoint(page: Page, path: Path) -> None:
    page.get_by_text("Open another checkpoint").click()
    with page.expect_file_chooser() as chooser:
        page.locator("#checkpoint").click()
    chooser.value.set_files(path)


def test_somebody_elses_checkpoint_is_opened(page, tmp_path):
    before = film(page)
    torch.save({"state_dict": checkpoint("drtam_resnet18_block")}, tmp_path / "theirs.pth")
    upload_checkpoint(page, tmp_path / "theirs.pth")
    status = page.locator("#status")
    expect(status).to_contain_text("DRTAM-ResNet-18 (S=2, N=2, r=16), from theirs.pth")
    expect(status).not_to_contain_text("Untrained")
    expect(status).to_contain_text("ImageNet's classes and normalisation are assumed")
    page.wait_for_function(
        "old => document.querySelectorAll('#filmstrip .tile').length === 8", arg=before[0]
    )
    assert page.locator("#filmstrip .untrained").count() == 0
    for name in TABS[1:-1]:
        if name in (TRUTH, "A and B"):  # they wait for a button
            continue
        open_tab(page, name)
        expect(
            page.locator(".tabitem:visible .js-plotly-plot, .tabitem:visible .tile").first
        ).to_be_visible()
    shoot(page, "opened")


def test_a_checkpoint_with_code_is_refused_and_changes_nothing(page, tmp_path):
    before, sentinel = film(page), tmp_path / "executed"
    torch.save(Malicious(sentinel), tmp_path / "model.pth")
    upload_checkpoint(page, tmp_path / "model.pth")
    expect(page.locator(".toast-wrap")).to_contain_text("could run code when loaded")
    assert not sentinel.exists()
    assert film(page) == before
    expect(page.locator("#status")).to_contain_text("DRTAM-ResNet-50")


def test_a_segmentation_of_ones_own_is_explained_on_every_tab(page, tmp_path):
    save_checkpoint(
        build_model("fcn_resnet50", "drtam", num_classes=3, placement="stage", seed=0),
        tmp_path / "shapes.safetensors",
        classes=("nothing", "a disk", "a bar"),
        input_size=96,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        half=True,
    )
    upload_checkpoint(page, tmp_path / "shapes.safetensors")
    expect(page.locator("#status")).to_contain_text("DRTAM-FCN ResNet-50")
    expect(page.locator("#status")).to_contain_text("mean probability over the photo")
    expect(page.locator("#scores")).to_contain_text("a disk")
    expect(page.locator("#filmstrip .tile")).to_have_count(5)
    open_tab(page, "Layer")
    expect(page.locator("#layer-factors")).to_contain_text("backbone.layer4")
    open_tab(page, "Compare")
    expect(page.locator("#compare-maps .tile")).to_have_count(3)
