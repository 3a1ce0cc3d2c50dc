"""Trainings that are stopped, shared, or told nonsense; and that they learn."""

from __future__ import annotations

import csv
import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file
from shapes import CLASSES, write_folder
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trainings import kill_after

from experiments.recipe import Recipe
from experiments.server import ROOT
from experiments.train import main
from models.checkpoints import load_checkpoint

SMALL = ["--backbone", "resnet18", "--size", "32", "--photo-size", "32", "--batch", "24"]
SMALL += ["--rate", "0.05", "--warmup", "0.6", "--ema", "0.9", "--mixup", "0.2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("shapes"))


def options(data: Path, out: Path, *more: str, epochs: int = 3) -> list[str]:
    cache = ["--cache", str(data.parent / "cache"), "--out", str(out)]
    return [str(data), *cache, *SMALL, "--epochs", str(epochs), *more]


def state(out: Path) -> dict[str, torch.Tensor]:
    found = torch.load(out / "state.pt", weights_only=True)
    return {f"{part}.{k}": v for part in ("model", "averaged") for k, v in found[part].items()}


def epochs(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["photos_per_second"]
    return rows


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    main(options(data, out))
    return out


def test_a_killed_training_goes_on_to_the_same_weights(data, whole, tmp_path):
    out = tmp_path / "killed"
    for steps in (2, 7):  # in the first epoch, and in the second of five steps each
        kill_after(steps, options(data, out), out)
    assert not (out / "model.safetensors").exists()
    main(options(data, out))
    expected, found = state(whole), state(out)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert epochs(out) == epochs(whole)
    for name, value in load_file(whole / "model.safetensors").items():
        assert torch.equal(load_file(out / "model.safetensors")[name], value)


def test_two_processes_train_what_one_trains_in_two_parts(data, tmp_path):
    cache = ["--cache", str(tmp_path / "cache")]  # fresh: only one of the two may decode
    train = ["-m", "experiments.train", *options(data, tmp_path / "two", epochs=1), *cache]
    together = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # rounding depends on their number
    for command in (
        [*together, "--nproc-per-node", "2", *train],
        [sys.executable, *train, "--accumulate", "2", "--out", str(tmp_path / "one")],
    ):
        subprocess.run(
            command, cwd=ROOT, check=True, capture_output=True, env=one_thread, timeout=300
        )
    expected, found = state(tmp_path / "one"), state(tmp_path / "two")
    for name, value in expected.items():
        if "running" not in name and "num_batches" not in name:  # those are each process's own
            torch.testing.assert_close(found[name], value)
    losses = [float(epochs(tmp_path / out)[0]["loss"]) for out in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1])


def test_a_training_learns_and_says_what_it_is(data, tmp_path, capsys):
    more = ["--attention", "none", "--mixup", "0", "--smallest-crop", "0.7", "--seed", "3"]
    main(options(data, tmp_path, *more, epochs=15))
    rows = epochs(tmp_path)
    assert [row["epoch"] for row in rows] == [str(k) for k in range(1, 16)]
    assert float(rows[-1]["top1"]) > 75  # chance: 33
    checkpoint = load_checkpoint(tmp_path / "model.safetensors")
    about = checkpoint.description
    assert about.classes == CLASSES
    assert (about.spec.backbone, about.spec.attention, about.input_size) == ("resnet18", None, 32)
    assert about.accuracy["top1"] == float(rows[-1]["top1"])
    assert about.recipe.startswith("python -m experiments.train ")
    assert re.search(r"--epochs 15 .*--seed 3 .*torch 2\.", about.recipe)
    assert f"top-1 {float(rows[-1]['top1']):.2f} %" in capsys.readouterr().out
    assert list((tmp_path / "log").iterdir())


def test_the_authors_implementation_is_trained_where_asked_for(data, tmp_path):
    main(options(data, tmp_path, "--implementation", "authors", epochs=1))
    checkpoint = load_checkpoint(tmp_path / "model.safetensors")
    assert checkpoint.description.spec.implementation == "authors"
    assert "layer1.0.attention.initial.channel_norm.weight" in checkpoint.model.state_dict()


def test_a_teacher_and_weights_to_start_from(data, whole, tmp_path):
    model = str(whole / "model.safetensors")
    more = ["--backbone-weights", model, "--rate", "1e-12"]
    main(options(data, tmp_path, "--distill-from", model, *more, epochs=1))
    plain = tmp_path / "undistilled"
    main(options(data, plain, *more, epochs=1))
    assert float(epochs(tmp_path)[0]["loss"]) != float(epochs(plain)[0]["loss"])
    first, then = load_checkpoint(plain / "model.safetensors").description.recipe.split("\n")
    assert first == load_checkpoint(whole / "model.safetensors").description.recipe
    assert f"--backbone-weights {model}" in then
    after = state(plain)
    for name, start in load_file(model).items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(after[f"model.{name}"], start.float(), rtol=0, atol=1e-9)


def test_a_training_goes_on_with_its_own_settings_only(data, whole):
    with pytest.raises(ValueError, match=r"a training with another rate: .* or another --out"):
        main(options(data, whole, "--rate", "0.07"))
    with pytest.raises(ValueError, match="a training with another backbone_weights: "):
        main(options(data, whole, "--backbone-weights", str(whole / "model.safetensors")))


def test_a_training_that_has_ended_stays_as_it_is(data, whole, tmp_path, capsys):
    out = tmp_path / "ended"
    shutil.copytree(whole, out)
    file = out / "model.safetensors"
    before = file.stat().st_mtime_ns
    main(options(data, out))
    assert file.stat().st_mtime_ns == before
    assert f"has ended before: {file}" in capsys.readouterr().out
    file.unlink()  # as if it had been killed right before
    main(options(data, out))
    for name, value in load_file(whole / "model.safetensors").items():
        assert torch.equal(load_file(file)[name], value)
    shown = EventAccumulator(str(out / "log")).Reload()
    assert [point.step for point in shown.Scalars("top1")] == [5, 10, 15]


def test_a_state_without_room_or_damaged_is_a_sentence(data, tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(torch, "save", Mock(side_effect=full))
    with pytest.raises(ValueError, match=r"state.pt could not be written .*No space left"):
        main(options(data, tmp_path, epochs=1))
    assert not list(tmp_path.glob("state*"))
    for content in (b"", b"PK\x03\x04 damaged"):
        (tmp_path / "state.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"state.pt is damaged: put a copy of it there, or"):
            main(options(data, tmp_path, epochs=1))


def test_names_that_no_checkpoint_holds_are_refused_before_the_training(data, tmp_path):
    named = tmp_path / "named"
    shutil.copytree(data, named)
    for split in ("train", "val"):
        (named / split / CLASSES[0]).rename(named / split / "two\nlines")
    with pytest.raises(ValueError, match=r"in one line, not 'two\\nlines'"):
        main(options(named, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_validation_photos_of_other_classes_are_refused(data, tmp_path):
    less = tmp_path / "less"
    shutil.copytree(data, less)
    shutil.rmtree(less / "val" / CLASSES[1])
    with pytest.raises(ValueError, match=rf"same classes .* only one has {CLASSES[1]}$"):
        main(options(less, tmp_path / "out"))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--batch", "25", "--accumulate", "2"], "batch must be a multiple .* = 2, not 25"),
        (["--batch", "121"], "batch must be at most the 120 photos, not 121"),
        (["--batch", "0"], "batch must be at least 1, not 0"),
        (["--epochs", "0"], "epochs must be at least 1, not 0"),
        (["--warmup", "3"], "warmup must be below epochs = 3, not 3.0: the rate would only rise"),
        (["--accumulate", "0"], "accumulate must be a whole number of at least 1, not 0"),
        (["--rate", "nan"], "rate must be above 0, not nan"),
        (["--momentum", "1"], "momentum must be from 0 to below 1, not 1.0"),
        (["--size", "-5"], "size must be from 1 to 4096, not -5"),
        (["--photo-size", "0"], "size must be a whole number from 1 to 4096, not 0"),
        (["--photo-size", "-3"], "size must be a whole number from 1 to 4096, not -3"),
        (["--s", "17"], "s must be a whole number from 1 to 16, not 17"),
        (["--backbone-weights", "nowhere"], "'nowhere' is neither a file nor one of IMAGENET1K"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(data, tmp_path, more, says):
    with pytest.raises(ValueError, match=says):
        main(options(data, tmp_path, *more))


def test_a_schedule_that_is_none_is_no_option(data, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(options(data, tmp_path, "--schedule", "consine"))
    assert re.search(r"invalid choice: '?consine", capsys.readouterr().err)
    with pytest.raises(ValueError, match=r"schedule must be one of step, 1x, .* not consine"):
        Recipe(1, 1, 1, 0, schedule="consine")


def test_one_class_is_refused(tmp_path):
    data = write_folder(tmp_path / "data", train=2, val=1)
    for kind in CLASSES[1:]:
        for split in ("train", "val"):
            shutil.rmtree(data / split / kind)
    with pytest.raises(ValueError, match="must have 2 to 100000 classes, not 1"):
        main(options(data, tmp_path, "--batch", "2"))
