"""Accuracy, calibration and localisation of checkpoints, side by side; of detectors the average
precision, of segmenters the mean intersection over union.

Examples:
    python -m experiments.evaluate runs/drtam/model.safetensors runs/cbam/model.safetensors \\
        --data tiny-imagenet-200 --sizes 64 96 --out results
    python -m experiments.evaluate runs/detector/model.safetensors --data coco

Writes results.json and results.md into the folder given with --out.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import torch

from drtam.checks import check_range
from experiments import faithfulness
from experiments.accuracy import Accuracy
from experiments.dense import measures, table
from experiments.evaluation import Evaluation, Report, evaluate
from experiments.localisation import Score
from experiments.machine import machine
from experiments.whole import write_whole
from models import CLASSIFIERS
from models.checkpoints import describe, load_checkpoint


def markdown(report: Report) -> str:
    """The tables of a report."""
    lines = [how_measured(report), "", *overview([report]), *details(report), ""]
    return "\n".join(lines)


def how_measured(report: Report) -> str:
    """How it was measured."""
    maps = any(item.maps for item in report.results)
    changes = any(item.ablations for item in report.results)
    what = ", ".join(["latency", *["maps"] * maps, *["changes"] * changes])
    measured = f"{report.photos} photos, classified in {report.working_type}; "
    measured += f"{what} at {report.size} pixels"
    if maps:
        measured += f"; maps on {report.boxes} photos, drawn with seed 0"
    return f"`{report.command}` on {report.machine}.\n\n{measured}."


def overview(reports: Sequence[Report]) -> Iterator[str]:
    """The lines of a table of networks side by side."""
    yield (
        "| network | Param. | GFLOPs at 224 | latency / plain | pixels | top-1 | top-5 | "
        "calibration error |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for report in reports:
        for item in report.results:
            counted = f"{item.params / 1e6:.2f} M | {item.gflops:.2f}"
            latency = f"{item.latency:.2f} at {report.size} px"
            for size, accuracy in item.accuracy.items():
                yield f"| {item.name} | {counted} | {latency} | {size} | {_cells(accuracy)} |"


def details(report: Report) -> Iterator[str]:
    """The lines of the tables of each network's maps and changes."""
    for item in report.results:
        if item.maps:
            yield from ("", *_map_table(item))
        if item.ablations:
            yield from ("", *ablation_table(item, report.size))


def _cells(accuracy: Accuracy) -> str:
    return " | ".join(f"{value:.2f} %" for value in asdict(accuracy).values())


def ablation_table(item: Evaluation, size: int) -> Iterator[str]:
    """The lines of a table: the accuracy by what was changed in every layer."""
    yield f"{item.name}, with one change in all its layers and no further training:"
    yield ""
    yield "| change | top-1 | top-5 | calibration error |"
    yield "|---|---|---|---|"
    for name, accuracy in {"none": item.accuracy[size], **item.ablations}.items():
        yield f"| {name} | {_cells(accuracy)} |"


def _map_table(item: Evaluation) -> list[str]:
    kinds = list(dict.fromkeys(kind for maps in item.maps.values() for kind in maps))
    lines = [
        f"{item.name}: pointing game / energy inside the box, in percent; in brackets the maps "
        "that are the same everywhere and point nowhere, where they were counted and are any.",
        "",
        f"| layer | {' | '.join(kinds)} |",
        "|---" * (len(kinds) + 1) + "|",
    ]
    for layer, maps in item.maps.items():
        cells = [_score(maps[kind]) if kind in maps else "–" for kind in kinds]
        lines.append(f"| {layer or 'without a map'} | {' | '.join(cells)} |")
    return lines


def _score(found: Score) -> str:
    constant = f" ({found.constant:.1f})" if found.constant else ""
    return f"{found.pointing:.1f} / {found.energy:.1f}{constant}"


def _classifiers(options: argparse.Namespace, device: torch.device) -> str:
    names = [faithfulness.name_of(path) for path in options.checkpoints]
    if len(set(names)) < len(names):
        raise ValueError(f"checkpoints must have different names, not {', '.join(names)}")
    checkpoints = {
        name: load_checkpoint(path, device)
        for name, path in zip(names, options.checkpoints, strict=True)
    }
    own = {checkpoint.description.input_size for checkpoint in checkpoints.values()}
    report = evaluate(
        checkpoints,
        {size: faithfulness.opened(options, size) for size in options.sizes or sorted(own)},
        device,
        options.boxes,
        options.command,
        maps=not options.only_accuracy,
        changes=not (options.only_accuracy or options.no_changes),
    )
    if options.out:
        report.write(options.out / "results.json")
    return markdown(report)


def _dense(options: argparse.Namespace, device: torch.device) -> str:
    found = [
        measures(
            faithfulness.name_of(path),
            load_checkpoint(path, device),
            options.data,
            options.sizes,
            device,
        )
        for path in options.checkpoints
    ]
    if options.out:
        content = {"machine": machine(), "results": [asdict(item) for item in found]}
        write_whole(options.out / "results.json", json.dumps(content, indent=1) + "\n")
    return table(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    faithfulness.add_inputs(parser)
    parser.add_argument(
        "--sizes", type=int, nargs="+", help="resolutions; the trained one if none"
    )
    parser.add_argument("--boxes", type=int, default=10_000, help="photos for the maps")
    less = parser.add_mutually_exclusive_group()
    less.add_argument(
        "--only-accuracy",
        action="store_true",
        help="of classifiers neither judge the maps nor change the attention",
    )
    less.add_argument(
        "--no-changes",
        action="store_true",
        help="of classifiers do not change the attention, which takes longest",
    )
    parser.add_argument(
        "--faithfulness", type=int, help="photos on which experiments.faithfulness judges the maps"
    )
    parser.add_argument("--out", type=Path, help="folder of results.json and results.md")
    options = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    options.command = f"python -m experiments.evaluate {shlex.join(words)}"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for size in options.sizes or ():
        check_range("sizes", size, 1, 4096)
    check_range("boxes", options.boxes, 1)
    classify = {describe(path).spec.backbone in CLASSIFIERS for path in options.checkpoints}
    if len(classify) > 1:
        raise ValueError(
            "checkpoints must all be classifiers or none: the others are measured on other data"
        )
    (plain,) = classify
    if options.faithfulness is not None:
        check_range("faithfulness", options.faithfulness, 1)
        if not plain:
            raise ValueError("--faithfulness is for classifiers alone, and these are none")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    report = (_classifiers if plain else _dense)(options, device)
    print(report)
    if options.out:
        write_whole(options.out / "results.md", report)
    paths = [str(path) for path in options.checkpoints if describe(path).spec.attention]
    if options.faithfulness and paths:
        given = {k: getattr(options, k) for k in ("data", "cache", "photo_size", "out")}
        given["photos"] = options.faithfulness
        pairs = [(f"--{k.replace('_', '-')}", str(v)) for k, v in given.items() if v is not None]
        faithfulness.main([*paths, *chain.from_iterable(pairs)])


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
