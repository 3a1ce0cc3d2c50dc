"""Networks that were trained alike stand side by side."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from experiments.accuracy import Accuracy
from experiments.alike import alike
from experiments.evaluation import Evaluation, Report
from experiments.localisation import CENTRE, Score
from models import Spec

TRAIN = (
    "python -m experiments.train data --out runs/{} --attention {} --size 64 (commit {}, machine)"
)
ADAPT = "python -m experiments.adapt runs/{}/model.safetensors --size 96 --out runs/{}-adapted"


def report(
    name: str,
    recipe: str,
    settings: tuple[str | None, int, str] = ("drtam", 32, "paper"),
    *,
    top1: float = 50,
    maps: bool = True,
    sizes: tuple[int, ...] = (64, 96),
) -> Report:
    combined = {"combined": Score(40, 50)} if settings[0] else {}
    layers = {
        "": {CENTRE: Score(79.75, 51)},
        "layer1.0": {"gradcam": Score(60, 50), **combined},
        "layer1.1": {"gradcam": Score(71, 50), **combined},
    }
    accuracy = {size: Accuracy(1, 2, 3) for size in sizes[:-1]}
    accuracy[sizes[-1]] = Accuracy(top1, 75, 1.25)
    attention, r, implementation = settings
    spec = asdict(Spec("resnet50", attention, r=r, implementation=implementation))
    item = Evaluation(
        *(name, 12_340_000, 4.125, 1.2, accuracy, layers if maps else {}, {}, recipe, spec)
    )
    return Report("command", "machine", 10_000, 2000, 96, [item])


def recipe(name: str, attention: str, *, first: str = "python -m experiments.train trunk") -> str:
    return "\n".join((first, TRAIN.format(name, attention, name), ADAPT.format(name, name)))


def test_attentions_with_the_same_recipe_stand_in_one_table():
    lines = list(
        alike(
            [
                report(
                    "ours",
                    recipe("ours", "drtam --fresh-attention --r 16"),
                    ("drtam", 16, "paper"),
                    top1=49.5,
                ),
                report("alone", recipe("alone", "ca", first="another trunk")),
                report(
                    "plain",
                    recipe("plain", "none --seed=1")
                    .replace("--out runs/plain ", "'--out=my runs/plain' ")
                    .replace("runs/plain/model.safetensors", "'my runs/plain/model.safetensors'"),
                    (None, 32, "paper"),
                ),
                report(
                    "theirs",
                    recipe("theirs", "drtam --implementation authors"),
                    ("drtam", 32, "authors"),
                    maps=False,
                ),
                report("older", ""),
            ]
        )
    )
    assert lines[0] == "## Trained alike: ours, plain, theirs\n"
    assert not any(line.startswith("## Trained alike") for line in lines[1:])
    assert (
        "Accuracy at 96 pixels, where one standard error of the top-1 is 0.50 points" in lines[1]
    )
    assert "centre alone scores 79.8 %" in lines[2]
    head, rule, *rows = lines[4:-1]
    assert head.count("|") == rule.count("|")
    same, calibrated = "12.34 M | 4.12 | 1.20 at 96 px", "75.00 % | 1.25 %"
    assert rows == [
        f"| ours | drtam | 16 | {same} | 49.50 % | {calibrated} | 40.0 % | 65.5 % |",
        f"| plain | none | – | {same} | 50.00 % | {calibrated} | – | 65.5 % |",
        f"| theirs | drtam, authors | 32 | {same} | 50.00 % | {calibrated} | – | – |",
    ]


CA = ("ca", 32, "paper")


@pytest.mark.parametrize(
    "other",
    [
        report("b", recipe("b", "ca").replace("64", "96"), CA),
        report("b", recipe("b", "drtam --seed 3")),
        report("b", "", CA),
        report("b", recipe("b", "ca"), CA, sizes=(128,)),
    ],
)
def test_what_differs_in_more_than_attention_or_in_nothing_has_no_table(other):
    assert list(alike([report("a", recipe("a", "drtam")), other])) == []
