"""What explaining costs, beside what other libraries take for their part of it."""

from __future__ import annotations

import argparse

import torch
from captum.attr import LayerGradCam
from gradio.media import get_image
from torch import Tensor, nn
from torchcam.methods import GradCAM

from drtam.base import AttentionModule
from drtam.explain import analyze, load_photo, prepare
from experiments.benchmarks import Table
from experiments.timing import ratios
from experiments.workloads import inference, network


def bench_analyze(options: argparse.Namespace) -> Table:
    """What ``analyze`` costs in forward passes of the same network.

    It traces every layer, compares residual descriptors, takes statistics of every map and
    explains a class by Grad-CAM at every layer; torchcam and captum do the last.
    """
    model = network(options.backbone, options.attention).eval().requires_grad_(False)
    image = prepare(load_photo(get_image("lion.jpg")), options.size).tensor
    paths = [p for p, module in model.named_modules() if isinstance(module, AttentionModule)]
    target = int(model(image).argmax())
    works = {
        "analyze": lambda: analyze(model, image),
        "analyze, compact": lambda: analyze(model, image).compact(),
        f"torchcam, Grad-CAM at {len(paths)} layers in one pass": lambda: one_pass(
            model, image, paths, target
        ),
        f"captum, Grad-CAM at {len(paths)} layers one by one": lambda: one_by_one(
            model, image, paths, target
        ),
    }
    found = ratios(inference(model, image), *works.values(), rounds=options.rounds)
    title = f"{options.backbone} + {options.attention}, {options.size} px, batch 1"
    return Table(title, "a forward pass", dict(zip(works, found, strict=True)))


def one_pass(model: nn.Module, image: Tensor, paths: list[str], target: int) -> list[Tensor]:
    """torchcam's Grad-CAM of all layers, (1, H, W) each, for one forward and backward pass."""
    with GradCAM(model, list(paths)) as extractor, torch.enable_grad():
        scores = model(image.clone().requires_grad_())
        maps: list[Tensor] = extractor(target, scores, normalized=False)
    return maps


def one_by_one(model: nn.Module, image: Tensor, paths: list[str], target: int) -> list[Tensor]:
    """captum's Grad-CAM of all layers, (1, 1, H, W) each, a forward and backward pass each."""
    layers = [model.get_submodule(path) for path in paths]
    image = image.clone().requires_grad_()
    return [LayerGradCam(model, layer).attribute(image, target).detach() for layer in layers]
