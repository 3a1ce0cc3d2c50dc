"""Networks that were trained alike stand side by side."""

from __future__ import annotations

import pytest

from experiments.accuracy import Accuracy
from experiments.alike import alike
from experiments.evaluation import Evaluation, Report
from experiments.localisation import CENTRE, Score

TRAIN = (
    "python -m experiments.train data --out runs/{} --attention {} --size 64 (commit {}, machine)"
)
ADAPT = "python -m experiments.adapt runs/{}/model.safetensors --size 96 --out runs/{}-adapted"


def report(name: str, recipe: str, *, top1: float = 50, maps: bool = True) -> Report:
    combined = {} if "--attention none" in recipe else {"combined": Score(40, 50)}
    layers = {
        "": {CENTRE: Score(79.75, 51)},
        "layer1.0": {"gradcam": Score(60, 50), **combined},
        "layer1.1": {"gradcam": Score(71, 50), **combined},
    }
    accuracy = {64: Accuracy(1, 2, 3), 96: Accuracy(top1, 75, 1.25)}
    item = Evaluation(
        name, 12_340_000, 4.125, 1.2, accuracy, layers if maps else {}, {}, recipe=recipe
    )
    return Report("command", "machine", 10_000, 2000, 96, [item])


def recipe(name: str, attention: str, *, first: str = "python -m experiments.train trunk") -> str:
    return "\n".join((first, TRAIN.format(name, attention, name), ADAPT.format(name, name)))


def test_attentions_with_the_same_recipe_stand_in_one_table():
    lines = list(
        alike(
            [
                report("ours", recipe("ours", "drtam --fresh-attention --r 32"), top1=49.5),
                report("alone", recipe("alone", "ca", first="another trunk")),
                report("plain", recipe("plain", "none --seed 1")),
                report("theirs", recipe("theirs", "drtam --implementation authors"), maps=False),
                report("older", ""),
            ]
        )
    )
    assert lines.count("## Trained alike\n") == 1
    assert (
        "Accuracy at 96 pixels, where one standard error of the top-1 is 0.50 points" in lines[1]
    )
    assert "centre alone scores 79.8 %" in lines[2]
    head, rule, *rows = lines[4:-1]
    assert head.count("|") == rule.count("|")
    same, calibrated = "12.34 M | 4.12 | 1.20 at 96 px", "75.00 % | 1.25 %"
    assert rows == [
        f"| ours | drtam | {same} | 49.50 % | {calibrated} | 40.0 % | 65.5 % |",
        f"| plain | none | {same} | 50.00 % | {calibrated} | – | 65.5 % |",
        f"| theirs | drtam, authors | {same} | 50.00 % | {calibrated} | – | – |",
    ]


@pytest.mark.parametrize(
    "other", [recipe("b", "ca").replace("64", "96"), recipe("b", "drtam --seed 3"), ""]
)
def test_what_differs_in_more_than_attention_or_in_nothing_has_no_table(other):
    assert list(alike([report("a", recipe("a", "drtam")), report("b", other)])) == []
