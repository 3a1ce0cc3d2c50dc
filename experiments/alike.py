"""Networks that were trained alike but for their attention: a small counterpart of Table 4."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from statistics import fmean

from experiments.evaluation import Evaluation, Report, best_size
from experiments.localisation import CENTRE

OPTION = r"--(?:out|attention|r|implementation|seed)"
WORD = r"(?:'[^']*'|\S+)"  # as a shell quotes it
VARIES = re.compile(
    rf" (?:{OPTION}[ =]{WORD}|'{OPTION}=[^']*')"
    r"| --(?:fresh-attention|compile)\b"
    rf"|(?<=experiments\.adapt) {WORD}"  # the file that was trained before
    r"| \(commit .*\)"
)
HEADS = (
    *("network", "attention", "r", "Param.", "GFLOPs at 224", "latency / plain"),
    *("top-1", "top-5", "calibration error", "pointing game of A", "of Grad-CAM"),
)


def alike(reports: Sequence[Report]) -> Iterator[str]:
    """The lines of a table for each recipe that several attentions have, the newest first."""
    groups: dict[str, list[tuple[Evaluation, Report]]] = {}
    for report in reports:
        for item in report.results:
            if item.recipe and item.spec:
                groups.setdefault(VARIES.sub("", item.recipe), []).append((item, report))
    for group in reversed(groups.values()):
        common = set.intersection(*(set(item.accuracy) for item, _ in group))
        if common and len({_attention(item) for item, _ in group}) > 1:
            yield from _section(group, common)


def _section(group: Sequence[tuple[Evaluation, Report]], common: set[int]) -> Iterator[str]:
    item, report = group[0]
    size = best_size([{k: item.accuracy[k] for k in common} for item, _ in group], report.photos)
    top1 = item.accuracy[size].top1
    error = math.sqrt(top1 * (100 - top1) / report.photos)
    yield f"## Trained alike: {', '.join(item.name for item, _ in group)}\n"
    yield (
        f"The same data, schedule and weights to start from{_source(item)}: they differ in their "
        "attention and its r. "
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
        kind = f"{_attention(item)} | {item.spec['r'] if item.spec['attention'] else '–'}"
        yield f"| {item.name} | {kind} | {counted} | {accuracy} | {pointing} |"
    yield ""


def _pointing(item: Evaluation, kind: str) -> str:
    found = [maps[kind].pointing for maps in item.maps.values() if kind in maps]
    return f"{fmean(found):.1f} %" if found else "–"


def _attention(item: Evaluation) -> str:
    """DRTAM's implementation counts as part of it."""
    kind, implementation = item.spec["attention"], item.spec["implementation"]
    return f"{kind}, {implementation}" if implementation != "paper" else kind or "none"


def _source(item: Evaluation) -> str:
    """What the last training started from."""
    given = re.findall(r" --backbone-weights (\S+)", item.recipe)
    return f" (`{given[-1]}` of that time)" if given else ""
