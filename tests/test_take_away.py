"""What a visitor takes away: a ZIP of everything, and a report that opens offline."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

import gradio as gr
import numpy as np
import numpy.typing as npt
import pytest
from choreographer.browsers.chromium import Chromium
from gradio.media import get_image
from gradio_client import Client
from PIL import Image
from playwright.sync_api import Browser, Page
from visitor import shoot

from drtam.explain import Analysis, analyze, arrays, load_photo, prepare
from models import build_model
from ui import take_away
from ui.compute import Photo
from ui.networks import Untrained
from viz import static
from viz.report import Result
from viz.report_page import report_html

SMALL = Untrained("resnet18", placement="stage")
SIZE = 96
HOSTILE = (
    '</script><script>window.hurt = 1</script><img src="http://example.org/x" onerror=hurt()>'
)


def silent(*_: object, **__: object) -> None:
    """In place of the page's progress bar."""


@pytest.fixture(scope="module")
def result() -> Iterator[Result]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(take_away, "source_of", lambda _: SMALL)
        patch.setattr("ui.session.source_of", lambda _: SMALL)
        yield take_away.result(Photo.open(get_image("lion.jpg")), SMALL.label, SIZE, 291)


@pytest.fixture(scope="module")
def archive(result: Result) -> zipfile.ZipFile:
    name, content = take_away.zip_of(result, silent)  # type: ignore[arg-type]
    assert re.fullmatch(r"[\w.-]+\.zip", name)
    return zipfile.ZipFile(io.BytesIO(content))


@pytest.fixture(scope="module")
def direct() -> Analysis:
    """The library, called without the page."""
    model = build_model("resnet18", "drtam", seed=0, placement="stage").eval()
    return analyze(model, prepare(load_photo(get_image("lion.jpg"), 1024), SIZE).tensor, 291)


@pytest.fixture(scope="module")
def npz(archive: zipfile.ZipFile) -> dict[str, npt.NDArray[np.generic]]:
    return dict(np.load(io.BytesIO(archive.read("arrays.npz")), allow_pickle=False))


