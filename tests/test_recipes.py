"""Presets, schedules, averages, and the weights that a training starts from."""

from __future__ import annotations

import urllib.error

import pytest
import torch
import torchvision
from torch.optim.swa_utils import AveragedModel

from experiments.recipe import PRESETS, Recipe
from experiments.schedule import rate_at
from experiments.training import rising_average
from experiments.weights import start_from
from models import build_model


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
