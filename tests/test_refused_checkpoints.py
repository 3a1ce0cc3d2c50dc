"""A checkpoint that does not fit is refused with the reason."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_networks import KEY

from models.checkpoints import CheckpointError, load_checkpoint


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], Any]) -> None:
    """Apply ``change(tensors, description)`` to a file."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    tensors, description = load_file(path), json.loads(metadata[KEY])
    change(tensors, description)
    save_file(tensors, path, metadata={KEY: json.dumps(description)})


def test_a_file_of_another_program_with_the_same_content_loads(file):
    rewrite(file, lambda *_: None)
    load_checkpoint(file)


def test_what_differs_is_listed(file):
    def change(tensors: dict[str, torch.Tensor], _: Any) -> None:
        del tensors["features.0.1.weight"]
        tensors["classifier.1.weight"] = torch.zeros(5, 1280)
        tensors["features.0.1.bias"] = torch.zeros(16, dtype=torch.int64)
        tensors |= {f"extra.{i:02}": torch.zeros(1) for i in range(12)}

    rewrite(file, change)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(file)
    message = str(error.value)
    assert "save it again with save_checkpoint" in message
    assert "Missing: features.0.1.weight." in message
    assert "classifier.1.weight float [5, 1280] for float [3, 1280]" in message
    assert "features.0.1.bias int [16] for float [16]" in message
    assert "Unexpected: extra.00, " in message
    assert "extra.07 and 4 more." in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, _: t["classifier.1.bias"].fill_(float("nan")), "NaN or .*: classifier.1.bias"),
        (lambda t, _: t["features.0.0.weight"].fill_(-float("inf")), "NaN or infinite"),
        (lambda _, d: d.update(version=2), "version is 2, and only 1 is known"),
        (lambda _, d: d.pop("version"), "version is None"),
        (lambda _, d: d.pop("mean"), "it must give exactly spec, classes, .*, recipe"),
        (lambda _, d: d.update(code="x"), "it must give exactly"),
        (lambda _, d: d["spec"].update(backbone="vgg"), "backbone must be one of 'resnet18'"),
        (lambda _, d: d["spec"].update(backbone="resnet18"), "does not hold the network"),
        (lambda _, d: d["spec"].update(s=-1), "s must be a whole number from 1 to 16, not -1"),
        (lambda _, d: d["spec"].update(n=True), "n must be a whole number"),
        (lambda _, d: d["spec"].update(num_classes=10**9), "num_classes must be .* 100000"),
        (lambda _, d: d["spec"].update(num_classes="3"), "num_classes must be"),
        (lambda _, d: d["spec"].update(code="x"), "its spec must give exactly backbone"),
        (lambda _, d: d["spec"].update(attention=["drtam"]), "attention must be one of"),
        (lambda _, d: d["spec"].update(attention="cbam"), "does not hold the network"),
        (lambda _, d: d["spec"].update(attention=None), "Unexpected: features.1.conv.0.attention"),
        (lambda _, d: d.update(spec="resnet50"), "its spec must give exactly"),
        (lambda _, d: d.update(classes=["a"]), "as many names .* 3, not 1"),
        (
            lambda _, d: d.update(classes=[1, 2, 3]),
            "classes must be a list of names of at most 500",
        ),
        (lambda _, d: d.update(classes="abc"), "classes must be a list"),
        (lambda _, d: d.update(std=[0.5, 0.5, 0.0]), "std must be above 0"),
        (lambda _, d: d.update(mean=["0", "0", "0"]), "mean must be a tuple of three numbers"),
        (lambda _, d: d.update(mean=[0.5]), "mean must be a tuple of three numbers"),
        (lambda _, d: d.update(mean=[0.5, 0.5, float("nan")]), "mean must be a tuple"),
        (lambda _, d: d.update(mean=[0.5, 0.5, 10**400]), "mean must be a tuple"),
        (lambda _, d: d.update(mean=None), "mean must be a list"),
        (lambda _, d: d.update(input_size="64"), "input_size must be a whole number"),
        (lambda _, d: d.update(input_size=10**9), "input_size must be .* 4096"),
        (lambda _, d: d.update(accuracy="high"), "accuracy must be a dictionary or None"),
        (lambda _, d: d.update(recipe=5), "recipe must be text or None"),
        (lambda _, d: d.update(recipe=["x" * 10_000]), "recipe must be text"),
    ],
)
def test_a_lying_file_is_refused_with_the_reason(file, change, says):
    rewrite(file, change)
    with pytest.raises(CheckpointError, match=says) as error:
        load_checkpoint(file)
    assert len(str(error.value)) < 1500


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is not JSON"),
        ("nonsense", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("1" * 5000, "it is not JSON"),
        ("[]", "its version is None"),
        ('"text"', "its version is None"),
        ("null", "its version is None"),
        ('{"version": 1}', "it must give exactly"),
        (" " * 4_000_001, "it has 4000001 characters, more than 4000000"),
    ],
    ids=lambda value: value[:12],
)
def test_a_description_that_is_none_is_refused(file, text, says):
    save_file(load_file(file), file, metadata={KEY: text})
    with pytest.raises(CheckpointError, match=f"cannot be used: {says}.*Save the network again"):
        load_checkpoint(file)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_somebody_elses_safetensors_file_is_refused(tmp_path, metadata):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"does not say which network .* choose a file"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda _: b"", "not a safetensors file: choose one"),
        (lambda whole: whole[:5], "not a safetensors file"),
        (lambda _: b"<html>not found</html>", "not a safetensors file"),
        (lambda _: bytes(2000), "not a safetensors file"),
        (lambda whole: whole[:200], "damaged or incomplete: copy or download it again"),
        (lambda whole: whole[: len(whole) // 2], "damaged or incomplete"),
        (lambda whole: whole[:-1], "damaged or incomplete"),
        (lambda whole: whole + b"\0", "damaged or incomplete"),
        (lambda whole: struct.pack("<Q", 2**60) + whole[8:], "damaged or incomplete"),
        (lambda whole: b"PK\x03\x04" + whole, "a pickle"),
    ],
)
def test_a_damaged_file_is_refused(file, saved, damage, says):
    file.write_bytes(damage(saved))
    with pytest.raises(CheckpointError, match=f"small.safetensors is {says}"):
        load_checkpoint(file)


def test_a_path_without_a_file_is_refused(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="There is no file"):
            load_checkpoint(path)


class Malicious:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.victim,)


def test_code_in_a_file_does_not_run(tmp_path):
    sentinel = tmp_path / "executed"
    plain, zipped = tmp_path / "pickle.safetensors", tmp_path / "torch.safetensors"
    plain.write_bytes(pickle.dumps(Malicious(sentinel)))
    torch.save(Malicious(sentinel), zipped)
    for path in (plain, zipped):
        with pytest.raises(CheckpointError, match="is a pickle, which could run code"):
            load_checkpoint(path)
    assert not sentinel.exists()
    pickle.loads(plain.read_bytes())
    assert sentinel.exists()  # the attack is real