def test_the_arrays_are_those_of_a_direct_analysis(npz, direct):
    layer = direct.layers["layer2"]
    wanted = {
        "logits": direct.logits,
        "target": direct.target,
        "layer2/gradcam": layer.gradcam,
        "layer2/map/combined": layer.trace.attention().mean(1),
        "layer2/descriptors/hw": layer.trace.descriptors.hw,
        "layer2/initial/c": layer.trace.initial.c,
        "layer2/complement/w": layer.trace.complement.w,
        "layer2/residual/cw": layer.trace.residual.cw,
        "layer2/exact_residual/ch": layer.residual.exact.ch,
        "layer2/residual_error": layer.residual.error,
        "layer2/added": layer.added,
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(npz[name], value[0], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_whole_map_follows_from_the_factors_as_the_readme_says(npz, direct):
    initial, complement = (
        npz[f"layer3/{f}/c"][:, None, None] * npz[f"layer3/{f}/h"][:, None] * npz[f"layer3/{f}/w"]
        for f in ("initial", "complement")
    )
    wanted = direct.layers["layer3"].trace.attention()[0]
    np.testing.assert_allclose(initial + (1 - initial) * complement, wanted, atol=1e-5)


@pytest.mark.parametrize("attention", ["drtam", "cbam", "ca"])
def test_every_array_of_every_module_is_named_in_the_readme(attention, archive, lion_tensor):
    readme = archive.read("README.txt").decode()
    rows = [line.split("  ")[0] for line in readme.split("Names in arrays.npz")[1].splitlines()]
    documented = set()
    for row in rows:
        first, *others = re.split(r", ", row)
        documented |= {first, *(first.rpartition("/")[0] + "/" + other for other in others)}
        documented |= set(others)
    documented |= {
        f"LAYER/{what}/{m}" for what in ("map", "statistics") for m in ("initial", "complement")
    }
    network = build_model("resnet18", attention, seed=0, placement="stage").eval()
    for name in arrays(analyze(network, lion_tensor)):
        layer, slash, rest = name.partition("/")
        assert (f"LAYER/{rest}" if slash else layer) in documented, name


def test_the_record_says_that_it_is_untrained_and_how_it_was_made(archive):
    record = json.loads(archive.read("record.json"))
    assert record["trained"] is False
    assert record["network"]["spec"]["backbone"] == "resnet18"
    assert record["network"]["weights"] == {"untrained": True, "seed": 0}
    assert record["photo"] == {
        "sha256_of_pixels": Photo.open(get_image("lion.jpg")).digest.hex(),
        "size": [256, 256],
        "seen_at": [96, 96],
    }
    assert record["asked"] == {"size": 96, "target": 291}
    assert record["target"] == {"class": 291, "name": "lion"}
    assert record["made"].endswith("+00:00")
    assert {"torch", "numpy", "plotly", "drtam"} <= set(record["versions"])
    assert "UNTRAINED" in archive.read("README.txt").decode()


def test_every_picture_can_be_read(archive):
    names = archive.namelist()
    layers = ("relu", "layer1", "layer2", "layer3", "layer4")
    for kind in ("maps", "overlays"):
        found = [name for name in names if name.startswith(f"{kind}/") and name.endswith(".png")]
        assert len(found) == 4 * len(layers)
        for name in found:
            with Image.open(io.BytesIO(archive.read(name))) as picture:
                picture.load()
                assert picture.size == (96, 96)
    charts = {Path(name).stem for name in names if name.startswith("charts/")}
    assert charts == {"plotly.min", "scores"} | {
        f"layer-{what}".replace("layer", layer)
        for layer in layers
        for what in ("maps", "factors", "descriptors")
    }
    for chart in charts - {"plotly.min"}:
        with Image.open(io.BytesIO(archive.read(f"charts/{chart}.png"))) as picture:
            picture.load()
            assert picture.width == static.WIDTH
        root = ElementTree.fromstring(archive.read(f"charts/{chart}.svg"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    photo = Image.open(io.BytesIO(archive.read("photo.png")))
    assert np.array_equal(np.asarray(photo), np.asarray(load_photo(get_image("lion.jpg"), 1024)))


def test_names_in_the_zip_stay_inside_its_folder(archive):
    assert all(re.fullmatch(r"(\w+/)?[\w.-]+", name) for name in archive.namelist())


def test_without_a_browser_the_zip_says_what_is_missing(result, monkeypatch):
    monkeypatch.setattr(Chromium, "find_browser", classmethod(lambda *_, **__: None))
    content = zipfile.ZipFile(io.BytesIO(take_away.zip_of(result, silent)[1]))
    names = content.namelist()
    assert not [name for name in names if re.match(r"charts/.*(png|svg)$", name)]
    assert "charts/layer4-factors.html" in names
    assert "maps/layer4-combined.png" in names
    for text in ("README.txt", "record.json"):
        assert "has no Chrome or Chromium" in content.read(text).decode()


def test_a_zip_over_the_limit_is_refused_with_a_sentence(result, monkeypatch):
    monkeypatch.setattr(take_away, "MAX_MB", 2)
    monkeypatch.setattr(static, "pictures", lambda _: ({}, "x"))
    with pytest.raises(gr.Error, match="over 2 MB: choose a smaller analysis resolution"):
        take_away.zip_of(result, silent)


@pytest.fixture
def offline(browser: Browser) -> Iterator[Page]:
    """A page that fails on any request to the outside, on a phone in the dark."""
    context = browser.new_context(
        offline=True, viewport={"width": 360, "height": 740}, color_scheme="dark"
    )
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    yield page
    context.close()
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    assert not errors


def test_the_report_opens_offline_and_fits_a_phone(offline, result, tmp_path):
    (tmp_path / "report.html").write_text(report_html(result))
    offline.goto(f"file://{tmp_path}/report.html")
    offline.wait_for_selector(".chart .bars")
    assert offline.locator("p.untrained").inner_text().startswith("Untrained network")
    assert offline.locator("em.untrained").count() == 20
    assert offline.locator("details").count() == 5
    offline.locator("summary").first.click()
    offline.wait_for_selector("details:first-of-type .chart .scatterlayer")
    assert offline.evaluate("document.scrollingElement.scrollWidth") <= 360
    shoot(offline, "report-phone-dark")
    offline.set_viewport_size({"width": 1200, "height": 900})
    offline.emulate_media(color_scheme="light")
    shoot(offline, "report")


def test_class_names_of_a_visitors_checkpoint_run_nothing(offline, result, tmp_path):
    hostile = replace(result, classes=(HOSTILE,) * 1000, label=HOSTILE, record={HOSTILE: HOSTILE})
    (tmp_path / "report.html").write_text(report_html(hostile))
    offline.goto(f"file://{tmp_path}/report.html")
    offline.wait_for_selector(".chart .bars")
    assert offline.evaluate("window.hurt") is None
    assert offline.locator("h1").inner_text() == HOSTILE


def test_the_charts_of_the_zip_open_offline(offline, archive, tmp_path):
    archive.extractall(tmp_path)
    for name, part in (("scores", ".bars"), ("layer4-descriptors", ".hm")):
        offline.goto(f"file://{tmp_path}/charts/{name}.html")
        offline.wait_for_selector(part)


def test_a_visitor_downloads_the_zip_and_the_report(page, url):
    page.set_viewport_size({"width": 1400, "height": 1400})
    few = {"network": "resnet18 drtam s3 n1 r32 seed0 stage", "size": "96"}  # layers to draw
    page.goto(f"{url}?{urlencode(few)}")
    page.wait_for_function("document.querySelectorAll('#filmstrip .tile').length === 5")
    page.get_by_role("button", name="Take it away").click()
    for button, ending in (("#make-report", ".html"), ("#make-zip", ".zip")):
        page.locator(button).click()
        link = page.locator(f"#take-away a[href$='{ending}']")
        link.wait_for(timeout=180_000)  # charts are drawn one by one
        with page.expect_download() as download:
            link.first.click()
        path = download.value.path()
        assert download.value.suggested_filename.startswith("drtam-lens-drtam-resnet18-")
        if ending == ".zip":
            record = json.loads(zipfile.ZipFile(path).read("record.json"))
            assert record["network"]["spec"]["backbone"] == "resnet18"
        else:
            assert "untrained" in path.read_text()
    shoot(page, "take-away")


def test_the_files_are_deleted_with_gradios_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with gr.Blocks(delete_cache=(1, 1)) as demo:
        ready = gr.File()
        gr.Button().click(lambda: take_away.kept("a.zip", b"x"), None, ready, api_name="make")
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    try:
        Client(address, verbose=False, download_files=False).predict(api_name="/make")
        (made,) = tmp_path.rglob("a.zip")
        deadline = time.monotonic() + 20
        while made.exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not made.exists()
    finally:
        demo.close()
