"""Fit a trained classifier to the resolution at which it will be looked at, without training.

Example:
    python -m experiments.adapt runs/drtam/model.safetensors --data tiny-imagenet-200 \\
        --size 96 --out runs/drtam-adapted

Random crops enlarge what they show, so a network learns from other sizes of things than whole
photos have. Two things are measured anew: the mean and variance of every batch norm, on training
photos that are not cropped (Touvron et al., 2019), and one temperature of the logits (Guo et al.,
2017), on every second validation photo. The temperature goes into the last layer and changes no
answer but by rounding. Writes model.safetensors into the folder given with --out, and the log.csv
of the training if it is beside the checkpoint.
"""

from __future__ import annotations

import argparse
import math
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import update_bn
from tqdm import tqdm

from drtam.checks import check_range
from experiments.accuracy import BATCH, Accuracy, accuracy_of, batches, classified
from experiments.machine import commit, machine
from experiments.mixed_precision import autocast
from experiments.photos import Photos, open_photos
from models import CLASSIFIERS
from models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint

TEMPERATURES = (0.05, 20.0)


def drawn(photos: Photos, count: int) -> Photos:
    """At most ``count`` photos in random order, as many as fill batches.

    Norms average over batches: each has to hold all kinds of photos, and as many as the others.
    """
    count = min(count, len(photos.labels))
    chosen = np.random.default_rng(0).permutation(len(photos.labels))
    chosen = chosen[: count - count % BATCH if count > BATCH else count]
    return Photos(photos.images[chosen], photos.labels[chosen], None, photos.classes)


@torch.no_grad()
def renew_statistics(
    checkpoint: Checkpoint, photos: Photos, size: int, device: torch.device
) -> None:
    """Measure every batch norm's mean and variance on whole photos, ``drawn``, of a size."""
    about = checkpoint.description
    parts = batches(photos, size, about.mean, about.std, device)
    shown = tqdm(parts, desc="batch norms", unit="batch", leave=False, disable=None)
    images = (x.contiguous(memory_format=torch.channels_last) for _, x, _ in shown)
    with autocast(device):
        update_bn(images, checkpoint.model)


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T for which logits / T, (N, K), have the least cross-entropy with labels (N,)."""

    def loss(log_t: float) -> float:
        return float(cross_entropy(logits / math.exp(log_t), labels))

    low, high = map(math.log, TEMPERATURES)
    return math.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x)


@torch.no_grad()
def divide_logits(model: nn.Module, temperature: float) -> None:
    """Build a temperature into the last linear layer, which returns the logits."""
    *_, last = (module for module in model.modules() if isinstance(module, nn.Linear))
    last.weight.div_(temperature)
    last.bias.div_(temperature)


def adapt(
    checkpoint: Checkpoint, train: Photos, val: Photos, size: int, device: torch.device
) -> tuple[dict[str, Accuracy], float]:
    """Change the network of a checkpoint as the module's docstring says.

    Args:
        checkpoint: of a classifier.
        train: photos for the batch norms, ``drawn``.
        val: photos of which every second one decides the temperature.
        size: resolution in pixels.
        device: where the network is.

    Returns:
        Accuracy on the other half of ``val`` after each step, and the temperature.
    """
    about, found = checkpoint.description, {}

    def answers() -> tuple[Tensor, Tensor]:
        pairs = classified(checkpoint.model, val, size, about.mean, about.std, device)
        logits, labels = zip(*pairs, strict=True)
        return torch.cat(logits), torch.cat(labels)

    def other_half(logits: Tensor, labels: Tensor) -> Accuracy:
        return accuracy_of([(logits[1::2], labels[1::2])], len(val.classes))

    found["as trained"] = other_half(*answers())
    renew_statistics(checkpoint, train, size, device)
    logits, labels = answers()
    found["statistics of whole photos"] = other_half(logits, labels)
    temperature = best_temperature(logits[::2], labels[::2])
    divide_logits(checkpoint.model, temperature)
    found["and the temperature"] = other_half(logits / temperature, labels)
    return found, temperature


def table(found: dict[str, Accuracy]) -> Iterator[str]:
    """The lines of a table of ``adapt``'s accuracies."""
    yield "| | top-1 | top-5 | calibration error |"
    yield "|---|--:|--:|--:|"
    for name, values in found.items():
        yield f"| {name} | {' | '.join(f'{value:.2f} %' for value in asdict(values).values())} |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.adapt",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="file of experiments.train")
    parser.add_argument("--data", required=True, help="as for experiments.train")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded photos")
    parser.add_argument("--photo-size", type=int, help="side of the decoded photos; if none, SIZE")
    parser.add_argument("--size", type=int, required=True, help="resolution in pixels")
    parser.add_argument("--photos", type=int, default=5000, help="for the batch norms, at random")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new checkpoint")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _parser().parse_args(arguments)
    words = shlex.join(sys.argv[1:] if arguments is None else arguments)
    own = f"python -m experiments.adapt {words} (commit {commit() or 'unknown'}, {machine()})"
    check_range("photos", options.photos, 2)
    check_range("size", options.size, 1, 4096)
    if options.out.resolve() == options.checkpoint.parent.resolve():
        raise ValueError(f"out must be another folder than {options.checkpoint} is in")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint = load_checkpoint(options.checkpoint, device)
    about = checkpoint.description
    if about.spec.backbone not in CLASSIFIERS:
        raise ValueError(f"{options.checkpoint} must hold a classifier, not {about.spec.backbone}")
    side = options.size if options.photo_size is None else options.photo_size
    train, val = (
        open_photos(options.data, split, side, options.cache) for split in ("train", "val")
    )
    if about.classes != val.classes:
        raise ValueError(f"{options.checkpoint} must know the classes of the photos, and does not")
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = drawn(train, options.photos)
    found, temperature = adapt(checkpoint, chosen, val, options.size, device)
    save_checkpoint(
        checkpoint.model,
        options.out / "model.safetensors",
        classes=about.classes,
        input_size=options.size,
        mean=about.mean,
        std=about.std,
        accuracy=asdict(found["and the temperature"]),
        recipe="\n".join(filter(None, (about.recipe, own))),
        half=True,
    )
    log = options.checkpoint.parent / "log.csv"
    if log.exists():
        shutil.copy(log, options.out)
    print("\n".join(table(found)))
    print(f"Temperature {temperature:.2f}. The rows are of every second validation photo.")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
