"""What things cost, as ratios within one process.

Example:
    python -m experiments.bench analyze --backbone resnet50 --size 224
"""

from __future__ import annotations

import argparse

import torch
from gradio.media import get_image

from drtam.explain import analyze, load_photo, prepare
from experiments.machine import machine
from experiments.timing import ratios
from models import ATTENTIONS, BACKBONES, build_model


def bench_analyze(options: argparse.Namespace) -> None:
    """Print what ``analyze`` costs in forward passes of the same network."""
    model = build_model(options.backbone, options.attention, seed=0).eval().requires_grad_(False)
    image = prepare(load_photo(get_image("lion.jpg")), options.size).tensor

    @torch.inference_mode()
    def forward() -> None:
        model(image)

    def explain() -> None:
        analyze(model, image)

    def explain_compact() -> None:
        analyze(model, image).compact()

    whole, compact = ratios(forward, explain, explain_compact, rounds=options.rounds)
    print(f"{options.backbone} + {options.attention}, {options.size} px, batch 1")
    print(f"analyze:           {whole} forward passes, median and quartiles")
    print(f"analyze, compact:  {compact} forward passes, median and quartiles")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("analyze", help="analyze() over plain forward passes")
    command.add_argument("--backbone", choices=BACKBONES, default="resnet50")
    command.add_argument("--attention", choices=ATTENTIONS, default="drtam")
    command.add_argument("--size", type=int, default=224, help="pixels per side")
    command.add_argument("--rounds", type=int, default=15)
    command.set_defaults(run=bench_analyze)
    options = parser.parse_args()
    print(machine())
    options.run(options)


if __name__ == "__main__":
    main()
