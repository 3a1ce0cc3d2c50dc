"""Mask R-CNN learns shapes by the command; stopped and frozen trainings of it."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torchvision
from shapes import SOLIDS, write_coco
from torch import nn
from trainings import assert_goes_on, rows

from experiments.coco import open_coco
from experiments.detection import Detection, Detector
from experiments.evaluate import main as evaluate
from experiments.recipe import PRESETS, choose
from experiments.task import Part
from experiments.train import main
from experiments.weights import freeze, start_from
from models import build_model
from models.checkpoints import load_checkpoint

CPU = torch.device("cpu")
SMALL = ["--backbone", "maskrcnn_resnet18", "--size", "96", "--regions", "8"]
LEARNING = ["--epochs", "2", "--warmup", "0.7", "--workers", "0"]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco(tmp_path_factory.mktemp("few"), train=9, val=2)


def renamed(data: Path) -> Path:
    """The data, one category of which has another name now."""
    content = (data / "val.json").read_text()
    (data / "val.json").write_text(content.replace("disc", "ball"))
    return data


def test_a_detector_learns_shapes(tmp_path, capsys):
    # Chance: an untrained network's box and mask AP50 are 0.0.
    data = write_coco(tmp_path / "shapes", train=97, val=4)
    main([str(data), "--out", str(tmp_path), *SMALL, *LEARNING])
    last = rows(tmp_path)[-1]
    assert last["box_AP50"] > 25
    assert last["mask_AP50"] > 25
    about = load_checkpoint(tmp_path / "model.safetensors").description
    assert about.classes == ("background", *SOLIDS)
    assert (about.spec.backbone, about.spec.attention) == ("maskrcnn_resnet18", "drtam")
    assert about.accuracy["mask_AP"] == pytest.approx(last["mask_AP"])
    assert f"box AP {last['box_AP']:.2f} %, mask AP" in capsys.readouterr().out
    evaluate([str(tmp_path / "model.safetensors"), "--data", str(data), "--sizes", "96"])
    report = capsys.readouterr().out
    assert "| network | Param. | pixels | box_AP | box_AP50 |" in report
    assert re.search(rf"\| {tmp_path.name} \| \d\d\.\d\d M \| 96 \| [\d.]+ %", report)
    with pytest.raises(ValueError, match=r"must know the classes of .*, but knows others"):
        evaluate([str(tmp_path / "model.safetensors"), "--data", str(renamed(data))])


def test_a_killed_training_goes_on_to_the_same_weights(few, tmp_path):
    assert_goes_on([str(few), *SMALL, "--epochs", "2", "--warmup", "1"], tmp_path)


def test_a_photo_and_its_objects_are_flipped_together(few):
    data = open_coco(str(few), "train")
    task = Detection(PRESETS["short-maskrcnn"], data, data, CPU, seed=0, workers=0)
    assert len(task) == 8  # of nine photos, one is empty
    flipped = []
    for epoch in range(6):
        ((photo, target),) = next(task.feed(iter([Part(torch.tensor([0]), epoch)])))
        objects = data.objects(task.ids[0])
        pixels = torchvision.transforms.v2.functional.pil_to_tensor(data.photo(task.ids[0]))
        flipped.append(not torch.equal(photo, pixels))
        boxes, masks = torch.from_numpy(objects.boxes), torch.from_numpy(objects.masks)
        if flipped[-1]:
            assert torch.equal(photo, pixels.flip(2))
            boxes, masks = boxes[:, [2, 1, 0, 3]], masks.flip(2)
            boxes[:, ::2] = 96 - boxes[:, ::2]
        assert torch.equal(target["boxes"], boxes)
        assert torch.equal(target["masks"], masks)
    assert set(flipped) == {True, False}


@pytest.mark.parametrize("attention", [None, "drtam"])
def test_loaded_stages_and_statistics_stay_and_what_is_fresh_learns(few, tmp_path, attention):
    classifier = build_model("resnet18", attention, num_classes=7, seed=3)
    torch.save(classifier.state_dict(), tmp_path / "weights.pth")
    model = build_model("maskrcnn_resnet18", "drtam", num_classes=4, seed=0)
    freeze(model, 1, start_from(model, str(tmp_path / "weights.pth")))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    data = open_coco(str(few), "train")
    task = Detection(PRESETS["short-maskrcnn"], data, data, CPU, seed=0, workers=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=0.1)
    batch = next(task.feed(iter([Part(torch.arange(2), 0)])))
    task.loss(task.running(model), batch).backward()
    optimizer.step()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    loaded = {f"backbone.body.{name}" for name in classifier.state_dict()}
    frozen = tuple(f"backbone.body.{part}" for part in ("conv1", "bn1", "layer1"))
    stays = {k for k in loaded & before.keys() if k.startswith(frozen) or "running" in k}
    assert stays
    assert not changed & stays
    assert {k for k in loaded & before.keys() if "layer2" in k and "conv" in k} <= changed
    fresh = {k for k in before if "layer1" in k and ".attention." in k and k.endswith("weight")}
    assert bool(changed & fresh) == (attention is None)


def test_but_for_the_bfloat16_a_detector_is_torchvisions(few, monkeypatch):
    model = build_model("maskrcnn_resnet18", num_classes=4, seed=0)
    model.to(memory_format=torch.channels_last)
    assert Detector(model, 800).model.transform.max_size == 1333
    detector = Detector(model, 96)
    assert (model.transform.min_size, model.transform.max_size) == ((96,), 160)
    data = open_coco(str(few), "train")
    task = Detection(PRESETS["short-maskrcnn"], data, data, CPU, seed=0, workers=0)
    batch = next(task.feed(iter([Part(torch.arange(2), 0)])))
    images, targets = [image / 255 for image, _ in batch], [target for _, target in batch]
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    torch.manual_seed(1)
    expected = model(images, targets)
    torch.manual_seed(1)
    found = detector(images, targets)
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], loss) for name, loss in expected.items())
    detector.eval()
    with torch.no_grad():
        expected, found = model(images[:1])[0], detector(images[:1])[0]
    assert found["masks"].shape[1:] == (1, 96, 96)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("name", ["maskrcnn_resnet18", "fcn_resnet50"])
def test_a_classifiers_weights_start_the_resnet_inside(tmp_path, name):
    reference = build_model(name.split("_")[1], "drtam", num_classes=7, seed=3)
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    model = build_model(name, "drtam", num_classes=5, seed=0)
    fresh = start_from(model, str(tmp_path / "weights.pth"))
    inside = "backbone.body." if name.startswith("maskrcnn") else "backbone."
    assert fresh
    assert not any(k.startswith(inside) for k in fresh)
    own = model.state_dict()
    for k, value in reference.state_dict().items():
        assert k.startswith("fc.") or torch.equal(own[inside + k], value)
    other = nn.Sequential(nn.Linear(2, 2)).state_dict()
    torch.save(other, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"does not fit {name}: \d+ of its tensors"):
        start_from(model, str(tmp_path / "other.pth"))


def test_nothing_to_be_measured_on_is_refused_before_the_training(tmp_path):
    data = write_coco(tmp_path / "data", train=3, val=1)  # the only one of val has no objects
    with pytest.raises(ValueError, match=r"val.json must have objects on a photo, or nothing is"):
        main([str(data), "--out", str(tmp_path / "out"), *SMALL])


def test_preset_and_backbone_follow_from_each_other():
    assert choose(None, None) == ("short", "resnet50")
    assert choose("paper-resnet101", None) == ("paper-resnet101", "resnet101")
    assert choose("paper-mobilenetv2", None) == ("paper-mobilenetv2", "mobilenet_v2")
    assert choose(None, "maskrcnn_resnet18") == ("short-maskrcnn", "maskrcnn_resnet18")
    assert choose(None, "fcn_resnet101") == ("short-fcn", "fcn_resnet101")
    for name in ("maskrcnn-resnet50", "maskrcnn-resnet101", "fcn-resnet50", "fcn-resnet101"):
        assert choose(f"paper-{name}", None)[1] == name.replace("-", "_")
    with pytest.raises(ValueError, match=r"must be one of fcn_resnet50, .*, not resnet18"):
        choose("short-fcn", "resnet18")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--frozen-stages", "1"], "frozen_stages must be 0 without --backbone-weights, not 1"),
        (["--mixup", "0.2"], "short-maskrcnn has no mixup, only batch, "),
        (["--photo-size", "64"], "--photo-size is for classification only"),
        (["--compile"], "--compile is not for Mask R-CNN"),
        (["--batch", "9"], "batch must be at most the 8 photos, not 9"),
        (["--rate", "1e9"], r"the loss of step \d is (nan|inf): try a smaller --rate"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(few, tmp_path, more, says):
    with pytest.raises(ValueError, match=says):
        main([str(few), "--out", str(tmp_path), "--workers", "0", *SMALL, *more])


def test_the_presets_are_section_4_4():
    for name in ("paper-maskrcnn-resnet50", "paper-maskrcnn-resnet101"):
        recipe = PRESETS[name]
        assert (recipe.epochs, recipe.batch, recipe.rate) == (12, 16, 0.02)
        assert (recipe.momentum, recipe.weight_decay, recipe.schedule) == (0.9, 1e-4, "1x")
        assert (recipe.size, recipe.regions, recipe.frozen_stages) == (800, 512, 1)
