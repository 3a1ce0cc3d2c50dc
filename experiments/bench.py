"""What things cost, as ratios within one process: median and quartiles of interleaved runs.

Examples:
    python -m experiments.bench network --batch 8
    python -m experiments.bench network --compile --record
    python -m experiments.bench train --dtype bfloat16 --batch 64 --size 64
    python -m experiments.bench module
    python -m experiments.bench analyze --backbone resnet50 --size 224

With --record the numbers go into experiments/benchmarks.json and BENCHMARKS.md, in place of
earlier ones of the same command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

import torch
from gradio.media import get_image
from torch import Tensor, nn

from drtam.explain import analyze, load_photo, prepare
from experiments.benchmarks import Table, record
from experiments.machine import machine
from experiments.timing import Ratio, ratios
from experiments.transcriptions import transcribe, transcribed
from models import ATTENTIONS, CLASSIFIERS, build_model

PAPER_R = {"drtam": 32, "cbam": 16, "ca": 32}  # what Table 4 found best for ResNet-50
STAGES = ((256, 56), (512, 28), (1024, 14), (2048, 7))  # C and side of ResNet-50's at 224 px
USUAL = ", as usually written"  # see ``transcriptions``
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def bench_network(options: argparse.Namespace) -> Table:
    """What inference costs with each attention, over the plain backbone."""
    return of_networks(options, "inference", lambda model, x: _inference(model.eval(), x))


def bench_train(options: argparse.Namespace) -> Table:
    """What forward and backward cost with each attention, over the plain backbone."""
    return of_networks(options, "training step", lambda model, x: _step(model.train(), x))


def of_networks(
    options: argparse.Namespace, what: str, work: Callable[[nn.Module, Tensor], Callable[[], None]]
) -> Table:
    """The ratio of ``work`` with each attention, and with it as usually written, to none."""
    x = feature(options.batch, 3, options.size, options.dtype)

    def network(kind: str | None) -> nn.Module:
        return build_model(options.backbone, kind, r=PAPER_R.get(kind or "", 32), seed=0)

    models = {"none": network(None)}
    models |= {kind: network(kind) for kind in ATTENTIONS}
    models |= {f"{kind}{USUAL}": transcribe(network(kind)) for kind in ATTENTIONS}
    works = []
    for model in models.values():
        model.to(x.device).to(memory_format=torch.channels_last)
        if options.compile:
            model.compile()
        works.append(work(model, x))
    plain, *attended = works
    found = ratios(plain, *attended, rounds=options.rounds)
    compiled = ", torch.compile" if options.compile else ""
    size = f"{options.dtype}, batch {options.batch}, {options.size} px{compiled}"
    title = f"{options.backbone}, {what}, {size}"
    return Table(title, "the plain network", dict(zip(list(models)[1:], found, strict=True)))


def bench_module(options: argparse.Namespace) -> Table:
    """What a module costs alone, over two passes over X: its mean, and X times a map."""
    rows: dict[str, Ratio] = {}
    for channels, side in STAGES:
        x = feature(options.batch, channels, side, options.dtype)
        attention = torch.rand_like(x)

        def limit(x: Tensor = x, attention: Tensor = attention) -> None:
            x.mean()
            x * attention

        own = {kind: make(channels).to(x.device).eval() for kind, make in ATTENTIONS.items()}
        modules = own | {f"{kind}{USUAL}": transcribed(m) for kind, m in own.items()}
        works = [_inference(module, x) for module in modules.values()]
        found = ratios(limit, *works, rounds=options.rounds)
        shape = f"{channels} x {side} x {side}"
        rows |= {f"{shape}, {name}": r for name, r in zip(modules, found, strict=True)}
    title = f"a module alone, {options.dtype}, batch {options.batch}"
    return Table(title, "one pass that reads X and one that writes it too", rows)


def bench_analyze(options: argparse.Namespace) -> Table:
    """What ``analyze`` costs in forward passes of the same network."""
    model = build_model(options.backbone, options.attention, seed=0).eval().requires_grad_(False)
    image = prepare(load_photo(get_image("lion.jpg")), options.size).tensor

    def explain() -> None:
        analyze(model, image)

    def explain_compact() -> None:
        analyze(model, image).compact()

    found = ratios(_inference(model, image), explain, explain_compact, rounds=options.rounds)
    title = f"{options.backbone} + {options.attention}, {options.size} px, batch 1"
    rows = dict(zip(("analyze", "analyze, compact"), found, strict=True))
    return Table(title, "a forward pass", rows)


def feature(batch: int, channels: int, side: int, dtype: str) -> Tensor:
    """A random (B, C, H, W) in channels_last, on the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.randn(batch, channels, side, side, device=device, dtype=DTYPES[dtype])
    return x.contiguous(memory_format=torch.channels_last)


def _inference(model: nn.Module, x: Tensor) -> Callable[[], None]:
    model = model.to(x.dtype)

    @torch.inference_mode()
    def forward() -> None:
        model(x)
        _wait(x)

    return forward


def _step(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """Weights are float32; the dtype is autocast's."""
    low = x.dtype != torch.float32

    def step() -> None:
        with torch.autocast(x.device.type, x.dtype, enabled=low):
            logits = model(x.float())
        logits.float().square().sum().backward()
        model.zero_grad()
        _wait(x)

    return step


def _wait(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize()


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    commands = parser.add_subparsers(required=True)
    for name, run, text in (
        ("network", bench_network, "inference over the plain backbone"),
        ("train", bench_train, "a training step over the plain backbone's"),
        ("module", bench_module, "a module alone over the memory's limit"),
        ("analyze", bench_analyze, "analyze() over plain forward passes"),
    ):
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=run)
        command.add_argument("--rounds", type=int, default=15)
        command.add_argument("--record", action="store_true", help="keep the numbers")
        yield command


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    network, train, module, analysis = _commands(parser)
    for command in (network, train, analysis):
        command.add_argument("--backbone", choices=CLASSIFIERS, default="resnet50")
        command.add_argument("--size", type=int, default=224, help="pixels per side")
    for command in (network, train, module):
        command.add_argument("--batch", type=int, default=1)
        command.add_argument("--dtype", choices=DTYPES, default="float32")
    for command in (network, train):
        command.add_argument("--compile", action="store_true", help="use torch.compile")
    analysis.add_argument("--attention", choices=ATTENTIONS, default="drtam")
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(given)
    table: Table = options.run(options)
    print(machine())
    print(table.markdown())
    if options.record:
        record(" ".join(word for word in given if word != "--record"), machine(), table)


if __name__ == "__main__":
    main()
