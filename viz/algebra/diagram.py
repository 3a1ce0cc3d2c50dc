"""Figure 2 and Figure 3 as HTML: every node a button with its values, arrows between them."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import pairwise

from viz.algebra.nodes import NODES, STEPS
from viz.algebra.scene import MARKS, Pass, Scene
from viz.algebra.shapes import shape_of
from viz.algebra.thumbnails import thumbnail

WIDTH = 980
HEAD = (  # of the arrows of both figures; stands in Figure 2, which is never hidden
    '<defs><marker id="algebra-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" class="head"/></marker></defs>'
)


@dataclass(frozen=True)
class Box:
    """Where a node stands, in pixels."""

    key: str
    left: int
    top: int
    width: int
    height: int

    @property
    def start(self) -> tuple[int, int]:
        """Where arrows leave it."""
        return self.left + self.width, self.top + self.height // 2

    @property
    def end(self) -> tuple[int, int]:
        """Where arrows reach it."""
        return self.left, self.top + self.height // 2


def diagram_html(scene: Scene, selected: str) -> str:
    """Both figures; buttons carry ``data-node``, the selected one is pressed.

    Of Figure 3 there are two, for the two passes, and the page shows that of the selected node.
    """
    note = f'<em class="untrained">{escape(scene.note)}</em>' if scene.note else ""
    shown = "complement" if selected.startswith("complement.") else "initial"
    inner = "".join(_figure_3(scene, which, selected, shown == which, note) for which in MARKS)
    return f'<div class="algebra">{_figure_2(scene, selected, note)}{inner}</div>'


def _figure_2(scene: Scene, selected: str, note: str) -> str:
    step, width, height = 111, 90, 60
    top, middle, bottom = 26, 92, 158
    triple = {"ch": top, "cw": middle, "hw": bottom}
    at = {
        "x": (0, middle),
        **{f"x.{kind}": (1, y) for kind, y in triple.items()},
        "initial.rtam": (2, middle),
        "initial.map": (3, top),
        "rdem": (3, middle),
        **{f"residual.{kind}": (4, y) for kind, y in triple.items()},
        "complement.rtam": (5, middle),
        "complement.map": (6, middle),
        "combined": (7, middle),
        "output": (8, middle),
    }
    boxes = {key: Box(key, k * step, y, width, height) for key, (k, y) in at.items()}
    straight = [
        *(("x", f"x.{kind}") for kind in triple),
        *((f"x.{kind}", "initial.rtam") for kind in triple),
        ("initial.rtam", "initial.map"),
        ("initial.rtam", "rdem"),
        *(("rdem", f"residual.{kind}") for kind in triple),
        *((f"residual.{kind}", "complement.rtam") for kind in triple),
        ("complement.rtam", "complement.map"),
        ("complement.map", "combined"),
        ("combined", "output"),
    ]
    lines = [HEAD, *(_arrow(boxes[a], boxes[b]) for a, b in straight)]
    lines += [
        _detour(boxes["x"], boxes["output"], 6),
        _detour(boxes["initial.map"], boxes["combined"], 16),
        _detour(boxes["x.hw"], boxes["rdem"], 228),
        _detour(boxes["initial.rtam"], boxes["complement.rtam"], 240, kind="shared"),
        _text(4 * step + width // 2, 236, "F0 and F1 are shared"),
    ]
    buttons = [_button(box, scene, selected) for box in boxes.values()]
    caption = f"Figure 2: two passes, the second on what the first left over {note}"
    return _canvas(caption, 246, lines, buttons)


def _figure_3(scene: Scene, which: Pass, selected: str, shown: bool, note: str) -> str:
    step, width, height = 168, 134, 60
    rows = {axis: 20 + 68 * k for k, axis in enumerate("chw")}
    boxes = {
        f"{which}.{axis}.{name}": Box(f"{which}.{axis}.{name}", k * step, y, width, height)
        for axis, y in rows.items()
        for k, name in enumerate(STEPS)
    }
    end = boxes[f"{which}.map"] = Box(f"{which}.map", 5 * step, rows["h"], width, height)
    lines = []
    for axis in rows:
        chain = [*(boxes[f"{which}.{axis}.{name}"] for name in STEPS), end]
        lines += [_arrow(a, b) for a, b in pairwise(chain)]
    heads = ("cut into chunks", "pool", "convolve", "MLP or batch norm", "sigmoid", "multiply")
    lines += [_text(k * step + width // 2, 12, head) for k, head in enumerate(heads)]
    buttons = [_button(box, scene, selected) for box in boxes.values()]
    caption = f"Figure 3: inside the RTAM of the {which} pass {note}"
    return _canvas(caption, 222, lines, buttons, which=which, hidden=not shown)


def _canvas(
    caption: str,
    height: int,
    lines: list[str],
    buttons: list[str],
    *,
    which: str = "",
    hidden: bool = False,
) -> str:
    attributes = f' data-pass="{which}"' if which else ""
    return (
        f"<figure{attributes}{' hidden' if hidden else ''}><figcaption>{caption}</figcaption>"
        f'<div class="scroll" tabindex="0" role="group" aria-label="{caption.partition(":")[0]}">'
        f'<div class="canvas" style="width:{WIDTH}px;height:{height}px">'
        f'<svg class="arrows" viewBox="0 0 {WIDTH} {height}" aria-hidden="true">'
        f"{''.join(lines)}</svg>{''.join(buttons)}</div></div></figure>"
    )


def _button(box: Box, scene: Scene, selected: str) -> str:
    node = NODES[box.key]
    place = f"left:{box.left}px;top:{box.top}px;width:{box.width}px;height:{box.height}px"
    return (
        f'<button data-node="{box.key}" aria-pressed="{str(box.key == selected).lower()}" '
        f'aria-label="{node.title}, {node.where}" title="{node.title}, {node.where}" '
        f'style="{place}"><b>{node.symbol}</b><small>{shape_of(box.key, scene)}</small>'
        f'<span class="values">{thumbnail(box.key, scene)}</span></button>'
    )


def _arrow(a: Box, b: Box) -> str:
    (x1, y1), (x2, y2) = a.start, b.end
    return f'<path d="M{x1 + 1},{y1} L{x2 - 2},{y2}" class="arrow"/>'


def _detour(a: Box, b: Box, y: int, *, kind: str = "arrow") -> str:
    """Above or below everything that stands between two nodes."""
    x1, x2 = a.left + a.width // 2, b.left + b.width // 2
    above = y < a.top
    y1, y2 = (a.top, b.top - 2) if above else (a.top + a.height, b.top + b.height + 2)
    return f'<path d="M{x1},{y1} V{y} H{x2} V{y2}" class="{kind}"/>'


def _text(x: int, y: int, text: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle">{text}</text>'
