"""Whether the maps of checkpoints tell the truth, over many photos, with confidence intervals.

Example:
    python -m experiments.faithfulness runs/drtam/model.safetensors runs/cbam/model.safetensors \\
        --data tiny-imagenet-200 --photos 200 --out results

Deletion (lower is better), insertion and ROAD (higher), sensitivity to slight noise (lower) and
rank correlation with the map of shuffled weights (nearer to 0), for the network's own best class
of each photo. Writes faithfulness.json and faithfulness.md into the folder given with --out.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from scipy.stats import bootstrap
from torch import Tensor
from tqdm import tqdm

from drtam.checks import check_range
from drtam.explain import Faithfulness, faithfulness
from experiments.accuracy import batches
from experiments.localisation import first
from experiments.machine import machine
from experiments.photos import Photos, open_photos
from experiments.whole import write_whole
from models import attention_layers
from models.checkpoints import Checkpoint, blank, describe, load_checkpoint

METRICS = ("deletion", "insertion", "ROAD", "sensitivity", "shuffled weights")
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean over photos.

    Attributes:
        mean: over the photos where the number exists.
        low: of the 95 % bootstrap interval (percentiles).
        high: likewise.
        photos: how many those are.
    """

    mean: float
    low: float
    high: float
    photos: int


@dataclass(frozen=True)
class Judgement:
    """Of one checkpoint: by map, by metric; None where no photo gives a number."""

    name: str
    layer: str
    maps: dict[str, dict[str, Interval | None]]


def judge(
    name: str,
    checkpoint: Checkpoint,
    photos: Photos,
    layer: str | None,
    steps: int,
    device: torch.device,
) -> Judgement:
    """Judge all maps of one layer, by default the last, on every one of the photos.

    Raises:
        ValueError: the network has no attention, or not that layer, or is a detector.
    """
    model, about = checkpoint.model.to(device).eval(), checkpoint.description
    layers = list(attention_layers(model))
    if not layers:
        raise ValueError(f"{name} has no attention module, hence no map to judge")
    chosen = layer or layers[-1]
    rows: list[Tensor] = []
    names: tuple[str, ...] = ()
    loader = batches(photos, about.input_size, about.mean, about.std, device, batch=1)
    for part, image, _ in tqdm(loader, total=len(photos.labels), desc=f"{name} {chosen}"):
        found = faithfulness(model, image, chosen, steps=steps, seed=part.start)
        names = found.names
        rows.append(numbers(found))
    table = torch.stack(rows).numpy()  # (photos, maps, metrics)
    maps = {
        kind: {metric: interval(table[:, i, j]) for j, metric in enumerate(METRICS)}
        for i, kind in enumerate(names)
    }
    return Judgement(name, chosen, maps)


def numbers(found: Faithfulness) -> Tensor:
    """(M, 5), in the order of ``METRICS``."""
    areas = (found.deletion.area, found.insertion.area, found.road.area)
    return torch.stack((*areas, found.sensitivity, found.randomised), 1)


def interval(values: np.ndarray[tuple[int], np.dtype[np.floating]]) -> Interval | None:
    """Mean and 95 % bootstrap interval of those that are finite; of a single one itself."""
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return None
    mean = float(known.mean())
    if len(known) == 1:
        return Interval(mean, mean, mean, 1)
    found = bootstrap(
        (known,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high), len(known))


def about_machine() -> str:
    """Machine and versions, scipy's among them."""
    return f"{machine()}, scipy {version('scipy')}"


def markdown(judged: Sequence[Judgement], photos: int, steps: int, command: str) -> str:
    """The tables of a report."""
    lines = [
        f"`{command}` on {about_machine()}.\n",
        f"{photos} photos, drawn with seed 0; {steps} steps; mean and 95 % bootstrap interval "
        f"({RESAMPLES} resamples). Deletion, sensitivity: lower is better; insertion, ROAD: "
        "higher; shuffled weights: nearer to 0. Maps that are the same everywhere rank nothing "
        "and are left out: in brackets how many remain.",
    ]
    for item in judged:
        lines += ["", f"{item.name}, {item.layer}:", "", f"| map | {' | '.join(METRICS)} |"]
        lines.append("|---" * (1 + len(METRICS)) + "|")
        for kind, metrics in item.maps.items():
            cells = [_cell(v, photos) for v in metrics.values()]
            lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(found: Interval | None, photos: int) -> str:
    if found is None:
        return "–"
    fewer = f" ({found.photos})" if found.photos < photos else ""
    return f"{found.mean:.4f} [{found.low:.4f}, {found.high:.4f}]{fewer}"


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Checkpoints and data, as ``experiments.evaluate`` takes them too."""
    parser.add_argument("checkpoints", nargs="+", type=Path, help="files of experiments.train")
    parser.add_argument("--data", required=True, help="as for experiments.train")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded photos")
    parser.add_argument(
        "--photo-size",
        type=int,
        help="side of the decoded photos; if none, the resolution they are looked at",
    )


def opened(options: argparse.Namespace, size: int) -> Photos:
    """The validation part that ``add_inputs``'s options name, for a resolution."""
    side = size if options.photo_size is None else options.photo_size
    return open_photos(options.data, "val", side, options.cache)


def name_of(path: Path) -> str:
    """What a checkpoint is called in a report: its folder, if it is a training's result."""
    return path.resolve().parent.name if path.stem == "model" else path.stem


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.faithfulness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_inputs(parser)
    parser.add_argument("--photos", type=int, default=200, help="how many, drawn at random")
    parser.add_argument("--layer", help="such as layer4.1; the last one if none")
    parser.add_argument("--steps", type=int, default=12, help="of the curves")
    parser.add_argument("--out", type=Path, help="folder of the two reports")
    options = parser.parse_args(arguments)
    words = shlex.join(sys.argv[1:] if arguments is None else arguments)
    command = f"python -m experiments.faithfulness {words}"
    check_range("photos", options.photos, 1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    about = {path: describe(path) for path in options.checkpoints}
    for path, description in about.items():
        layers = list(attention_layers(blank(description.spec)))
        if options.layer and layers and options.layer not in layers:
            raise ValueError(
                f"layer must be one of {', '.join(layers)} for {path}, not {options.layer}"
            )
    sizes = {one.input_size for one in about.values()}
    photos = {size: first(opened(options, size), options.photos) for size in sizes}
    count = len(photos[min(sizes)].labels)
    judged = []
    for path in options.checkpoints:
        if about[path].spec.attention is None:
            print(f"{name_of(path)} is left out: it has no attention, hence no map to judge")
            continue
        checkpoint = load_checkpoint(path, device)
        seen = photos[about[path].input_size]
        judged.append(judge(name_of(path), checkpoint, seen, options.layer, options.steps, device))
    report = markdown(judged, count, options.steps, command)
    print(report)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        write_whole(options.out / "faithfulness.md", report)
        content = {
            "command": command,
            "machine": about_machine(),
            "photos": count,
            "steps": options.steps,
            "results": [asdict(item) for item in judged],
        }
        write_whole(options.out / "faithfulness.json", json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
