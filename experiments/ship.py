"""Put trained classifiers of Tiny-ImageNet-200 where the page finds them, each with its card.

Example:
    python -m experiments.evaluate runs/drtam/model.safetensors runs/cbam/model.safetensors \\
        --data tiny-imagenet-200 --sizes 64 96 128 --out runs/evaluated
    python -m experiments.ship runs/drtam runs/cbam --evaluated runs/evaluated --also runs/trunk

Writes assets/checkpoints/NAME.safetensors and NAME.md for each training, and
experiments/RESULTS.md. Their analysis resolution is the one of the evaluation's latency and maps.
Trainings given with --also are reported and not shipped; NAME-seed1 is taken for the training NAME
with another seed, and s3-n1-r32 for DRTAM with these settings, to be compared with others like it.
What was reported before stays, the evaluations in experiments/results.json, unless it is evaluated
or trained anew.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from experiments.alike import alike
from experiments.evaluate import ablation_table, details, how_measured, overview
from experiments.evaluation import Evaluation, Report
from models.checkpoints import describe, load_checkpoint, save_checkpoint
from models.description import Description

SEED = re.compile(r"-seed\d+$")
SETTINGS = re.compile(r"\bs(\d+)-n(\d+)-r(\d+)$")
ROOT = Path(__file__).parent.parent
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
ADAPTED = """- Its temperature was fitted on every second validation photo. The calibration
  error is of all of them; `python -m experiments.adapt` prints that of the other half.
"""
HEAD = """# Results

Written by `python -m experiments.ship` from the results of `python -m experiments.evaluate`. Our
small counterpart of the paper's Tables 1-4: Tiny-ImageNet-200 instead of ImageNet, photos of 64 x
64 pixels, and a small part of the paper's epochs. Absolute numbers say little about the paper's.
Differences between networks mean nothing if they are smaller than the spread between seeds, or
than the standard error of a top-1 by itself, half a point on 10,000 photos. The latency of a plain
network is against itself: what it has more than 1 says how far latencies can be trusted. How each
network was trained stands at the end of this page.
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
        "## Limits",
        "",
        LIMITS + (ADAPTED if _was_adapted(about) else ""),
        "## Data",
        "",
        DATA,
        "",
        "## Training",
        "",
        *_training(about, run),
    ]
    if item.ablations:
        lines += ["## What its parts are worth", "", *ablation_table(item, report.size), ""]
    return "\n".join([*lines, f"Measured with `{report.command}` on {report.machine}."]) + "\n"


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


def _training(about: Description, run: Path) -> Iterator[str]:
    """The commands, the recipe's first one first, and the log of the last training, if any."""
    for command in (about.recipe or "").splitlines():
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


def ship(runs: Sequence[Path], report: Report, also: Sequence[Path], root: Path = ROOT) -> None:
    """Write the checkpoints, their cards and the results.

    Args:
        runs: folders of trainings that have ended.
        report: of the evaluation of all that are to be shipped.
        also: trainings to report alone.
        root: of the checkout.

    Raises:
        ValueError: a training was not evaluated.
    """
    found = {item.name: item for item in report.results}
    for run in runs:
        if run.name not in found:
            raise ValueError(f"{run.name} must be evaluated, but only {', '.join(found)} were")
        _put(run, found[run.name], report, root / "assets" / "checkpoints")
    kept = root / "experiments" / "results.json"
    reports = [*_evaluated_before(kept, set(found)), report]
    kept.write_text(json.dumps([asdict(each) for each in reports], indent=1) + "\n")
    page = root / "experiments" / "RESULTS.md"
    page.write_text("\n".join([HEAD, *_evaluations(reports), *_trainings([*runs, *also], page)]))


