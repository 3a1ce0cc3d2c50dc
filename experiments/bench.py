"""What things cost, as ratios within one process: median and quartiles of interleaved runs.

Examples:
    python -m experiments.bench network --batch 8
    python -m experiments.bench network --compile --record
    python -m experiments.bench train --dtype bfloat16 --batch 64 --size 64
    python -m experiments.bench module
    python -m experiments.bench memory --batch 32 --size 128
    python -m experiments.bench growth --record
    python -m experiments.bench analyze --backbone resnet50 --size 224
    python -m experiments.bench page

With --record the numbers go into experiments/benchmarks.json and BENCHMARKS.md, in place of
earlier ones of the same thing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pkgutil import resolve_name

import torch
from torch import Tensor, nn

from drtam.checks import check_range
from experiments.benchmarks import Table, record
from experiments.machine import commit, machine
from experiments.timing import Ratio, ratios
from experiments.transcriptions import transcribed
from experiments.workloads import DTYPES, USUAL, compared, feature, inference, step, wait
from models import ATTENTIONS, CLASSIFIERS

COMPILED = {None: "", "network": ", torch.compile", "attention": ", attention compiled"}
STAGES = ((256, 56), (512, 28), (1024, 14), (2048, 7))  # C and side of ResNet-50's at 224 px


def bench_network(options: argparse.Namespace) -> Table:
    """What inference costs with each attention, over the plain backbone."""
    return of_networks(options, "inference", lambda model, x: inference(model.eval(), x))


def bench_train(options: argparse.Namespace) -> Table:
    """What forward and backward cost with each attention, over the plain backbone."""
    return of_networks(options, "training step", lambda model, x: step(model.train(), x))


def of_networks(
    options: argparse.Namespace, what: str, work: Callable[[nn.Module, Tensor], Callable[[], None]]
) -> Table:
    """The ratio of ``work`` with each attention, and with it as usually written, to none."""
    x = feature(options.batch, 3, options.size, options.dtype)
    models = compared(options.backbone)
    works = []
    for model in models.values():
        model.to(x.device).to(memory_format=torch.channels_last)
        for part in _compiled(model, options.compile):
            part.compile()
        works.append(work(model, x))
    plain, *attended = works
    found = ratios(plain, *attended, rounds=options.rounds)
    size = f"{options.dtype}, batch {options.batch}, {options.size} px{COMPILED[options.compile]}"
    title = f"{options.backbone}, {what}, {size}"
    return Table(title, "the plain network", dict(zip(list(models)[1:], found, strict=True)))


def _compiled(model: nn.Module, what: str | None) -> list[nn.Module]:
    """What of a network is compiled: nothing, itself, or each attention by itself."""
    if what is None:
        return []
    if what == "network":
        return [model]
    return [part for path, part in model.named_modules() if path.endswith("attention")]


def bench_module(options: argparse.Namespace) -> Table:
    """What a module costs alone, over two passes over X: its mean, and X times a map."""
    rows: dict[str, Ratio] = {}
    for channels, side in STAGES:
        x = feature(options.batch, channels, side, options.dtype)
        attention = torch.rand_like(x)

        @torch.inference_mode()
        def limit(x: Tensor = x, attention: Tensor = attention) -> None:
            x.mean()
            wait(x * attention)

        own = {kind: make(channels).to(x.device).eval() for kind, make in ATTENTIONS.items()}
        modules = own | {f"{kind}{USUAL}": transcribed(m) for kind, m in own.items()}
        works = [inference(module, x) for module in modules.values()]
        found = ratios(limit, *works, rounds=options.rounds)
        shape = f"{channels} x {side} x {side}"
        rows |= {f"{shape}, {name}": r for name, r in zip(modules, found, strict=True)}
    title = f"a module alone, {options.dtype}, batch {options.batch}"
    return Table(title, "one pass that reads X and one that writes it too", rows)


HERE = {"network": bench_network, "train": bench_train, "module": bench_module}


def _module(name: str) -> Callable[[argparse.Namespace], Table]:
    """A benchmark in a module of its own, whose libraries are imported for it alone."""

    def run(options: argparse.Namespace) -> Table:
        bench: Callable[[argparse.Namespace], Table]
        bench = resolve_name(f"experiments.bench_{name}.bench_{name}")
        return bench(options)

    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    made = {}
    for name, text in (
        ("network", "inference over the plain backbone"),
        ("train", "a training step over the plain backbone's"),
        ("memory", "the largest memory of a training step, over the plain backbone"),
        ("module", "a module alone over the memory's limit"),
        ("growth", "inference over the plain backbone as inputs and settings grow"),
        ("analyze", "analyze() over plain forward passes"),
        ("page", "shares of the time from an upload until the maps are there"),
    ):
        made[name] = command = commands.add_parser(name, help=text)
        command.set_defaults(run=HERE.get(name) or _module(name))
        command.add_argument("--rounds", type=int, default=15)
        command.add_argument("--record", action="store_true", help="keep the numbers")
    for name in ("network", "train", "memory", "growth", "analyze"):
        made[name].add_argument("--backbone", choices=CLASSIFIERS, default="resnet50")
    for name in ("network", "train", "memory", "analyze"):
        made[name].add_argument("--size", type=int, default=224, help="pixels per side")
    for name in ("network", "train", "memory", "module"):
        made[name].add_argument("--batch", type=int, default=1)
        made[name].add_argument("--dtype", choices=DTYPES, default="float32")
    for name in ("network", "train"):
        made[name].add_argument(
            "--compile",
            nargs="?",
            const="network",
            choices=("network", "attention"),
            help="with torch.compile: all of it, or each attention module by itself",
        )
    made["analyze"].add_argument("--attention", choices=ATTENTIONS, default="drtam")
    made["growth"].add_argument("--largest", type=int, default=1024, help="of any axis")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(given)
    check_range("rounds", options.rounds, 2)
    table: Table = options.run(options)
    print(machine())
    print(table.markdown())
    if options.record:
        where = f"{machine()}, commit {commit() or 'unknown'}"
        record(" ".join(word for word in given if word != "--record"), where, table)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
