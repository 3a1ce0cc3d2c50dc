"""Benchmarks that were run: kept as JSON, shown as Markdown, each with its command and machine."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from experiments.timing import Ratio
from experiments.whole import write_whole

FILE = Path(__file__).with_name("benchmarks.json")
HEAD = """# Benchmarks

Written by `python -m experiments.bench ... --record`. Each number is a ratio to something run in
the same process, in turn with it: the median over the rounds, and the quartiles; memory is
measured once. "As usually written" is a straightforward transcription of the paper's equations,
`transcriptions.py`. DRTAM has S=3, N=1 and r=32, as its paper takes for ResNet-50; CBAM has
r=16 and CA r=32, as theirs do.
"""


@dataclass(frozen=True)
class Table:
    """What one command found.

    Attributes:
        title: what was run.
        reference: what each ratio is to.
        rows: by what was measured.
        sentences: what the rows come to.
        picture: of the rows, an SVG file; empty for none.
    """

    title: str
    reference: str
    rows: dict[str, Ratio]
    sentences: list[str] = field(default_factory=list)
    picture: bytes = b""

    def markdown(self) -> str:
        """A heading, the sentences and a table."""
        lines = [f"### {self.title}", ""]
        for sentence in self.sentences:
            lines += [sentence, ""]
        lines += [f"| | times {self.reference} |", "|---|--:|"]
        return "\n".join([*lines, *(f"| {name} | {ratio} |" for name, ratio in self.rows.items())])


def record(command: str, machine: str, table: Table, file: Path = FILE) -> None:
    """Keep a table in the place of the last one of the same title, and write them all.

    Args:
        command: after ``python -m experiments.bench``.
        machine: that ran it, with versions.
        table: what it found.
        file: of all tables; BENCHMARKS.md is written beside it.
    """
    before = json.loads(file.read_text()) if file.exists() else {}
    kept = {name: found for name, found in before.items() if found["title"] != table.title}
    picture = f"{command.split(maxsplit=1)[0]}.svg" if table.picture else ""
    if picture:
        write_whole(file.with_name(picture), table.picture)
    kept[command] = {"machine": machine, **asdict(table), "picture": picture}
    write_whole(file, json.dumps(kept, indent=1) + "\n")
    parts = [HEAD]
    for name, found in sorted(kept.items()):
        rows = {row: Ratio(**ratio) for row, ratio in found["rows"].items()}
        table = Table(found["title"], found["reference"], rows, found["sentences"])
        parts.append(table.markdown())
        if found["picture"]:
            parts.append(f"\n![{found['title']}]({found['picture']})")
        parts.append(f"\n`python -m experiments.bench {name}` on {found['machine']}\n")
    write_whole(file.with_name("BENCHMARKS.md"), "\n".join(parts))