def _put(run: Path, item: Evaluation, report: Report, folder: Path) -> None:
    """The checkpoint of a training and its card."""
    checkpoint = load_checkpoint(run / "model.safetensors")
    about = checkpoint.description
    name = f"{about.spec.attention or 'plain'}-{about.spec.backbone}"
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(
        checkpoint.model,
        folder / f"{name}.safetensors",
        classes=about.classes,
        input_size=report.size,
        mean=about.mean,
        std=about.std,
        accuracy=asdict(item.accuracy[report.size]) | {"data": "Tiny-ImageNet-200"},
        recipe=about.recipe,
        half=True,
    )
    (folder / f"{name}.md").write_text(card(name, about, item, report, run))


def _evaluations(reports: Sequence[Report]) -> Iterator[str]:
    """Networks side by side, how far settings and seeds are apart, then each report."""
    results = [item for report in reports for item in report.results]
    yield from (*alike(reports), "## All networks\n", *overview(reports), "")
    yield from (*influence(results), *spread(results))
    for report in reports:
        yield f"## Evaluation of {', '.join(item.name for item in report.results)}\n"
        yield from (how_measured(report), *details(report), "")


def influence(results: Sequence[Evaluation]) -> Iterator[str]:
    """The lines of a table like Tables 1-3 of the paper: networks named after S, N and r."""
    rows = []
    for item in results:
        if match := SETTINGS.search(SEED.sub("", item.name)):
            rows.append(([int(value) for value in match.groups()], item))
    if not rows:
        return
    yield "## Influence of S, N and r\n"
    yield "| network | S | N | r | Param. | pixels | top-1 | top-5 |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for settings, item in sorted(rows, key=lambda row: (row[0], row[1].name)):
        for size, found in item.accuracy.items():
            cells = (item.name, *settings, f"{item.params / 1e6:.2f} M", size)
            measured = f"{found.top1:.2f} % | {found.top5:.2f} %"
            yield f"| {' | '.join(map(str, cells))} | {measured} |"
    yield ""


def spread(results: Sequence[Evaluation]) -> Iterator[str]:
    """The lines of a table: what networks differ in that differ in their seed alone."""
    seeds: dict[str, list[Evaluation]] = {}
    for item in results:
        seeds.setdefault(SEED.sub("", item.name), []).append(item)
    several = {name: items for name, items in seeds.items() if len(items) > 1}
    if not several:
        return
    yield from ("## Spread between seeds\n", "| network | seeds | pixels | top-1 | apart |")
    yield "|---|---|---|---|---|"
    for name, items in several.items():
        for size in sorted(set.intersection(*(set(item.accuracy) for item in items))):
            found = [item.accuracy[size].top1 for item in items]
            each = ", ".join(f"{top1:.2f} %" for top1 in found)
            apart = max(found) - min(found)
            yield f"| {name} | {len(items)} | {size} | {each} | {apart:.2f} points |"
    yield ""


def _trainings(runs: Sequence[Path], page: Path) -> Iterator[str]:
    """These, and those that the page already holds."""
    yield "## Trainings\n"
    for run in runs:
        about = describe(run / "model.safetensors")
        yield from (f"### {run.name}\n", *_training(about, run))
    yield from _reported_before(page, {run.name for run in runs})


def _evaluated_before(kept: Path, again: set[str]) -> Iterator[Report]:
    """The reports that are already in the results, without what is evaluated again."""
    for values in json.loads(kept.read_text()) if kept.exists() else []:
        report = Report.of(values)
        others = [item for item in report.results if item.name not in again]
        if others:
            yield replace(report, results=others)


def _reported_before(page: Path, again: set[str]) -> list[str]:
    """The sections of the trainings that are already in the results and are not reported again."""
    if not page.exists():
        return []
    sections = page.read_text().partition("## Trainings\n")[2].split("### ")[1:]
    return [f"### {part.rstrip()}\n" for part in sections if part.split("\n")[0] not in again]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ship",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", type=Path, nargs="*", help="folders of trainings to ship")
    parser.add_argument(
        "--evaluated", type=Path, required=True, help="folder of the evaluation's results.json"
    )
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="trainings to report")
    options = parser.parse_args(arguments)
    report = Report.read(options.evaluated / "results.json")
    ship(options.runs, report, options.also)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
