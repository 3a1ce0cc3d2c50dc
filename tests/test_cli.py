"""`python -m drtam explain`, as somebody with a folder of photos runs it."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from gradio.media import get_image
from PIL import Image

from drtam.explain import analyze, load_photo, prepare
from experiments.server import ROOT
from models import build_model
from models.checkpoints import load_checkpoint, save_checkpoint
from ui import command as cli

NORMAL = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.3)}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, five photos of two proportions in two folders, and one that is none."""
    folder = tmp_path_factory.mktemp("work")
    model = build_model("resnet18", "drtam", num_classes=3, seed=1, placement="stage")
    classes = ["lion", "tower", "bus"]
    save_checkpoint(model, folder / "F.safetensors", classes=classes, input_size=96, **NORMAL)
    (folder / "photos" / "more").mkdir(parents=True)
    lion = Image.open(get_image("lion.jpg")).convert("RGB").resize((128, 128))
    for i in range(3):
        lion.rotate(90 * i).save(folder / "photos" / f"{i}.png")
    for i in range(2):
        lion.resize((128, 60)).rotate(180 * i).save(folder / "photos" / "more" / f"{i}.png")
    (folder / "photos" / "more" / "bad.jpg").write_text("no photo")
    return folder


def command(work: Path, out: str, *options: str, start: tuple[str, ...] = ()) -> list[str]:
    arguments = [str(work / "photos"), "--checkpoint", str(work / "F.safetensors")]
    where = ["--out", str(work / out), "--size", "96", "--batch", "1"]
    return [sys.executable, *start, "-m", "drtam", "explain", *arguments, *where, *options]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    how = {"cwd": ROOT, "env": ENVIRONMENT, "capture_output": True, "text": True, "timeout": 300}
    return subprocess.run(words, check=False, **how)


