"""``python -m experiments.faithfulness``: intervals over photos, and its report."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments.faithfulness import interval, main
from models import build_model
from models.checkpoints import describe, save_checkpoint


def test_intervals_hold_the_mean_and_shrink_with_more_photos():
    random = np.random.default_rng(0)
    few, many = (interval(random.normal(3, 1, n)) for n in (20, 2000))
    for found, n in ((few, 20), (many, 2000)):
        assert found.low < found.mean < found.high
        assert found.high - found.low == pytest.approx(2 * 1.96 / n**0.5, rel=0.3)
    assert interval(np.array([np.nan, np.inf])) is None
    assert interval(np.array([1.0, np.nan])).photos == 1
    assert interval(np.zeros(5)).high == 0


def test_the_command_reports_every_map_and_metric(tiny, tmp_path, capsys):
    path = tmp_path / "drtam" / "model.safetensors"
    path.parent.mkdir()
    save_checkpoint(
        build_model("resnet18", "drtam", num_classes=2, seed=0),
        path,
        classes=("lion", "tower"),
        input_size=64,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    out = tmp_path / "out"
    data = ["--data", str(tiny), "--cache", str(tmp_path)]
    plain = tmp_path / "plain.safetensors"
    about = describe(path)
    network = build_model("resnet18", num_classes=2, seed=0)
    known = {"classes": about.classes, "mean": about.mean, "std": about.std}
    save_checkpoint(network, plain, **known, input_size=64)
    files = [str(plain), str(path)]
    main([*files, *data, "--photos", "2", "--steps", "3", "--out", str(out)])
    report = (out / "faithfulness.md").read_text()
    left_out, _, printed = capsys.readouterr().out.partition("\n")
    assert left_out == "plain is left out: it has no attention, hence no map to judge"
    assert report.strip() == printed.strip()
    content = json.loads((out / "faithfulness.json").read_text())
    assert content["photos"] == 2
    assert report.startswith(f"`{content['command']}` on ")
    assert content["command"].endswith(f"--photos 2 --steps 3 --out {out}")
    assert "scipy" in content["machine"]
    (found,) = content["results"]
    assert (found["name"], found["layer"]) == ("drtam", "layer4.1")
    own = ["combined", "initial", "complement", "gradcam"]
    assert list(found["maps"]) == [*own, "random", "centre"]
    area = found["maps"]["combined"]["deletion"]
    assert 0 <= area["low"] <= area["mean"] <= area["high"] <= 1
    assert f"| combined | {area['mean']:.4f} [" in report
    with pytest.raises(ValueError, match="layer must be one of layer1"):
        main([str(path), *data, "--layer", "layer9", "--steps", "3"])
