"""The nodes of the figure, in the order in which DRTAM computes them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from viz.algebra import text
from viz.algebra.scene import MARKS, Pass

STEPS = ("cut", "pooled", "mixed", "logit", "factor")


@dataclass(frozen=True)
class Node:
    """One quantity of the paper.

    Attributes:
        key: ``x``, ``x.ch``, ``initial.rtam``, ``initial.c.pooled``, ``combined``...
        name: in words.
        symbol: HTML, as the paper writes it.
        equations: the numbers of the paper's equations that the LaTeX shows.
        latex: display mathematics.
        prose: Markdown, for a newcomer.
    """

    key: str
    name: str
    symbol: str
    equations: tuple[int, ...]
    latex: str
    prose: str

    @property
    def title(self) -> str:
        """Pass and name, in plain text."""
        before = {"initial": "Initial: ", "complement": "Complement: "}
        text = before.get(self.key.partition(".")[0], "") + self.name
        return text[0].upper() + text[1:]

    @property
    def where(self) -> str:
        """The equations' numbers, as the text cites them."""
        first, last = self.equations[0], self.equations[-1]
        return f"Eqn {first}" if first == last else f"Eqn {first}-{last}"


def _node(key: str, entry: text.Entry, which: Pass = "initial", **tokens: str) -> Node:
    """An entry with its tokens filled in, and the superscript C in the complement pass."""
    residual = which == "complement"

    def fill(template: str) -> str:
        for name, value in {"mark": MARKS[which], **tokens}.items():
            template = template.replace(f"<{name}>", value)
        return template

    def descriptor(match: re.Match[str]) -> str:
        kind, chunk = match.groups()
        above = ",".join(filter(None, ("C" if residual else "", chunk)))
        return rf"\mathcal{{X}}_{{{kind}}}" + (f"^{{{above}}}" if above else "")

    above = "<sup>C</sup>" if residual else ""
    symbol = re.sub(r"(X_\w+)", rf"\1{above}", fill(entry.symbol))
    symbol = re.sub(r"_([a-z0-9A-Z]+)", r"<sub>\1</sub>", symbol)
    latex = re.sub(r"\\X(ch|cw|hw)(?:\^(\w))?", descriptor, fill(entry.latex))
    return Node(key, fill(entry.name), symbol, entry.equations, latex, fill(entry.prose))


def _embeddings(which: Pass) -> list[Node]:
    """The three rows of Figure 3."""
    nodes = [
        _node(f"{which}.c.{step}", entry, which)
        for step, entry in zip(STEPS, text.CHANNEL, strict=True)
    ]
    for factor, seen, length, across in (("h", "ch", "H", "W"), ("w", "cw", "W", "H")):
        tokens = {"f": factor, "d": seen, "L": length, "M": across}
        tokens["line"] = {"h": "row", "w": "column"}[factor]
        nodes += [
            _node(f"{which}.{factor}.{step}", entry, which, **tokens)
            for step, entry in zip(STEPS, text.SPATIAL, strict=True)
        ]
    return nodes


def _pass(which: Pass, rtam: text.Entry) -> list[Node]:
    return [
        _node(f"{which}.rtam", rtam, which),
        *_embeddings(which),
        _node(f"{which}.map", text.MAP, which),
    ]


NODES: dict[str, Node] = {
    node.key: node
    for node in (
        _node("x", text.FEATURE),
        *(_node(f"x.{kind}", entry) for kind, entry in text.DESCRIPTORS.items()),
        *_pass("initial", text.RTAM_INITIAL),
        _node("rdem", text.RDEM),
        *(_node(f"residual.{kind}", entry) for kind, entry in text.RESIDUAL.items()),
        *_pass("complement", text.RTAM_COMPLEMENT),
        _node("combined", text.COMBINED),
        _node("output", text.OUTPUT),
    )
}
