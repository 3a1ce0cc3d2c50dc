"""Which networks the page offers, and which it compares."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import build_model
from models.checkpoints import save_checkpoint
from ui import networks
from ui.networks import Embedded, Untrained, catalogue, load, rivals

CLASSES = ("lion", "tower")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of checkpoints in place of the embedded ones."""
    monkeypatch.setattr(networks, "CHECKPOINTS", tmp_path)
    for name, backbone, attention, classes in (
        ("a", "resnet18", "ca", CLASSES),
        ("b", "resnet18", "drtam", CLASSES),
        ("c", "resnet18", None, CLASSES),
        ("d", "resnet18", "cbam", ("other", "classes")),
        ("e", "resnet34", "drtam", CLASSES),
    ):
        save_checkpoint(
            build_model(backbone, attention, num_classes=2, seed=1),
            tmp_path / f"{name}.safetensors",
            classes=classes,
            input_size=64,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        )
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
    }


@pytest.mark.usefixtures("shelf")
def test_an_untrained_network_is_compared_with_untrained_ones_of_its_seed():
    found = rivals(Untrained("mobilenet_v2", "ca", r=16, seed=5))
    assert found == {
        "drtam": Untrained("mobilenet_v2", "drtam", n=4, seed=5),
        "cbam": Untrained("mobilenet_v2", "cbam", r=16, seed=5),
        "ca": Untrained("mobilenet_v2", "ca", r=16, seed=5),
    }
