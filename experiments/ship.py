"""Put trained classifiers of Tiny-ImageNet-200 where the page finds them, each with its card.

Example:
    python -m experiments.evaluate runs/drtam/model.safetensors runs/cbam/model.safetensors \\
        --data tiny-imagenet-200 --sizes 64 96 128 --out runs/evaluated
    python -m experiments.ship runs/drtam runs/cbam --evaluated runs/evaluated --also runs/trunk

Writes assets/checkpoints/ATTENTION-BACKBONE.safetensors and its card for each training, in the
place of those that had the same attention and backbone, and experiments/RESULTS.md. Their
analysis resolution is the one of the evaluation's latency and maps.
Trainings given with --also are reported and not shipped; NAME-seed1 is taken for the training NAME
with another seed, and s3-n1-r32 for DRTAM with these settings, to be compared with others like it.
What was reported before stays, the evaluations in experiments/results.json, unless it is evaluated
or trained anew.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from experiments.alike import alike
from experiments.cards import card, training
from experiments.evaluate import details, how_measured, overview
from experiments.evaluation import Evaluation, Report
from experiments.whole import write_whole
from models import CLASSIFIERS
from models.build import Spec
from models.checkpoints import describe, load_checkpoint, save_checkpoint
from models.description import Description

SEED = re.compile(r"-seed\d+$")
SETTINGS = re.compile(r"\bs(\d+)-n(\d+)-r(\d+)$")
ROOT = Path(__file__).parent.parent
HEAD = """# Results

Written by `python -m experiments.ship` from the results of `python -m experiments.evaluate`. Our
small counterpart of the paper's Tables 1-4: Tiny-ImageNet-200 instead of ImageNet, photos of 64 x
64 pixels, and a small part of the paper's epochs. Absolute numbers say little about the paper's.
Differences between networks mean nothing if they are smaller than the spread between seeds, or
than the standard error of a top-1 by itself, half a point on 10,000 photos. The latency of a plain
network is against itself: how far it is from 1 says how far latencies can be trusted. In bfloat16
and in float32 the same network differs by up to a tenth of a point, and so may a card and a table.
How each network was trained stands at the end of this page.
"""


def ship(runs: Sequence[Path], report: Report, also: Sequence[Path], root: Path = ROOT) -> None:
    """Write the checkpoints, their cards and the results.

    Args:
        runs: folders of trainings that have ended.
        report: of the evaluation of all that are to be shipped.
        also: trainings to report alone.
        root: of the checkout.

    Raises:
        ValueError: a training is no classifier's or has not ended, was not evaluated as it is now,
            knows other classes than what is shipped, or two would get the same file; then nothing
            has changed.
    """
    found = {item.name: item for item in report.results}
    shelf = root / "assets" / "checkpoints"
    about = {run: _classifier(run) for run in (*runs, *also)}
    for run in runs:
        _check(run.name, about[run], found, shelf)
    names = [_name(about[run].spec) for run in runs]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"one training at most can be shipped as {twice[0]}")
    for run in runs:
        _put(run, found[run.name], report, shelf)
    kept = root / "experiments" / "results.json"
    reports = [*_evaluated_before(kept, set(found)), report]
    write_whole(kept, json.dumps([asdict(each) for each in reports], indent=1) + "\n")
    page = root / "experiments" / "RESULTS.md"
    parts = [HEAD, *_evaluations(reports, shelf), *_trainings([*runs, *also], page)]
    write_whole(page, "\n".join(parts))


def _classifier(run: Path) -> Description:
    about = describe(run / "model.safetensors")
    if about.spec.backbone not in CLASSIFIERS:
        raise ValueError(f"{run} must hold a classifier, not {about.spec.backbone}")
    return about


def _check(name: str, about: Description, found: Mapping[str, Evaluation], shelf: Path) -> None:
    """Refuse a training of which the evaluation, or the card, would not be true."""
    if name not in found:
        raise ValueError(f"{name} must be evaluated, but only {', '.join(found)} were")
    if found[name].recipe != (about.recipe or ""):
        raise ValueError(f"{name} was trained anew, or is another training: evaluate it again")
    for file in shelf.glob("*.safetensors"):
        if describe(file).classes != about.classes:
            raise ValueError(f"{name} must know the classes of {file}, but knows others")


def _name(spec: Spec) -> str:
    return f"{spec.attention or 'plain'}-{spec.backbone}"


def _put(run: Path, item: Evaluation, report: Report, folder: Path) -> None:
    """The checkpoint of a training and its card."""
    checkpoint = load_checkpoint(run / "model.safetensors")
    about = checkpoint.description
    name = _name(about.spec)
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
    write_whole(folder / f"{name}.md", card(name, about, item, report, run))


def _evaluations(reports: Sequence[Report], folder: Path) -> Iterator[str]:
    """Networks side by side, how far settings and seeds are apart, then each report."""
    results = [item for report in reports for item in report.results]
    yield from (*shipped(folder, results), *alike(reports))
    yield from ("## All networks\n", *overview(reports), "")
    yield from (*influence(results), *spread(results))
    for report in reports:
        yield f"## Evaluation of {', '.join(item.name for item in report.results)}\n"
        yield from (how_measured(report), *details(report), "")


def shipped(folder: Path, results: Sequence[Evaluation]) -> Iterator[str]:
    """The lines of a table: which evaluated network each shipped checkpoint is."""
    rows = []
    for file in sorted(folder.glob("*.safetensors")):
        about = describe(file)
        for item in results:
            if item.recipe == about.recipe and about.input_size in item.accuracy:
                top1 = item.accuracy[about.input_size].top1
                rows.append(f"| {file.stem} | {item.name} | {about.input_size} | {top1:.2f} % |")
    if rows:
        yield "## Shipped\n"
        yield "| checkpoint | network in the tables below | pixels | top-1 |"
        yield from ("|---|---|--:|--:|", *rows, "")


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
        yield from (f"### {run.name}\n", *training(about, run))
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
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
