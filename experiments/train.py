"""Train a network, or go on with a training that was stopped.

Examples:
    python -m experiments.train tiny-imagenet-200 --out runs/drtam --preset short
    python -m experiments.train imagenet --out runs/paper --preset paper-resnet50 --attention ca
    torchrun --nproc-per-node 8 -m experiments.train imagenet --out runs/r101 \\
        --backbone resnet101 --preset paper-resnet101 --r 16
    torchrun --nproc-per-node 8 -m experiments.train coco --out runs/detector \\
        --preset paper-maskrcnn-resnet50 --backbone-weights IMAGENET1K_V1 --r 16
    python -m experiments.train VOCdevkit --out runs/segmenter \\
        --preset paper-fcn-resnet50 --backbone-weights IMAGENET1K_V1

The task follows from the preset, or from the backbone. The folder given with --out gets
model.safetensors, log.csv, log/ (TensorBoard) and state.pt; the same command goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from drtam.checks import check_range
from drtam.explain.photo import IMAGENET_MEAN, IMAGENET_STD
from experiments.classification import Classification
from experiments.coco import open_coco
from experiments.detection import Detection
from experiments.machine import commit, machine
from experiments.photos import open_photos
from experiments.recipe import (
    AnyRecipe,
    DetectionRecipe,
    Recipe,
    SegmentationRecipe,
    choose,
    overridden,
)
from experiments.segmentation import Segmentation
from experiments.task import Task
from experiments.train_options import parser
from experiments.training import Job, Training
from experiments.voc import open_voc
from experiments.weights import freeze, start_from, zero_residuals
from models import build_model
from models.build import MAX_CLASSES, Spec
from models.checkpoints import CheckpointError, describe, load_checkpoint, save_checkpoint
from models.description import Description

PATIENCE = timedelta(hours=3)  # of the processes that wait while the first one measures


def main(arguments: Sequence[str] | None = None) -> None:
    """Train as the options say."""
    options = parser(__doc__).parse_args(arguments)
    device = _device()
    options.preset, options.backbone = choose(options.preset, options.backbone)
    recipe = overridden(options.preset, vars(options))
    check_range("accumulate", options.accumulate, 1)
    task = _task(options, recipe, device)
    model = _network(options, recipe, len(task.classes))
    normal, how = (IMAGENET_MEAN, IMAGENET_STD), _recipe(options, arguments)
    spec: Spec = model.spec  # type: ignore[assignment]
    # Refuses now what no checkpoint could hold at the end.
    about = Description(spec, task.classes, recipe.size, *normal, recipe=how)
    options.out.mkdir(parents=True, exist_ok=True)
    job = Job(
        recipe,
        options.out,
        options.seed,
        _identity(options, recipe, spec, len(task)),
        options.accumulate,
        options.save_seconds,
    )
    training = Training(job, model, task, device, fast=options.compile)
    file = options.out / "model.safetensors"
    if training.ended and file.exists():
        print(f"the training in {options.out} has ended before: {file}")
        return
    training.run()
    if training.rank == 0:
        save_checkpoint(
            training.result,
            file,
            classes=about.classes,
            input_size=about.input_size,
            mean=about.mean,
            std=about.std,
            accuracy=training.measured,
            recipe=about.recipe,
            half=True,
        )
        measured = [f"{k} {training.measured[v]:.2f} %" for k, v in task.headline.items()]
        print(f"{', '.join(measured)}, {file}")


def _identity(
    options: argparse.Namespace, recipe: AnyRecipe, spec: Spec, photos: int
) -> dict[str, Any]:
    """What a training must have in common with the one that it goes on with."""
    identity = {
        **{k: str(v) for k, v in asdict(spec).items()},
        **{k: str(v) for k, v in asdict(recipe).items()},
        "data": str(options.data),
        "photos": photos,
        "seed": options.seed,
        "accumulate": options.accumulate,
        "backbone_weights": options.backbone_weights,
        "fresh_attention": options.fresh_attention,
        "distill_from": str(options.distill_from),
    }
    if isinstance(recipe, Recipe):
        identity["photo_size"] = _side(options, recipe)
    return identity


def _side(options: argparse.Namespace, recipe: Recipe) -> int:
    """Of the decoded photos."""
    side: int = recipe.size if options.photo_size is None else options.photo_size
    return side


def _task(options: argparse.Namespace, recipe: AnyRecipe, device: torch.device) -> Task[Any]:
    """The data, and what is to be learned from them."""
    if isinstance(recipe, Recipe):
        side = _side(options, recipe)
        train, val = (
            open_photos(options.data, split, side, options.cache) for split in ("train", "val")
        )
        if train.classes != val.classes:
            raise ValueError(
                f"{options.data} must have the same classes in train and val, but only one has "
                f"{', '.join(sorted(set(train.classes) ^ set(val.classes))[:5])}"
            )
        teacher = _teacher(options.distill_from, train.classes, device)
        return Classification(recipe, train, val, device, teacher)
    for name in ("photo_size", "distill_from"):
        if getattr(options, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} is for classification only")
    reading = {"seed": options.seed, "workers": options.workers}
    if isinstance(recipe, SegmentationRecipe):
        named = (open_voc(options.data, "train"), open_voc(options.data, "val"))
        return Segmentation(recipe, *named, device, **reading)
    if options.compile:
        raise ValueError("--compile is not for Mask R-CNN, whose shapes change at every step")
    found = (open_coco(options.data, "train"), open_coco(options.data, "val"))
    return Detection(recipe, *found, device, **reading)


def _device() -> torch.device:
    """This process's, after it has joined the others that torchrun started."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local)
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    return torch.device("cuda", local) if cuda else torch.device("cpu")


def _network(options: argparse.Namespace, recipe: AnyRecipe, classes: int) -> nn.Module:
    if not 2 <= classes <= MAX_CLASSES:
        raise ValueError(f"{options.data} must have 2 to {MAX_CLASSES} classes, not {classes}")
    model = build_model(
        options.backbone,
        None if options.attention == "none" else options.attention,
        s=options.s,
        n=options.n,
        r=options.r,
        placement=options.placement,
        implementation=options.implementation,
        num_classes=classes,
        seed=options.seed,
    )
    frozen = recipe.frozen_stages if isinstance(recipe, DetectionRecipe) else 0
    if options.backbone_weights:
        fresh = start_from(model, options.backbone_weights, options.fresh_attention)
        print(f"{len(fresh)} tensors start fresh")
        if frozen:
            freeze(model, frozen, fresh)
    elif frozen:
        raise ValueError(
            f"frozen_stages must be 0 without --backbone-weights, not {frozen}: frozen random "
            "weights would learn nothing"
        )
    elif isinstance(recipe, Recipe) and recipe.zero_residuals:
        zero_residuals(model)
    return model


def _teacher(path: Path | None, classes: tuple[str, ...], device: torch.device) -> Any:
    if path is None:
        return None
    teacher = load_checkpoint(path, device)
    if teacher.description.classes != classes:
        raise SystemExit(f"{path} knows other classes than the data: a teacher must know the same")
    return teacher.model.requires_grad_(False)


def _recipe(options: argparse.Namespace, arguments: Sequence[str] | None) -> str:
    """The command, its commit and machine; before it those that the weights to start from had."""
    words = shlex.join(sys.argv[1:] if arguments is None else arguments)
    own = f"python -m experiments.train {words} (commit {commit() or 'unknown'}, {machine()})"
    try:
        earlier = describe(options.backbone_weights or "").recipe
    except CheckpointError:  # none, or weights of other people
        earlier = None
    return f"{earlier}\n{own}" if earlier else own


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
