"""FCN learns shapes by the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from shapes import SOLIDS, write_voc
from torch.nn.functional import interpolate
from trainings import rows

from drtam.explain.photo import IMAGENET_MEAN, IMAGENET_STD
from experiments.evaluate import main as evaluate
from experiments.recipe import PRESETS
from experiments.segmentation import Segmentation, measure
from experiments.task import Part
from experiments.train import main
from experiments.voc import open_voc
from models.checkpoints import load_checkpoint

CPU = torch.device("cpu")
SMALL = ["--preset", "short-fcn", "--size", "64"]
SCALES = ["--smallest-scale", "0.75", "--largest-scale", "1.5"]
LEARNING = ["--batch", "4", "--epochs", "7", "--warmup", "1", *SCALES, "--workers", "0"]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voc(tmp_path_factory.mktemp("few"), train=8, val=2, side=48)


def test_a_segmenter_learns_shapes(tmp_path, capsys):
    # Chance: naming everything background, one of four classes, has a mIoU below 25.
    data = write_voc(tmp_path / "shapes", train=32, val=6)
    main([str(data), "--out", str(tmp_path), *SMALL, *LEARNING])
    last = rows(tmp_path)[-1]
    assert last["mIoU"] > 35
    about = load_checkpoint(tmp_path / "model.safetensors").description
    assert about.classes == ("background", *SOLIDS)
    assert (about.spec.backbone, about.spec.attention) == ("fcn_resnet50", "drtam")
    assert about.accuracy == {k: last[k] for k in ("mIoU", "pixel_accuracy")}
    assert f"mIoU {last['mIoU']:.2f} %, " in capsys.readouterr().out
    evaluate([str(tmp_path / "model.safetensors"), "--data", str(data), "--out", str(tmp_path)])
    (row,) = json.loads((tmp_path / "results.json").read_text())["results"]
    assert row["found"]["64"]["mIoU"] == pytest.approx(last["mIoU"], abs=1)  # of float16 weights


def test_crops_depend_on_seed_epoch_and_photo_alone(few):
    data = open_voc(str(few), "train")

    def crops(indices: list[int], epoch: int = 0, seed: int = 0, workers: int = 0):
        task = Segmentation(PRESETS["short-fcn"], data, data, CPU, seed=seed, workers=workers)
        parts = iter([Part(torch.tensor([i]), epoch) for i in indices])
        return {i: batch[0][0] for i, batch in zip(indices, task.feed(parts), strict=True)}

    before = torch.get_rng_state()
    first = crops([0, 1, 2])
    assert torch.equal(torch.get_rng_state(), before)
    other = crops([2, 0], workers=1)
    assert all(torch.equal(other[i], first[i]) for i in (0, 2))
    assert not torch.equal(crops([0], epoch=1)[0], first[0])
    assert not torch.equal(crops([0], seed=1)[0], first[0])


def test_the_measure_is_taken_at_the_photos_own_resolution(few):
    class Grey(torch.nn.Module):
        """Bright pixels are class 1, dark ones background."""

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            std, mean = (torch.tensor(v)[:, None, None] for v in (IMAGENET_STD, IMAGENET_MEAN))
            level = (x.float() * std + mean).mean(1, keepdim=True)
            assert level.shape[2:] == (32, 32)
            return {"out": torch.cat((0.4 - level, level - 0.4, level * 0 - 9, level * 0 - 9), 1)}

    data = open_voc(str(few), "val")
    found = measure(Grey(), data, 32, CPU, 0)
    right = known = 0
    for i in range(len(data.photos)):
        photo, labels = data.read(i)
        pixels = torch.tensor(list(photo.resize((32, 32), 2).getdata())).reshape(32, 32, 3) / 255
        level = interpolate(pixels.mean(2)[None, None], labels.shape, mode="bilinear")[0, 0]
        truth = torch.from_numpy(labels.copy())
        right += ((level > 0.4) == (truth == 1))[(truth < 2)].sum()
        known += (truth != 255).sum()
    assert found["pixel_accuracy"] == pytest.approx(100 * float(right / known), abs=1)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--backbone", "maskrcnn_resnet18"], "backbone must be one of fcn_resnet50, fcn_resn"),
        (["--frozen-stages", "1"], "short-fcn has no frozen_stages"),
        (["--batch", "9"], "batch must be at most the 8 photos, not 9"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(few, tmp_path, more, says):
    with pytest.raises(ValueError, match=says):
        main([str(few), "--out", str(tmp_path), *SMALL, *more])


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_bad_file_ends_the_training_with_its_name_alone(tmp_path, workers):
    data = write_voc(tmp_path / "data", train=8, val=1, side=48)
    (data / "JPEGImages" / "train3.jpg").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"^\S*train3.jpg is no photo, or damaged"):
        main([str(data), "--out", str(tmp_path), *SMALL, "--workers", workers])


def test_the_presets_are_section_4_5():
    for name in ("paper-fcn-resnet50", "paper-fcn-resnet101"):
        recipe = PRESETS[name]
        assert (recipe.batch, recipe.rate, recipe.momentum) == (16, 0.01, 0.9)
        assert (recipe.weight_decay, recipe.schedule, recipe.size) == (5e-4, "poly", 512)
        assert recipe.epochs == 20_000 * 16 // 10_582  # photos in VOC's augmented part
        assert (recipe.smallest_scale, recipe.largest_scale) == (0.5, 2)
        assert (recipe.largest_share, recipe.aux_weight) == (0.75, 0.4)
