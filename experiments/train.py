"""Train a network, or go on with a training that was stopped.

Examples:
    python -m experiments.train tiny-imagenet-200 --out runs/drtam --preset short
    python -m experiments.train imagenet --out runs/paper --preset paper-resnet50 --attention ca
    torchrun --nproc-per-node 8 -m experiments.train imagenet --out runs/r101 \\
        --backbone resnet101 --preset paper-resnet101
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
from dataclasses import asdict, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints

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
    PRESETS,
    AnyRecipe,
    DetectionRecipe,
    Optimisation,
    Recipe,
    SegmentationRecipe,
    choose,
    documented,
    overridden,
)
from experiments.segmentation import Segmentation
from experiments.task import Task
from experiments.training import Job, Training
from experiments.voc import open_voc
from experiments.weights import freeze, start_from, zero_residuals
from models import ATTENTIONS, BACKBONES, build_model
from models.build import IMPLEMENTATIONS, MAX_CLASSES
from models.checkpoints import CheckpointError, describe, load_checkpoint, save_checkpoint

SETTINGS = {  # titles of the help, and whose fields stand there
    "recipe, instead of the preset's": Optimisation,
    "recipe of classification": Recipe,
    "recipe of detection": DetectionRecipe,
    "recipe of segmentation": SegmentationRecipe,
}
PATIENCE = timedelta(hours=3)  # of the processes that wait while the first one measures


def parser() -> argparse.ArgumentParser:
    """The options; those of the recipe override the preset."""
    found = argparse.ArgumentParser(
        prog="python -m experiments.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument(
        "data",
        help="folder, for classification also a data set's name on the Hugging Face hub; for "
        "detection in COCO format, for segmentation in VOC's layout",
    )
    found.add_argument("--out", type=Path, required=True, help="folder of this training")
    found.add_argument("--preset", choices=PRESETS, help="if none, the backbone's short one")
    network = found.add_argument_group("network")
    network.add_argument("--backbone", choices=BACKBONES, help="if none, the preset's")
    network.add_argument("--attention", choices=[*ATTENTIONS, "none"], default="drtam")
    network.add_argument("--s", type=int, default=3, help="S of DRTAM (default 3)")
    network.add_argument("--n", type=int, default=1, help="N of DRTAM (default 1; MobileNetV2 4)")
    network.add_argument(
        "--r",
        type=int,
        default=32,
        help="reduction ratio (default 32; the paper has 16 for ResNet-101 and Mask R-CNN)",
    )
    network.add_argument("--placement", choices=["block", "stage"], default="block")
    network.add_argument("--implementation", choices=IMPLEMENTATIONS, default="paper")
    network.add_argument("--backbone-weights", help="file, or a name such as IMAGENET1K_V2")
    network.add_argument(
        "--fresh-attention",
        action="store_true",
        help="start with random attention even if the weights have some of the same kind, as "
        "networks do that are compared with others",
    )
    run = found.add_argument_group("run")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--accumulate", type=int, default=1, help="parts of a batch, for memory")
    run.add_argument("--compile", action="store_true", help="use torch.compile")
    run.add_argument("--save-seconds", type=float, default=300, help="between two saves")
    run.add_argument("--workers", type=int, default=4, help="processes that read photos, if files")
    photos = found.add_argument_group("classification only")
    photos.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded photos")
    photos.add_argument("--photo-size", type=int, help="side of the decoded photos in pixels")
    photos.add_argument("--distill-from", type=Path, help="checkpoint of a teacher")
    shared = {field.name for field in fields(Optimisation)}
    for title, recipe in SETTINGS.items():
        group = found.add_argument_group(title)
        for field in fields(recipe):
            if recipe is Optimisation or field.name not in shared:
                _add_setting(group, recipe, field.name)
    return found


def _add_setting(group: Any, recipe: type[Optimisation], name: str) -> None:
    """An option for a setting of a recipe, with its docstring as help."""
    kind = get_type_hints(recipe)[name]
    about = documented(recipe)[name].replace("%", "%%")
    option = "--" + name.replace("_", "-")
    if kind is bool:
        group.add_argument(option, type=_yes_or_no, metavar="{yes,no}", help=about)
    elif choices := get_args(kind):
        group.add_argument(option, choices=choices, help=about)
    else:
        group.add_argument(option, type=kind, help=about)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train as the options say."""
    options = parser().parse_args(arguments)
    device = _device()
    options.preset, options.backbone = choose(options.preset, options.backbone)
    recipe = overridden(options.preset, vars(options))
    check_range("accumulate", options.accumulate, 1)
    task = _task(options, recipe, device)
    model = _network(options, recipe, len(task.classes))
    identity = {
        **{k: str(v) for k, v in asdict(model.spec).items()},  # type: ignore[call-overload]
        **{k: str(v) for k, v in asdict(recipe).items()},
        "data": str(options.data),
        "photos": len(task),
        "seed": options.seed,
        "accumulate": options.accumulate,
        "backbone_weights": options.backbone_weights,
        "fresh_attention": options.fresh_attention,
        "distill_from": str(options.distill_from),
    }
    if isinstance(recipe, Recipe):
        identity["photo_size"] = options.photo_size or recipe.size
    options.out.mkdir(parents=True, exist_ok=True)
    how = _recipe(options, arguments)
    job = Job(
        recipe, options.out, options.seed, identity, options.accumulate, options.save_seconds
    )
    training = Training(job, model, task, device, fast=options.compile)
    training.run()
    if training.rank == 0:
        save_checkpoint(
            training.result,
            options.out / "model.safetensors",
            classes=task.classes,
            input_size=recipe.size,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            accuracy=training.measured,
            recipe=how,
            half=True,
        )
        measured = [f"{k} {training.measured[v]:.2f} %" for k, v in task.headline.items()]
        print(f"{', '.join(measured)}, {options.out / 'model.safetensors'}")


def _task(options: argparse.Namespace, recipe: AnyRecipe, device: torch.device) -> Task[Any]:
    """The data, and what is to be learned from them."""
    if isinstance(recipe, Recipe):
        side = options.photo_size or recipe.size
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


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"must be yes or no, not {text}")
    return text == "yes"


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