def tree(folder: Path) -> dict[str, bytes]:
    """All files but run.json, which has the time and the machine."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "run.json"
    }


@pytest.fixture(scope="module")
def undisturbed(work: Path) -> tuple[subprocess.CompletedProcess[str], dict[str, bytes]]:
    return run(*command(work, "whole")), tree(work / "whole")


def test_a_bad_photo_is_reported_at_the_end_and_stops_nothing(undisturbed, work):
    ended, files = undisturbed
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-2:]
    assert last[0].startswith(str(work / "photos/more/bad.jpg"))
    assert "could not be read as a photo" in last[0]
    assert last[1] == "5 of 6 photos are explained."
    assert "6/6" in ended.stderr  # of the progress bar
    assert "Traceback" not in ended.stderr
    photos = {name.removesuffix("/record.json") for name in files if name.endswith("record.json")}
    assert photos == {"0.png", "1.png", "2.png", "more/0.png", "more/1.png"}


@pytest.mark.usefixtures("undisturbed")
def test_the_arrays_are_those_of_a_direct_analysis(work):
    network = load_checkpoint(work / "F.safetensors").model
    for name in ("1.png", "more/1.png"):
        found = np.load(work / "whole" / name / "arrays.npz", allow_pickle=False)
        tensor = prepare(load_photo(work / "photos" / name), 96, **NORMAL).tensor
        wanted = analyze(network, tensor)
        layer = wanted.layers["layer3"]
        for key, value in (
            ("logits", wanted.logits),
            ("layer3/complement/h", layer.trace.complement.h),
            ("layer3/gradcam", layer.gradcam),
        ):
            np.testing.assert_allclose(found[key], value[0], rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("undisturbed")
def test_the_record_says_with_what_it_was_done(work):
    digest = hashlib.sha256((work / "F.safetensors").read_bytes()).hexdigest()
    weights = {"file": "F.safetensors", "sha256": digest}
    record = json.loads((work / "whole/more/0.png/record.json").read_text())
    run_record = json.loads((work / "whole/run.json").read_text())
    assert record["network"]["weights"] == run_record["network"]["weights"] == weights
    assert record["trained"] is True
    assert record["photo"]["seen_at"] == [128, 64]
    assert "torch" in run_record["versions"]
    assert "They were not asked for" in record["missing"]


@pytest.mark.usefixtures("undisturbed")
def test_one_table_has_all_photos_and_layers(work):
    with (work / "whole/layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    photos = ["0.png", "1.png", "2.png", "more/0.png", "more/1.png"]
    layers = ["relu", "layer1", "layer2", "layer3", "layer4"]  # in the order of the network
    assert [(row["photo"], row["layer"]) for row in rows] == [
        (photo, layer) for photo in photos for layer in layers
    ]
    network = load_checkpoint(work / "F.safetensors").model
    tensor = prepare(load_photo(work / "photos/more/1.png"), 96, **NORMAL).tensor
    wanted = analyze(network, tensor)
    layer, row = wanted.layers["layer3"], rows[-2]
    best = int(wanted.target[0])
    assert row["class"] == ["lion", "tower", "bus"][best]
    attention = layer.trace.attention()
    for column, value in (
        ("probability", wanted.probabilities[0, best]),
        ("combined_mean", attention.mean()),
        ("combined_spread", attention.std(correction=0)),
        ("residual_error_cw", layer.residual.error[0, 1]),
        ("added", layer.added[0]),
    ):
        assert float(row[column]) == pytest.approx(float(value), rel=1e-3)
    assert 0 < float(row["complement_entropy"]) <= 1


def test_killed_half_way_and_run_again_gives_the_same_files(undisturbed, work):
    with subprocess.Popen(
        command(work, "killed"), cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while not list((work / "killed").glob("[0-9].png")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finished = len(list((work / "killed").rglob("record.json")))
    assert 1 <= finished < 5
    assert run(*command(work, "killed")).returncode == 1
    assert tree(work / "killed") == undisturbed[1]


def test_two_processes_together_give_the_files_of_one(undisturbed, work):
    ended = run(*command(work, "shared", start=(*TORCHRUN,)))
    assert ended.returncode == 1, ended.stderr
    assert "5 of 6 photos are explained." in ended.stderr
    assert tree(work / "shared") == undisturbed[1]


def test_results_of_other_settings_are_not_mixed(undisturbed, work, capsys):
    assert cli.main(command(work, "whole", "--target", "2")[3:]) == 2
    assert "holds results of another network or other settings" in capsys.readouterr().err
    assert tree(work / "whole") == undisturbed[1]


@pytest.mark.usefixtures("undisturbed")
def test_a_batch_gives_what_single_photos_give(work):
    assert cli.main(command(work, "batch", "--batch", "3")[3:]) == 1
    for name in ("0.png", "2.png", "more/1.png"):
        found, wanted = (np.load(work / out / name / "arrays.npz") for out in ("batch", "whole"))
        assert set(found) == set(wanted)
        for key in wanted:
            np.testing.assert_allclose(found[key], wanted[key], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("photos", "options", "says"),
    [
        ("missing", (), "there is no"),
        ("F.safetensors/..", ("--size", "95"), "must be from 96 to 448, not 95"),
        ("photos", ("--target", "3"), "--target must be from 0 to 2 or the name of a class"),
        ("photos", ("--checkpoint", "missing.pth"), "There is no file"),
    ],
)
def test_what_cannot_start_says_why_and_ends_with_2(work, capsys, photos, options, says):
    given = [str(work / photos), "--checkpoint", str(work / "F.safetensors"), *options]
    try:
        code: object = cli.main(["explain", *given, "--out", str(work / "none")])
    except SystemExit as stopped:  # argparse
        code = stopped.code
    assert code == 2
    assert says in capsys.readouterr().err
    assert not (work / "none").exists()


def test_a_class_is_named_or_numbered():
    classes = ("tower", "7", "lion")
    assert [cli._class(asked, classes) for asked in ("lion", "2", "7", "0")] == [2, 2, 1, 0]
    for asked, says in (("lyon", "such as lion, not lyon"), ("-1", "not -1"), ("3", "not 3")):
        with pytest.raises(cli.FolderError, match=says):
            cli._class(asked, classes)


def test_photos_of_one_name_are_not_overwritten(work, capsys):
    twice = [str(work / "photos" / "0.png"), str(work / "photos" / "more" / "0.png")]
    options = ["--checkpoint", str(work / "F.safetensors"), "--out", str(work / "none")]
    assert cli.main(["explain", *twice, *options]) == 2
    assert "would both go to" in capsys.readouterr().err


def test_what_lies_in_the_way_is_named_before_the_work(work, capsys):
    photo = work / "photos" / "0.png"
    given = ["explain", str(photo), "--checkpoint"]
    inside = [*given, str(work / "F.safetensors"), "--out", str(photo.parent)]
    assert cli.main(inside) == 2
    assert f"would go to {photo}, which is a file" in capsys.readouterr().err
    assert cli.main([*given, str(work), "--out", str(work / "none")]) == 2
    assert cli.main([*given, str(work / "F.safetensors"), "--out", str(photo)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_photos_name_may_be_as_long_as_the_system_allows(work, tmp_path):
    photo = tmp_path / f"{'x' * 251}.png"
    shutil.copy(work / "photos" / "0.png", photo)
    checkpoint = str(work / "F.safetensors")
    assert (
        cli.main(["explain", str(photo), "--checkpoint", checkpoint, "--out", str(work / "long")])
        == 0
    )
    assert (work / "long" / photo.name / "record.json").exists()


def test_the_installed_package_alone_says_what_is_missing(tmp_path):
    shutil.copytree(ROOT / "drtam", tmp_path / "drtam")
    ended = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "import runpy, sys; sys.path.insert(0, '.');"
            "runpy.run_module('drtam', run_name='__main__')",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "a checkout of the project" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_help_shows_a_working_example(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["explain", "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "python -m drtam explain holiday/" in shown
    assert "torchrun" in shown
