"""What things cost, as ratios within one process.

Examples:
    python -m experiments.bench network --batch 8
    python -m experiments.bench train --dtype bfloat16 --batch 64 --size 64
    python -m experiments.bench module
    python -m experiments.bench analyze --backbone resnet50 --size 224
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

import torch
from gradio.media import get_image
from torch import Tensor, nn

from drtam.explain import analyze, load_photo, prepare
from experiments.machine import machine
from experiments.timing import ratios
from models import ATTENTIONS, CLASSIFIERS, build_model

PAPER_R = {"drtam": 32, "cbam": 16, "ca": 32}  # what Table 4 found best for ResNet-50
STAGES = ((256, 56), (512, 28), (1024, 14), (2048, 7))  # C and side of ResNet-50's at 224 px
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def bench_network(options: argparse.Namespace) -> None:
    """Print what inference costs with each attention, over the plain backbone."""
    report_networks(options, "inference", lambda model, x: _inference(model.eval(), x))


def bench_train(options: argparse.Namespace) -> None:
    """Print what forward and backward cost with each attention, over the plain backbone."""
    report_networks(options, "forward and backward", lambda model, x: _step(model.train(), x))


def report_networks(
    options: argparse.Namespace, what: str, work: Callable[[nn.Module, Tensor], Callable[[], None]]
) -> None:
    """Print the ratio of ``work`` with each attention to ``work`` without."""
    x = feature(options.batch, 3, options.size, options.dtype)
    plain, *attended = (
        work(
            build_model(options.backbone, kind, r=PAPER_R.get(kind or "", 32), seed=0)
            .to(x.device)
            .to(memory_format=torch.channels_last),
            x,
        )
        for kind in (None, *ATTENTIONS)
    )
    print(f"{options.backbone}, {what}, {options.dtype}, batch {options.batch}, {options.size} px")
    for kind, ratio in zip(
        ATTENTIONS, ratios(plain, *attended, rounds=options.rounds), strict=True
    ):
        print(f"{kind:6} {ratio} times the plain network, median and quartiles")


def bench_module(options: argparse.Namespace) -> None:
    """Print what a module costs alone, over two passes over X: its mean, and X times a map."""
    for channels, side in STAGES:
        x = feature(options.batch, channels, side, options.dtype)
        attention = torch.rand_like(x)

        def limit(x: Tensor = x, attention: Tensor = attention) -> None:
            x.mean()
            x * attention

        modules = [kind(channels).to(x.device) for kind in ATTENTIONS.values()]
        found = ratios(limit, *(_inference(m.eval(), x) for m in modules), rounds=options.rounds)
        costs = ", ".join(f"{k} {ratio}" for k, ratio in zip(ATTENTIONS, found, strict=True))
        print(f"{options.batch} x {channels} x {side} x {side}: {costs} times the limit")


def bench_analyze(options: argparse.Namespace) -> None:
    """Print what ``analyze`` costs in forward passes of the same network."""
    model = build_model(options.backbone, options.attention, seed=0).eval().requires_grad_(False)
    image = prepare(load_photo(get_image("lion.jpg")), options.size).tensor

    def explain() -> None:
        analyze(model, image)

    def explain_compact() -> None:
        analyze(model, image).compact()

    whole, compact = ratios(
        _inference(model, image), explain, explain_compact, rounds=options.rounds
    )
    print(f"{options.backbone} + {options.attention}, {options.size} px, batch 1")
    print(f"analyze:           {whole} forward passes, median and quartiles")
    print(f"analyze, compact:  {compact} forward passes, median and quartiles")


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
    analysis.add_argument("--attention", choices=ATTENTIONS, default="drtam")
    options = parser.parse_args(arguments)
    print(machine())
    options.run(options)


if __name__ == "__main__":
    main()
