"""Networks that were trained alike but for their attention: a small counterpart of Table 4."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from statistics import fmean

from experiments.evaluation import Evaluation, Report, best_size
from experiments.localisation import CENTRE

ATTENTION = re.compile(r" --attention (\S+)")
VARIES = re.compile(
    r" --(?:out|attention|r|implementation|seed) \S+"
    r"| --(?:fresh-attention|compile)\b"
    r"|(?<=experiments\.adapt) \S+"  # the file that was trained before
    r"| \(commit .*\)"
)
HEADS = (
    *("network", "attention", "Param.", "GFLOPs at 224", "latency / plain"),
    *("top-1", "top-5", "calibration error", "pointing game of A", "of Grad-CAM"),
)


def alike(reports: Sequence[Report]) -> Iterator[str]:
    """The lines of a table for each recipe that several attentions have, the newest first."""
    groups: dict[str, list[tuple[Evaluation, Report]]] = {}
    for report in reports:
        for item in report.results:
            groups.setdefault(VARIES.sub("", item.recipe), []).append((item, report))
    for recipe, group in reversed(groups.items()):
        attentions = {_attention(item) for item, _ in group}
        if recipe and len(attentions) > 1:
            yield from _section(group)


def _section(group: Sequence[tuple[Evaluation, Report]]) -> Iterator[str]:
    item, report = group[0]
    common = set.intersection(*(set(item.accuracy) for item, _ in group))
    size = best_size([{k: item.accuracy[k] for k in common} for item, _ in group], report.photos)
    top1 = item.accuracy[size].top1
    error = math.sqrt(top1 * (100 - top1) / report.photos)
    yield "## Trained alike\n"
    yield (
        "The same weights to start from, data and schedule: they differ in their attention. "
        f"Accuracy at {size} pixels, where one standard error of the top-1 is {error:.2f} points; "
        "pointing game at the resolution of the latency, the mean over all layers."
    )
    for item, _ in group:
        if item.maps:
            yield f"The photo's centre alone scores {item.maps[''][CENTRE].pointing:.1f} % in it."
            break
    yield ""
    yield f"| {' | '.join(HEADS)} |"
    yield "|---|---" + "|--:" * (len(HEADS) - 2) + "|"
    for item, report in group:
        latency = f"{item.latency:.2f} at {report.size} px"
        counted = f"{item.params / 1e6:.2f} M | {item.gflops:.2f} | {latency}"
        accuracy = " | ".join(f"{value:.2f} %" for value in astuple(item.accuracy[size]))
        pointing = " | ".join(_pointing(item, kind) for kind in ("combined", "gradcam"))
        yield f"| {item.name} | {_attention(item)} | {counted} | {accuracy} | {pointing} |"
    yield ""


def _pointing(item: Evaluation, kind: str) -> str:
    found = [maps[kind].pointing for maps in item.maps.values() if kind in maps]
    return f"{fmean(found):.1f} %" if found else "–"


def _attention(item: Evaluation) -> str:
    """Of the last training; DRTAM's implementation counts as part of it."""
    last = [line for line in item.recipe.splitlines() if ATTENTION.search(line)][-1:]
    return ", ".join(
        match[1]
        for line in last
        for match in re.finditer(r" --(?:attention|implementation) (\S+)", line)
    )
