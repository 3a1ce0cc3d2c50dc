"""Which networks the page offers, and which it compares."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_published import checkpoint, plain

from models import build_model, hub
from models.checkpoints import save_checkpoint
from ui import checkpoints, compare, inputs, networks
from ui.compute import Photo, explain
from ui.inputs import EXAMPLES
from ui.layer import OWN
from ui.networks import Embedded, Opened, Untrained, catalogue, distinct, load
from ui.rivals import rivals
from ui.session import MOST_PROBABLE
from ui.tiles import NOTHING, NOWHERE, Tile, cam_tile

CLASSES = ("lion", "tower")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints."""
    folder = tmp_path_factory.mktemp("shelf")
    for name, backbone, attention, classes in (
        ("a", "resnet18", "ca", CLASSES),
        ("b", "resnet18", "drtam", CLASSES),
        ("c", "resnet18", None, CLASSES),
        ("d", "resnet18", "cbam", ("other", "classes")),
        ("e", "resnet34", "drtam", CLASSES),
    ):
        save_checkpoint(
            build_model(backbone, attention, num_classes=2, seed=1),
            folder / f"{name}.safetensors",
            classes=classes,
            input_size=64,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        )
    return folder


@pytest.fixture
def shelf(tmp_path: Path, filled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in place of the embedded ones, for a test to change."""
    monkeypatch.setattr(networks, "CHECKPOINTS", tmp_path)
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_without_checkpoints_the_default_is_an_untrained_drtam_resnet_50(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "CHECKPOINTS", tmp_path)
    label, source = next(iter(catalogue().items()))
    assert label == "DRTAM-ResNet-50 (S=3, N=1, r=32), untrained, seed 0"
    assert source == Untrained()
    assert not load(source).trained


@pytest.mark.usefixtures("shelf")
def test_trained_networks_come_first_and_drtam_before_all():
    labels = list(catalogue())
    assert labels[:4] == [
        "DRTAM-ResNet-18 (S=3, N=1, r=32), trained (b)",
        "DRTAM-ResNet-34 (S=3, N=1, r=32), trained (e)",
        "CBAM-ResNet-18 (r=32), trained (d)",
        "CA-ResNet-18 (r=32), trained (a)",
    ]
    assert not any("(c)" in label for label in labels)  # no attention, nothing to show
    network = load(catalogue()[labels[0]])
    assert network.trained
    assert network.classes == CLASSES


def test_a_trained_network_is_compared_with_those_trained_for_its_classes(shelf):
    found = rivals(Embedded(shelf / "b.safetensors"))
    assert found == {
        "drtam": Embedded(shelf / "b.safetensors"),
        "ca": Embedded(shelf / "a.safetensors"),
        "cbam": Untrained("resnet18", "cbam", r=16),
        "none": Embedded(shelf / "c.safetensors", places=True),
    }


@pytest.mark.usefixtures("shelf")
def test_compare_says_what_each_trained_network_takes_the_photo_for():
    photo = Photo.open(next(iter(EXAMPLES.values())))
    choices = (photo, next(iter(catalogue())), 64, MOST_PROBABLE, None)
    about, *_ = compare.draw(*choices, scale=OWN)
    ours, cbam, ca, plain = about.splitlines()[1:]
    assert re.fullmatch(r"- DRTAM.*, trained \(b\), says (lion|tower) \(\d+\.\d%\)", ours)
    assert re.fullmatch(r"- CA.*, trained \(a\), says (lion|tower) \(\d+\.\d%\)", ca)
    assert re.fullmatch(r"- ResNet-18, trained \(c\), says (lion|tower) \(\d+\.\d%\)", plain)
    assert cbam.endswith("untrained, seed 0")
    own = explain(photo, catalogue()[choices[1]], 64, None).analysis.probabilities[0]
    assert f"{CLASSES[own.argmax()]} ({own.max():.1%})" in ours


def test_a_gradcam_that_is_0_everywhere_says_why():
    label, source = next(iter(catalogue().items()))
    zero = {}
    for file in EXAMPLES.values():
        layers = explain(Photo.open(file), source, 128, None).analysis.layers.items()
        zero |= {(file, name): not layer.gradcam.any() for name, layer in layers}
    assert set(zero.values()) == {True, False}
    for found in (True, False):
        file, layer = next(at for at, empty in zero.items() if empty == found)
        choices = (Photo.open(file), label, 128, MOST_PROBABLE, layer)
        *_, cams, matrix = compare.draw(*choices, scale=OWN)
        first = cams.split("<figure")[1]
        assert (NOWHERE in first) == found
        said = matrix.data[0].text[3]  # DRTAM's Grad-CAM and the other maps
        assert (said[0] == "–") == found
        if found:
            assert "a map is the same everywhere" in matrix.layout.title.text
    analysis = explain(Photo.open(file), source, 128, None).analysis
    nothing = dataclasses.replace(analysis, probabilities=0 * analysis.probabilities)
    tile = Tile("Grad-CAM", torch.zeros(3, 3), "map")
    assert cam_tile(tile, analysis).remark == NOWHERE
    assert cam_tile(tile, nothing).remark == NOTHING  # a detector without a box


def test_a_view_opens_on_the_last_layer_whose_gradcam_points_anywhere():
    view = explain(Photo.open(next(iter(EXAMPLES.values()))), Untrained("resnet18"), 64, None)
    layers = view.analysis.layers
    names = list(layers)

    def opened(empty: list[str], asked: str | None = None) -> str:
        nowhere = {
            name: dataclasses.replace(layers[name], gradcam=0 * layers[name].gradcam)
            for name in empty
        }
        analysis = dataclasses.replace(view.analysis, layers=layers | nowhere)
        return dataclasses.replace(view, analysis=analysis).layer(asked)[0]

    assert opened([]) == opened(names) == names[-1]
    assert opened(names[-2:]) == names[-3]
    assert opened(names[-2:], names[-1]) == names[-1]


@pytest.mark.usefixtures("shelf")
def test_an_untrained_network_is_compared_with_untrained_ones_of_its_seed():
    found = rivals(Untrained("mobilenet_v2", "ca", r=16, seed=5))
    assert found == {
        "drtam": Untrained("mobilenet_v2", "drtam", n=4, seed=5),
        "cbam": Untrained("mobilenet_v2", "cbam", r=16, seed=5),
        "ca": Untrained("mobilenet_v2", "ca", r=16, seed=5),
        "none": Untrained("mobilenet_v2", None, seed=5, places=True),
    }


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_checkpoint_of_either_kind_is_opened(shelf, tmp_path, suffix):
    ours = load(Opened.of(shelf / "b.safetensors"))
    assert (ours.classes, ours.trained, ours.spec.attention) == (CLASSES, True, "drtam")
    path = tmp_path / f"theirs.{suffix}"
    state = plain(checkpoint("drtam_resnet18_block"))
    torch.save(state, path) if suffix == "pth" else save_file(state, path)
    theirs = load(Opened.of(path))
    assert theirs.classes == tuple(f"class {k}" for k in range(10))
    assert Opened.of(path).label == f"DRTAM-ResNet-18 (S=2, N=2, r=16), from theirs.{suffix}"


def test_keys_of_opened_checkpoints_cannot_be_guessed_and_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(checkpoints, "KEPT", 2)
    sources = [Opened.of(Path(f"{k}.pth")) for k in range(3)]
    keys = [checkpoints.remember(source) for source in sources]
    assert len({len(key) for key in keys}) == 1
    assert len(keys[0]) >= 20
    assert [checkpoints.recall(key) for key in keys] == [None, *sources[1:]]
    assert checkpoints.recall("0.pth") is None


class Hub:
    """The hub with one repository."""

    def __init__(self, *files: tuple[str, int]) -> None:
        self.files = [SimpleNamespace(rfilename=name, size=size) for name, size in files]

    def model_info(self, _: str, *, files_metadata: bool) -> SimpleNamespace:
        assert files_metadata
        return SimpleNamespace(siblings=self.files)


def test_the_hubs_best_file_is_taken(monkeypatch, tmp_path):
    files = (("a.bin", 5), ("README.md", 5), ("huge.safetensors", 10**12), ("b.pth", 5))
    tokens = []

    def fetch(_: str, name: str, *, cache_dir: Path, token: bool) -> Path:
        tokens.append(token)
        return cache_dir / name

    monkeypatch.setattr(hub, "HfApi", lambda token: tokens.append(token) or Hub(*files))
    monkeypatch.setattr(hub, "hf_hub_download", fetch)
    assert hub.download("user/name", tmp_path) == tmp_path / "b.pth"
    assert tokens == [False, False]  # whoever asks is not whose token lies on the machine
    monkeypatch.setattr(hub, "HfApi", lambda **_: Hub(files[1]))
    with pytest.raises(ValueError, match="user/name holds no file with weights"):
        hub.download("user/name")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RepositoryNotFoundError, "has no public model user/name"),
        (GatedRepoError, "has no public model user/name"),
        (HfHubHTTPError, "hub cannot be reached: download the file and upload it here"),
    ],
)
def test_what_the_hub_refuses_is_told_from_a_hub_that_is_down(error, says, monkeypatch):
    def refuse(**_: object) -> None:
        raise error("no", response=httpx.Response(503, request=httpx.Request("GET", "http://hub")))

    monkeypatch.setattr(hub, "HfApi", refuse)
    with pytest.raises(ValueError, match=says):
        hub.download("user/name")


@pytest.mark.parametrize("name", ["", "name", "../../etc/passwd", "a/b/c", "https://a/b"])
def test_what_is_no_repository_is_not_asked_for(name, monkeypatch):
    monkeypatch.setattr(hub, "HfApi", lambda **_: pytest.fail("asked"))
    with pytest.raises(ValueError, match="A repository is named user/name"):
        hub.download(name)


def test_without_a_network_the_hub_says_what_to_do(monkeypatch):
    def offline(**_: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub, "HfApi", offline)
    with pytest.raises(ValueError, match="cannot be reached: download the file and upload it"):
        hub.download("user/name")


def test_damaged_checkpoints_are_named_on_the_page_which_offers_the_rest(shelf):
    whole = (shelf / "b.safetensors").read_bytes()
    (shelf / "b.safetensors").write_bytes(whole[:-9])
    (shelf / "a.safetensors").write_bytes(b"")
    lost = load_file(shelf / "e.safetensors")
    lost["fc.bias"][0] = torch.nan
    with safe_open(shelf / "e.safetensors", framework="pt") as file:
        save_file(lost, shelf / "e.safetensors", file.metadata())
    with gr.Blocks() as page:
        session, *_ = inputs.build()
    labels = [label for label, _ in session.network.choices]
    assert labels[0] == "CBAM-ResNet-18 (r=32), trained (d)"
    assert "untrained" in labels[1]
    shown = [block.value for block in page.blocks.values() if hasattr(block, "value")]
    for name, why in (("a", "not a safetensors file"), ("b", "damaged"), ("e", "NaN")):
        assert any(f"{name}.safetensors" in str(text) and why in str(text) for text in shown)
    assert not any("/" in sentence for sentence in networks.damaged())


def test_classes_of_one_name_are_told_apart():
    assert distinct(["crane", "lion", "crane"]) == ("crane (0)", "lion", "crane (2)")
