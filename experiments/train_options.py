"""The options of ``experiments.train``."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from experiments.recipe import (
    PRESETS,
    DetectionRecipe,
    Optimisation,
    Recipe,
    SegmentationRecipe,
    documented,
)
from models import ATTENTIONS, BACKBONES
from models.build import IMPLEMENTATIONS

SETTINGS = {  # titles of the help, and whose fields stand there
    "recipe, instead of the preset's": Optimisation,
    "recipe of classification": Recipe,
    "recipe of detection": DetectionRecipe,
    "recipe of segmentation": SegmentationRecipe,
}


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options; those of the recipe override the preset."""
    found = argparse.ArgumentParser(
        prog="python -m experiments.train",
        description=description,
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
    network.add_argument(
        "--n", type=int, default=1, help="N of DRTAM (default 1; the paper has 4 for MobileNetV2)"
    )
    network.add_argument(
        "--r",
        type=int,
        default=32,
        help="reduction ratio (default 32; 16 in the paper for ResNet-101 and Mask R-CNN, and in "
        "CBAM's own paper)",
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
    photos.add_argument(
        "--photo-size", type=int, help="pixels a side of the photos once decoded (default: --size)"
    )
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


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"must be yes or no, not {text}")
    return text == "yes"
