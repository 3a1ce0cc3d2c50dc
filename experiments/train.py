"""Train a network, or go on with a training that was stopped.

Examples:
    python -m experiments.train tiny-imagenet-200 --out runs/drtam --preset short
    python -m experiments.train imagenet --out runs/paper --preset paper-resnet50 --attention ca
    torchrun --nproc-per-node 8 -m experiments.train imagenet --out runs/r101 \\
        --backbone resnet101 --preset paper-resnet101

The folder given with --out gets model.safetensors, log.csv, log/ (TensorBoard) and state.pt;
the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from drtam.explain.photo import IMAGENET_MEAN, IMAGENET_STD
from experiments.machine import machine
from experiments.photos import open_photos
from experiments.recipe import PRESETS, Recipe
from experiments.training import Job, Training
from experiments.weights import start_from
from models import ATTENTIONS, BACKBONES, build_model
from models.build import MAX_CLASSES
from models.checkpoints import load_checkpoint, save_checkpoint


def parser() -> argparse.ArgumentParser:
    """The options; those of the recipe override the preset."""
    found = argparse.ArgumentParser(
        prog="python -m experiments.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("data", help="folder, or a data set's name on the Hugging Face hub")
    found.add_argument("--out", type=Path, required=True, help="folder of this training")
    found.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded photos")
    found.add_argument("--photo-size", type=int, help="side of the decoded photos in pixels")
    found.add_argument("--preset", choices=PRESETS, default="short")
    network = found.add_argument_group("network")
    network.add_argument("--backbone", choices=BACKBONES, default="resnet50")
    network.add_argument("--attention", choices=[*ATTENTIONS, "none"], default="drtam")
    network.add_argument("--s", type=int, default=3)
    network.add_argument("--n", type=int, default=1)
    network.add_argument("--r", type=int, default=32)
    network.add_argument("--placement", choices=["block", "stage"], default="block")
    network.add_argument("--backbone-weights", help="file, or a name such as IMAGENET1K_V2")
    network.add_argument("--distill-from", type=Path, help="checkpoint of a teacher")
    run = found.add_argument_group("run")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--accumulate", type=int, default=1, help="parts of a batch, for memory")
    run.add_argument("--compile", action="store_true", help="use torch.compile")
    run.add_argument("--save-seconds", type=float, default=300, help="between two saves")
    recipe = found.add_argument_group("recipe, instead of the preset's")
    for field in fields(Recipe):
        kinds: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": _yes_or_no}
        kind = kinds.get(str(field.type), str)
        recipe.add_argument("--" + field.name.replace("_", "-"), type=kind)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train as the options say."""
    options = parser().parse_args(arguments)
    device = _device()
    given = {f.name: getattr(options, f.name) for f in fields(Recipe)}
    recipe = replace(PRESETS[options.preset], **{k: v for k, v in given.items() if v is not None})
    side = options.photo_size or recipe.size
    train = open_photos(options.data, "train", side, options.cache)
    val = open_photos(options.data, "val", side, options.cache)
    model = _network(options, len(train.classes))
    identity = {
        **{k: str(v) for k, v in asdict(model.spec).items()},  # type: ignore[call-overload]
        **{k: str(v) for k, v in asdict(recipe).items()},
        "data": str(options.data),
        "seed": options.seed,
        "photo_size": side,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    job = Job(
        recipe,
        options.out,
        options.seed,
        identity,
        IMAGENET_MEAN,
        IMAGENET_STD,
        options.accumulate,
        options.save_seconds,
    )
    training = Training(job, model, train, device, fast=options.compile)
    training.run(val, _teacher(options.distill_from, train.classes, device))
    if training.rank == 0:
        last = training.history[-1]
        save_checkpoint(
            training.result,
            options.out / "model.safetensors",
            classes=train.classes,
            input_size=recipe.size,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            accuracy={k: last[k] for k in ("top1", "top5", "calibration_error")},
            recipe=f"{_command(arguments)} ({machine()})",
            half=True,
        )
        print(f"top-1 {last['top1']:.2f} %, {options.out / 'model.safetensors'}")


def _device() -> torch.device:
    """This process's, after it has joined the others that torchrun started."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local)
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    return torch.device("cuda", local) if cuda else torch.device("cpu")


def _network(options: argparse.Namespace, classes: int) -> nn.Module:
    if not 1 <= classes <= MAX_CLASSES:
        raise SystemExit(f"{options.data} has {classes} classes")
    model = build_model(
        options.backbone,
        None if options.attention == "none" else options.attention,
        s=options.s,
        n=options.n,
        r=options.r,
        placement=options.placement,
        num_classes=classes,
        seed=options.seed,
    )
    if options.backbone_weights:
        fresh = start_from(model, options.backbone_weights)
        print(f"{len(fresh)} tensors start fresh")
    return model


def _teacher(path: Path | None, classes: tuple[str, ...], device: torch.device) -> Any:
    if path is None:
        return None
    teacher = load_checkpoint(path, device)
    if teacher.description.classes != classes:
        raise SystemExit(f"{path} knows other classes than the data: a teacher must know the same")
    return teacher.model.requires_grad_(False)


def _command(arguments: Sequence[str] | None) -> str:
    return "python -m experiments.train " + shlex.join(
        sys.argv[1:] if arguments is None else arguments
    )


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"must be yes or no, not {text}")
    return text == "yes"


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
