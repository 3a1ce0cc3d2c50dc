"""The card of a shipped network: what it is, knows, cannot do, and how it was made."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from experiments.evaluate import ablation_table
from experiments.evaluation import Evaluation, Report
from models.description import Description

DATA = """Tiny-ImageNet-200 (Stanford's CS231n): 200 of ImageNet's classes, 500 training and 50
validation photos of 64 x 64 pixels for each. Its photos are for non-commercial research and
education, by ImageNet's terms of access; none is part of this repository. Whether weights learned
from them carry those terms is not settled: treat them as for research and education."""
LIMITS = """- Look at the score before the maps: a map of a wrong answer explains a wrong answer.
  A high score does not say that the photo shows anything that it knows.
- It learned from photos of 64 x 64 pixels. What only shows in finer detail it has never seen.
- All accuracies are of one training with one seed. Differences between networks that are smaller
  than the spread between seeds (in experiments/RESULTS.md, if it was measured) mean nothing.
- It was trained to be looked at, not to be relied upon: no use in decisions about people.
"""
EXAMPLE = """
```
from drtam.explain import {analyze}load_photo, prepare
from models.checkpoints import load_checkpoint

opened = load_checkpoint("assets/checkpoints/{name}.safetensors")
about = opened.description
photo = prepare(load_photo("photo.jpg"), about.input_size, about.mean, about.std)
{explained}about.classes[int(opened.model(photo.tensor).argmax())]  # what it takes the photo for
```
"""
EXPLAINED = """analysis = analyze(opened.model, photo.tensor)  # every layer's maps
"""
ADAPTED = """- Its temperature was fitted on every second validation photo. The calibration
  error is of all of them; `python -m experiments.adapt` prints that of the other half.
"""


def card(name: str, about: Description, item: Evaluation, report: Report, run: Path) -> str:
    """All that there is to know of a shipped checkpoint, as Markdown."""
    best = item.accuracy[report.size]
    lines = [
        f"# {name}",
        "",
        f"It knows {len(about.classes)} classes and names one of them for any photo, also where "
        f"none fits. Right for {best.top1:.1f} % of {report.photos} validation photos, among its "
        f"first five answers for {best.top5:.1f} %, at {report.size} x {report.size} pixels.",
        "",
        *_resolutions(item),
        "",
        f"It is looked at at {report.size} pixels{_why(item)}.",
        "",
        *_network(name, about, item),
        "## Limits",
        "",
        LIMITS + (ADAPTED if _was_adapted(about) else ""),
        "## Data",
        "",
        DATA,
        "",
        "## Training",
        "",
        *training(about, run),
    ]
    if item.ablations:
        lines += ["## What its parts are worth", "", *ablation_table(item, report.size), ""]
    return "\n".join([*lines, f"Measured with `{report.command}` on {report.machine}."]) + "\n"


def _network(name: str, about: Description, item: Evaluation) -> Iterator[str]:
    """What it is, and how a program opens it."""
    spec = about.spec
    chunks = f"S={spec.s}, N={spec.n}, " if spec.attention == "drtam" else ""
    places = {"block": "in every block", "stage": "after the stem and every stage"}
    names = {"drtam": "DRTAM", "cbam": "CBAM", "ca": "coordinate attention"}
    attention = names.get(spec.attention, spec.attention) if spec.attention else "no attention"
    where = f" ({chunks}r={spec.r}) {places[spec.placement]}" if spec.attention else ""
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (about.mean, about.std))
    yield from ("## The network", "")
    yield f"torchvision's {spec.backbone} with {attention}{where};"
    yield f"{item.params / 1e6:.2f} M parameters, {item.gflops:.2f} GFLOPs at 224 x 224 pixels."
    yield f"Photos are RGB in [0, 1], less the mean ({mean}), over the deviation ({std})."
    explains = {"analyze": "analyze, ", "explained": EXPLAINED} if spec.attention else {}
    yield EXAMPLE.format_map({"name": name, "analyze": "", "explained": ""} | explains)


def _why(item: Evaluation) -> str:
    """Why it is looked at at the resolution of its report."""
    if len(item.accuracy) == 1:
        return ", the only resolution that was measured"
    return (
        ": of the resolutions whose top-1 is as high as the highest, within chance, the best "
        "calibrated one, in the mean of the networks that were evaluated together"
    )


def _was_adapted(about: Description) -> bool:
    """Whether ``experiments.adapt`` was the last to change the network."""
    return (about.recipe or "").split("\n")[-1].startswith("python -m experiments.adapt")


def _resolutions(item: Evaluation) -> Iterator[str]:
    yield "| resolution | top-1 | top-5 | calibration error |"
    yield "|--:|--:|--:|--:|"
    for size, accuracy in item.accuracy.items():
        cells = " | ".join(f"{value:.2f} %" for value in asdict(accuracy).values())
        yield f"| {size} | {cells} |"


def training(about: Description, run: Path) -> Iterator[str]:
    """The commands, the recipe's first one first, and the log of the last training, if any."""
    commands = (about.recipe or "").splitlines()
    if any("assets/checkpoints/" in command for command in commands):
        yield "assets/checkpoints/... is in each command the file that was there at its commit.\n"
    for command in commands:
        yield from ("```", command, "```", "")
    if not (run / "log.csv").exists():
        return
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    shown = ("epoch", "loss", "top1", "top5")
    yield "The last training, measured as it went, at its own resolution:\n"
    yield f"| {' | '.join(shown)} |"
    yield "|--:" * len(shown) + "|"
    for row in rows:
        yield f"| {int(row['epoch'])} | {' | '.join(f'{float(row[k]):.2f}' for k in shown[1:])} |"
    yield ""
