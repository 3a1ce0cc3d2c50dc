"""A checkpoint says itself what it holds, and gives it back."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_networks import ABOUT, trained
from torch import nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from models import build_model
from models.checkpoints import load_checkpoint, save_checkpoint

KINDS = [
    ("resnet18", "drtam", {"s": 2, "n": 3}),
    ("resnet18", "cbam", {}),
    ("resnet18", "ca", {}),
    ("resnet18", None, {}),
    ("resnet18", "drtam", {"placement": "stage"}),
    ("mobilenet_v2_075", "drtam", {"n": 4}),
]


@pytest.mark.parametrize(("backbone", "attention", "more"), KINDS)
def test_a_network_comes_back_from_its_file_alone(tmp_path, backbone, attention, more):
    network, image = trained(backbone, attention, **more), torch.randn(2, 3, 64, 48)
    path = tmp_path / "network.safetensors"
    save_checkpoint(network, path, **ABOUT)
    loaded = load_checkpoint(path)
    about = {**asdict(loaded.description), "classes": list(loaded.description.classes)}
    assert about == {**ABOUT, "spec": asdict(network.spec)}
    assert loaded.model.spec == network.spec == loaded.description.spec
    assert not any(module.training for module in loaded.model.modules())
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())
    with torch.no_grad():
        assert torch.equal(loaded.model(image), network(image))
    assert [p.name for p in tmp_path.iterdir()] == ["network.safetensors"]


def test_whole_numbers_may_be_numpys(tmp_path):
    s, n, r, count, seed, side = np.array((2, 3, 8, 3, 5, 64))
    network = build_model("resnet18", "drtam", s=s, n=n, r=r, num_classes=count, seed=seed)
    assert str(network) == str(
        build_model("resnet18", "drtam", s=2, n=3, r=8, num_classes=3, seed=5)
    )
    about = ABOUT | {"classes": list("abc"), "input_size": side}
    save_checkpoint(network, tmp_path / "network.safetensors", **about)
    found = load_checkpoint(tmp_path / "network.safetensors").description
    assert (found.spec, found.input_size) == (network.spec, 64)


def test_a_detector_comes_back_with_anchors_on_its_own_device(tmp_path):
    network: Any = build_model("maskrcnn_resnet18", "drtam", num_classes=3, seed=1).eval()
    save_checkpoint(network, tmp_path / "detector", **ABOUT)
    loaded: Any = load_checkpoint(tmp_path / "detector").model
    assert loaded.spec == network.spec
    image = torch.rand(3, 64, 48)
    for model in (network, loaded):
        model.transform = GeneralizedRCNNTransform(64, 64, [0.5] * 3, [0.25] * 3)
        model.roi_heads.detections_per_img = 3
        model.rpn._post_nms_top_n = {"testing": 6}
    with torch.no_grad():
        (expected,), (found,) = network([image]), loaded([image])
    assert len(found["boxes"]) > 0
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_an_fcn_comes_back_with_both_heads(tmp_path):
    network = build_model("fcn_resnet50", "ca", placement="stage", num_classes=3, seed=1).eval()
    save_checkpoint(network, tmp_path / "fcn", **ABOUT)
    loaded, image = load_checkpoint(tmp_path / "fcn").model, torch.randn(1, 3, 40, 33)
    with torch.no_grad():
        expected, found = network(image), loaded(image)
    assert all(torch.equal(expected[head], found[head]) for head in ("out", "aux"))


@pytest.mark.parametrize(("backbone", "attention", "more"), [KINDS[0], KINDS[-1]])
def test_half_precision_halves_the_file_and_hardly_changes_the_output(
    tmp_path, backbone, attention, more
):
    network, image = trained(backbone, attention, **more), torch.randn(2, 3, 64, 48)
    for name, half in (("whole", False), ("half", True)):
        save_checkpoint(network, tmp_path / name, **ABOUT, half=half)
    assert os.path.getsize(tmp_path / "half") < 0.55 * os.path.getsize(tmp_path / "whole")
    loaded = load_checkpoint(tmp_path / "half").model
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    with torch.no_grad():
        expected = network(image)
        error = (loaded(image) - expected).norm() / expected.norm()
    assert 0 < error < 5e-3


def test_accuracy_and_recipe_may_be_missing(tmp_path):
    path = tmp_path / "network.safetensors"
    required = {name: ABOUT[name] for name in ("classes", "input_size", "mean", "std")}
    save_checkpoint(trained(), path, **required)
    about = load_checkpoint(path).description
    assert about.accuracy is None
    assert about.recipe is None


def test_shared_weights_are_stored_once_and_stay_shared(file):
    assert not any("complement.mlp" in name for name in load_file(file))
    module = load_checkpoint(file).model.features[3].conv[1].attention
    assert module.initial.mlp[0].weight is module.complement.mlp[0].weight


def test_a_loaded_network_does_not_depend_on_its_file(file):
    network, image = load_checkpoint(file).model, torch.randn(1, 3, 64, 64)
    before = network(image)
    file.write_bytes(bytes(file.stat().st_size))
    assert torch.equal(network(image), before)


def test_loading_leaves_torchs_generator_alone(file):
    state = torch.random.get_rng_state()
    load_checkpoint(file)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_failed_save_leaves_the_old_file(file, saved, monkeypatch):
    def fail(path: Path, content: bytes) -> None:
        with path.open("wb") as half_written:
            half_written.write(content[: len(content) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(trained(), file, **ABOUT)
    assert file.read_bytes() == saved
    assert list(file.parent.iterdir()) == [file]


def test_a_saved_file_can_be_read_by_others(tmp_path):
    save_checkpoint(trained(), tmp_path / "network.safetensors", **ABOUT)
    (tmp_path / "usual").touch()
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def renamed_class(network: nn.Module) -> None:
    network.fc = nn.Linear(512, 7)


def broken_weight(network: nn.Module) -> None:
    network.fc.bias.data[0] = float("nan")


def huge_weight(network: nn.Module) -> None:
    network.fc.weight.data[0, 0] = 1e6


@pytest.mark.parametrize(
    ("change", "about", "says"),
    [
        (lambda network: delattr(network, "spec"), {}, "must be a network of build_model"),
        (renamed_class, {}, "no longer .* fc.bias float .7. for float .3."),
        (broken_weight, {}, "NaN, infinite .*: fc.bias"),
        (huge_weight, {"half": True}, "too large weights: fc.weight"),
        (id, {"classes": ["a"]}, "as many names"),
        (id, {"std": (0.1, 0.1, -0.1)}, "std must be a tuple of three numbers"),
        (id, {"input_size": 0}, "input_size must be a whole number"),
        (id, {"accuracy": {"top1": float("nan")}}, "accuracy must be what JSON can hold"),
        (id, {"accuracy": {"top1": torch.zeros(1)}}, "accuracy must be what JSON can hold"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path, change, about, says):
    network = trained()
    change(network)
    with pytest.raises(ValueError, match=says):
        save_checkpoint(network, tmp_path / "x.safetensors", **{**ABOUT, **about})
    assert not list(tmp_path.iterdir())
