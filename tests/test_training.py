"""Trainings that are stopped, shared, or told nonsense; and that they learn."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file
from shapes import CLASSES, write_folder
from torch.optim.swa_utils import AveragedModel
from trainings import kill_after

from experiments.recipe import PRESETS, Recipe
from experiments.schedule import rate_at
from experiments.server import ROOT
from experiments.train import main
from experiments.training import rising_average
from experiments.weights import start_from
from models import build_model
from models.checkpoints import load_checkpoint

SMALL = ["--backbone", "resnet18", "--size", "32", "--photo-size", "32", "--batch", "24"]
SMALL += ["--rate", "0.05", "--warmup", "1", "--ema", "0.9", "--mixup", "0.2"]


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
        (["--accumulate", "0"], "accumulate must be a whole number of at least 1, not 0"),
        (["--rate", "nan"], "rate must be above 0, not nan"),
        (["--momentum", "1"], "momentum must be from 0 to below 1, not 1.0"),
        (["--size", "-5"], "size must be from 1 to 4096, not -5"),
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


def test_the_average_of_a_short_training_is_no_average_of_its_first_steps():
    model = torch.nn.Linear(1, 1)
    averaged = AveragedModel(model, multi_avg_fn=rising_average(0.9))
    expected = None
    for step in range(200):
        torch.nn.init.constant_(model.weight, step)
        averaged.update_parameters(model)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = step if expected is None else decay * expected + (1 - decay) * step
        assert averaged.module.weight.item() == pytest.approx(expected, rel=1e-4)
        if step == 9:
            assert expected > 5.5  # 2.8 without the rise


def test_the_presets_are_section_4_1():
    printed = {
        "paper-resnet50": (100, 128, 0.2, 1e-4),
        "paper-resnet101": (100, 96, 0.2, 1e-4),
        "paper-mobilenetv2": (300, 64, 0.045, 4e-5),
    }
    for name, values in printed.items():
        recipe = PRESETS[name]
        found = (recipe.epochs, recipe.batch, recipe.rate, recipe.weight_decay)
        assert found == values
        assert (recipe.momentum, recipe.size, recipe.ema) == (0.9, 224, 0)


@pytest.mark.parametrize("schedule", ["step", "1x", "epoch", "cosine", "onecycle", "poly"])
def test_the_rate_follows_torchs_schedules(schedule):
    recipe = Recipe(50, 32, 0.3, 0, schedule=schedule, warmup=10 if schedule == "onecycle" else 0)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    kinds = torch.optim.lr_scheduler
    reference = {
        "step": lambda: kinds.MultiStepLR(optimizer, [15, 30, 45]),
        "1x": lambda: kinds.MultiStepLR(optimizer, [34, 46]),  # 33.3 and 45.8
        "epoch": lambda: kinds.StepLR(optimizer, 1, 0.98),
        "poly": lambda: kinds.PolynomialLR(optimizer, 50, 0.9),
        "cosine": lambda: kinds.CosineAnnealingLR(optimizer, 50),
        "onecycle": lambda: kinds.OneCycleLR(
            optimizer, 0.3, 51, pct_start=11 / 51, cycle_momentum=False, final_div_factor=1e12
        ),
    }[schedule]()
    for epoch in range(51):
        rate = optimizer.param_groups[0]["lr"]
        if schedule == "poly":  # torch's ends at 0
            rate = 0.003 + 0.99 * rate
        assert 0.3 * rate_at(recipe, epoch) == pytest.approx(rate, abs=1e-9)
        optimizer.step()
        if epoch < 50:
            reference.step()


def test_warm_up_rises_in_a_straight_line():
    recipe = Recipe(50, 32, 0.3, 0, schedule="cosine", warmup=4)
    assert [rate_at(recipe, epoch) for epoch in (0, 1, 2, 4)] == [0, 0.25, 0.5, 1]


@pytest.mark.parametrize("wrap", [dict, lambda s: {f"module.{k}": v for k, v in s.items()}])
def test_a_backbone_with_another_head_is_a_start(tmp_path, wrap):
    reference = torchvision.models.resnet18().state_dict()
    torch.save({"state_dict": wrap(reference)}, tmp_path / "weights.pth")
    network = build_model("resnet18", "drtam", num_classes=7)
    fresh = start_from(network, str(tmp_path / "weights.pth"))
    assert {"fc.weight", "fc.bias"} <= set(fresh)
    assert all(".attention." in name for name in fresh if not name.startswith("fc."))
    own = network.state_dict()
    assert all(torch.equal(own[k], v) for k, v in reference.items() if not k.startswith("fc."))


def test_files_without_counts_of_batches_are_a_start_too(tmp_path):
    state = torchvision.models.resnet18().state_dict()
    old = {name: value for name, value in state.items() if "num_batches" not in name}
    torch.save(old, tmp_path / "weights.pth")
    network = build_model("resnet18", num_classes=7)
    start_from(network, str(tmp_path / "weights.pth"))
    assert torch.equal(network.state_dict()["layer4.1.bn2.bias"], old["layer4.1.bn2.bias"])


def test_attention_goes_on_from_its_weights_or_starts_fresh(tmp_path):
    trained, goes_on, fresh = (
        build_model("resnet18", "drtam", num_classes=7, seed=seed) for seed in (0, 1, 1)
    )
    torch.save(trained.state_dict(), tmp_path / "weights.pth")
    random = {k: v.clone() for k, v in fresh.state_dict().items()}
    assert start_from(goes_on, str(tmp_path / "weights.pth")) == []
    names = start_from(fresh, str(tmp_path / "weights.pth"), fresh_attention=True)
    assert names == [name for name in random if ".attention." in name]
    for name, weight in trained.state_dict().items():
        assert torch.equal(goes_on.state_dict()[name], weight)
        expected = random[name] if name in names else weight
        assert torch.equal(fresh.state_dict()[name], expected)
    assert not torch.equal(random[names[0]], trained.state_dict()[names[0]])


def test_weights_of_another_backbone_are_refused(tmp_path):
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"does not fit resnet50: \d+ of its tensors"):
        start_from(build_model("resnet50"), str(tmp_path / "weights.pth"))


def test_weights_that_cannot_be_downloaded_say_so(monkeypatch):
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", offline)
    with pytest.raises(ValueError, match=r"could not be downloaded .*give the file"):
        start_from(build_model("resnet18"), "IMAGENET1K_V1")
