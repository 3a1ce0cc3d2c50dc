"""The README's examples run, and give what their comments say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from experiments.server import ROOT

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def run(*words: str, **names: Any) -> dict[str, Any]:
    """The names that the one block with these words defines, beside those it is given."""
    (block,) = [block for block in BLOCKS if all(word in block for word in words)]
    exec(block, names)
    return names


def test_a_network_of_ones_own_is_explained():
    layer = run("nn.Linear", "analyze(")["layer"]
    assert layer.trace.initial.c.shape == (1, 64)
    assert layer.trace.attention().shape == (1, 64, 55, 55)
    assert layer.gradcam.shape == (1, 55, 55)
    assert layer.residual.error.shape == (1, 3)


def test_a_network_of_torchvisions_takes_the_modules():
    names = run("torchvision.models")
    layers = names["analysis"].layers
    assert list(layers) == [f"layer4.{k}.bn3" for k in range(3)]
    assert layers["layer4.0.bn3"].trace.attention().mean().item() == pytest.approx(0.98)


def test_the_shipped_network_names_the_espresso(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = run("load_checkpoint(", "analyze(")
    assert names["about"].classes[int(names["analysis"].target[0])] == "espresso"


def test_parts_of_it_are_switched_off():
    known = run("nn.Linear", "analyze(")
    names = run("ablate(", network=known["network"], torch=known["torch"])
    assert names["found"].change.shape == (1,)
    trace = names["found"].after.layers["1"].trace
    assert trace.complement.map().max() == 0
    assert trace.initial.c.std() < 1e-6


def test_the_papers_network_is_built_and_counted():
    names = run("build_model(", "complexity(")
    layers = list(names["attention_layers"](names["network"]))
    assert layers[:2] + layers[-1:] == ["layer1.0", "layer1.1", "layer4.2"]
    found = names["complexity"](names["network"])
    assert (round(found.params / 1e6, 2), round(found.gflops, 2)) == (26.83, 4.14)
