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
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import nn

from experiments import faithfulness
from experiments.accuracy import Accuracy, measure
from experiments.dense import Measures, measures, table
from experiments.localisation import Score, first, localise
from experiments.machine import machine
from experiments.photos import Photos, open_photos
from experiments.timing import ratios
from models import CLASSIFIERS, attention_layers, build_model
from models.checkpoints import Checkpoint, describe, load_checkpoint
from models.complexity import complexity


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one checkpoint.

    Attributes:
        name: the file's folder.
        params: number of parameters.
        gflops: at 224 x 224, as the paper counts.
        latency: forward passes of the same backbone without attention, batch 8.
        accuracy: by resolution.
        maps: by layer and map; empty without boxes or attention.
    """

    name: str
    params: int
    gflops: float
    latency: float
    accuracy: dict[int, Accuracy]
    maps: dict[str, dict[str, Score]]


def evaluate(
    name: str,
    checkpoint: Checkpoint,
    photos: Photos,
    sizes: Sequence[int],
    device: torch.device,
    boxes: int,
) -> Evaluation:
    """Measure one network; ``boxes`` photos are enough for its maps.

    Raises:
        ValueError: the network knows other classes than the photos have.
    """
    model, about = checkpoint.model.to(device), checkpoint.description
    if about.classes != photos.classes:
        raise ValueError(f"{name} must know the classes of the photos, but knows others")
    accuracy = {
        size: measure(model, photos, size, about.mean, about.std, device) for size in sizes
    }
    maps = {}
    if photos.boxes is not None and attention_layers(model):
        few = first(photos, boxes)
        maps = localise(model, few, about.input_size, about.mean, about.std, device)
    counted = complexity(model)
    latency = _latency(model, about.spec.backbone, about.input_size, device)
    return Evaluation(name, counted.params, counted.gflops, latency, accuracy, maps)


def _latency(model: nn.Module, backbone: str, size: int, device: torch.device) -> float:
    """Forward passes of the plain backbone that one of the network takes."""
    plain = build_model(backbone, seed=0).eval().to(device)
    images = torch.randn(8, 3, size, size, device=device)

    def forward(network: nn.Module) -> None:
        with torch.inference_mode():
            network(images).sum().item()  # waits for a GPU

    return ratios(lambda: forward(plain), lambda: forward(model))[0].median


def markdown(found: Sequence[Evaluation], photos: int, boxes: int) -> str:
    """The tables of a report."""
    lines = [
        f"Machine: {machine()}. {photos} photos; maps on {boxes} of them, drawn with seed 0.",
        "",
        "| network | Param. | GFLOPs at 224 | latency / plain | pixels | top-1 | top-5 | "
        "calibration error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for item in found:
        for size, a in item.accuracy.items():
            lines.append(
                f"| {item.name} | {item.params / 1e6:.2f} M | {item.gflops:.2f} | "
                f"{item.latency:.2f} | {size} | {a.top1:.2f} % | {a.top5:.2f} % | "
                f"{a.calibration_error:.2f} % |"
            )
    for item in found:
        if item.maps:
            lines += ["", *_map_table(item)]
    return "\n".join(lines) + "\n"


def _map_table(item: Evaluation) -> list[str]:
    kinds = list(dict.fromkeys(kind for maps in item.maps.values() for kind in maps))
    lines = [
        f"{item.name}: pointing game / energy inside the box, in percent.",
        "",
        f"| layer | {' | '.join(kinds)} |",
        "|---" * (len(kinds) + 1) + "|",
    ]
    for layer, maps in item.maps.items():
        cells = [
            f"{maps[kind].pointing:.1f} / {maps[kind].energy:.1f}" if kind in maps else "–"
            for kind in kinds
        ]
        lines.append(f"| {layer or 'without a map'} | {' | '.join(cells)} |")
    return lines


def _classifiers(
    options: argparse.Namespace, device: torch.device
) -> tuple[Sequence[Evaluation], str]:
    photos = open_photos(options.data, "val", options.photo_size, options.cache)
    found = []
    for path in options.checkpoints:
        checkpoint = load_checkpoint(path, device)
        sizes = options.sizes or [checkpoint.description.input_size]
        found.append(
            evaluate(faithfulness.name_of(path), checkpoint, photos, sizes, device, options.boxes)
        )
    count = len(photos.labels)
    return found, markdown(found, count, min(options.boxes, count))


def _dense(options: argparse.Namespace, device: torch.device) -> tuple[Sequence[Measures], str]:
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
    return found, table(found)


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
    parser.add_argument(
        "--faithfulness", type=int, help="photos on which experiments.faithfulness judges the maps"
    )
    parser.add_argument("--out", type=Path, help="folder of results.json and results.md")
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plain = all(describe(path).spec.backbone in CLASSIFIERS for path in options.checkpoints)
    found, report = (_classifiers if plain else _dense)(options, device)
    print(report)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "results.md").write_text(report)
        content = {"machine": machine(), "results": [asdict(item) for item in found]}
        (options.out / "results.json").write_text(json.dumps(content, indent=1))
    if options.faithfulness:
        paths = [str(path) for path in options.checkpoints if describe(path).spec.attention]
        given = {k: getattr(options, k) for k in ("data", "cache", "photo_size", "out")}
        given["photos"] = options.faithfulness
        words = [(f"--{k.replace('_', '-')}", str(v)) for k, v in given.items() if v is not None]
        faithfulness.main([*paths, *chain.from_iterable(words)])


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
