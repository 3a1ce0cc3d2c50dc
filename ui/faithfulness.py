"""Do maps tell the truth: deletion, insertion, ROAD, slight noise and shuffled weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import gradio as gr
import plotly.graph_objects as go
from torch import Tensor, nn

from drtam.explain import Curves, Faithfulness, faithfulness
from drtam.explain.analysis import map_tensors
from drtam.explain.faithfulness import passes
from ui import devices, stopping
from ui.compare import contenders
from ui.compute import Photo, View, prepared
from ui.networks import ATTENTION_NAMES, Source, cost, spec_of
from ui.rivals import PLAIN, rivals
from ui.session import NO_PHOTO, Session, source_of
from viz.faithfulness import STYLES, curves_figure
from viz.text import plain

STEPS = (3, 24)  # what the page and the endpoint offer
DEFAULT_STEPS = 6
Judged = dict[str, tuple[View, Faithfulness]]  # by attention

EXPLANATION = """
A map can look convincing and still have nothing to do with the decision. Five tests of the maps
at the chosen layer, each judged on its own network, beside two maps that know nothing of the
photo: a **random** one, and a blob in the **centre**.

- **Deletion**: the most important pixels turn grey first. A true map makes the probability of the
  class fall at once: **the lower the area, the better**.
- **Insertion**: the most important pixels of a blurred photo become sharp first. **The higher the
  area, the better**.
- **ROAD**: pixels are taken away and filled in from their neighbours, so that grey patches cannot
  fool the network; drawn is what is left without the least important pixels minus what is left
  without the most important ones. **The higher the area, the better**; a random map has about 0.
- **Slight noise**: how much the map changes, relative to its own variation, when nobody would see
  a change in the photo. **The lower, the better**; but a map that ignores the photo scores 0.
- **Shuffled weights**: rank correlation of the map with the one of the same network after its
  weights lost all that they learnt. **The nearer to 0, the better**: at 1 the map does not depend
  on what the network knows.
"""
HINT = "Press **Test the maps**: a few hundred passes of three networks."
UNTRAINED = """
**Untrained: for a network with random weights these numbers say nothing about DRTAM, CBAM, CA or
Grad-CAM.** It recognises nothing, so no map of it can be right or wrong; they show that the tests
run, no more."""
FIGURES = {
    "deletion": ("Deletion: lower is better", "most important pixels removed", "probability"),
    "insertion": ("Insertion: higher is better", "most important pixels shown", "probability"),
    "road": ("ROAD: higher is better, random is about 0", "pixels imputed", "difference"),
}
SECONDS = 60  # that one network takes at most on a GPU
LONGEST = 20_000  # billion multiplications and additions of a test on a CPU: several minutes
HEADS = (
    "network",
    "map",
    "deletion ↓",
    "insertion ↑",
    "ROAD ↑",
    "slight noise ↓",
    "shuffled weights → 0",
)


def build(session: Session) -> None:
    """The tab and its events."""
    with gr.Tab("Do maps tell the truth?"):
        gr.Markdown(EXPLANATION)
        with gr.Row(equal_height=True):
            steps = gr.Slider(
                *STEPS,
                value=DEFAULT_STEPS,
                step=1,
                label="Steps of the curves (more are finer and take longer)",
                elem_id="faithfulness-steps",
            )
            button = gr.Button("Test the maps", variant="primary", elem_id="faithfulness-run")
            stop = gr.Button(
                "Stop", scale=0, min_width=100, visible=False, elem_id="faithfulness-stop"
            )
        tested = gr.State(None)  # what the numbers below are of
        table = gr.Markdown(HINT, elem_id="faithfulness-table")
        plots = [
            gr.Plot(show_label=False, visible=False, elem_id=f"faithfulness-{name}")
            for name in FIGURES
        ]
    unqueued: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    button.click(begin, outputs=stop, **unqueued)
    stop.click(stopping.stop, **unqueued)
    done = button.click(
        draw,
        [*session.inputs, steps],
        [tested, table, *plots],
        concurrency_id="model",
        concurrency_limit=1,
        show_progress_on=[table],
        api_visibility="private",
    )
    done.then(lambda: gr.Button(visible=False), outputs=stop, **unqueued)
    for event in (session.revision.change, done.then):  # the visitor may have gone on meanwhile
        event(forget, [*session.inputs, tested], [tested, table, *plots], **unqueued)


def begin(request: gr.Request) -> gr.Button:
    """The button that ends the test."""
    stopping.fresh(request)
    return gr.Button(visible=True)


def forget(*values: Any) -> list[Any]:
    """Nothing, if the numbers are of what the page shows now; else their removal."""
    *shown, tested = values
    if tested is None or tuple(shown) == tested:
        return [gr.skip()] * (2 + len(FIGURES))
    return nothing(HINT)


def nothing(why: str) -> list[Any]:
    """What the tab shows without a test: why there is none."""
    return [None, why, *(gr.Plot(None, visible=False) for _ in FIGURES)]


@dataclasses.dataclass(frozen=True)
class Share:
    """Reports one network's share of the whole progress, also from another process.

    Attributes:
        progress: of the whole.
        label: of the network.
        done: how many networks were before it.
        of: how many there are.
        visit: that may stop the test; "" if none can.
    """

    progress: gr.Progress
    label: str
    done: int
    of: int
    visit: str

    def __call__(self, share: float, stage: str) -> None:
        """How far the network is, 0 to 1, and with what."""
        self.progress((self.done + share) / self.of, desc=f"{self.label}: {stage}")


def _judge(
    model: nn.Module, image: Tensor, *, layer: str, target: int, steps: int, report: Share
) -> Faithfulness:
    with stopping.stoppable(model, report.visit):
        found = faithfulness(model, image, layer, target, steps=steps, progress=report)
    return map_tensors(found, Tensor.cpu)


def judged(
    photo: Photo,
    network: str,
    size: int,
    target: int,
    layer: str | None,
    steps: int,
    progress: gr.Progress,
    visit: str = "",
) -> tuple[str, Judged]:
    """The layer's name, and by attention how the maps of each network fared.

    Raises:
        gr.Error: the network is a detector, or the test would take too long.
        stopping.StoppedError: the visit has stopped it.
    """
    stopping.check(visit)
    progress(0.0, desc="Analysing with DRTAM, CBAM and CA")
    sources = {k: rival for k, rival in rivals(source_of(network)).items() if k != PLAIN}
    refuse_long(list(sources.values()), int(size), int(steps))
    name, found = contenders(photo, network, size, target, layer, sources)
    results: Judged = {}
    for kind, (view, _) in found.items():
        work = partial(
            _judge,
            layer=name,
            target=int(view.analysis.target[0]),
            steps=int(steps),
            report=Share(progress, ATTENTION_NAMES[kind], len(results), len(found), visit),
        )
        try:
            image = prepared(photo, sources[kind], int(size)).tensor
            result = devices.run(sources[kind], image, work, seconds=SECONDS).value
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        results[kind] = (view, result)
    return name, results


def refuse_long(sources: Sequence[Source], size: int, steps: int) -> None:
    """Raise ``gr.Error`` if a test would keep a CPU from all other visitors for too long."""
    work = 0.0
    for source in sources:
        counted, side = cost(source)
        maps = 4 if spec_of(source).attention == "drtam" else 2
        work += passes(maps, steps) * counted.gflops * (size / side) ** 2
    if work > LONGEST and devices.DEVICE.type == "cpu":
        raise gr.Error(
            f"This test would take {work / LONGEST:.1f} times as long as one may here: choose "
            "fewer steps, a lower resolution or a smaller network.",
            print_exception=False,
        )


def draw(
    photo: Photo | None,
    network: str,
    size: int,
    target: int,
    layer: str | None,
    steps: int,
    request: gr.Request,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes it
) -> list[Any]:
    """What was tested, all numbers as a table, and one figure for each kind of curve."""
    if photo is None:
        raise gr.Error(NO_PHOTO, print_exception=False)
    visit = str(request.session_hash)
    try:
        name, results = judged(photo, network, size, target, layer, steps, progress, visit)
    except stopping.StoppedError:
        return nothing(f"Stopped. {HINT}")
    figures = [gr.Plot(figure_of(metric, name, results), visible=True) for metric in FIGURES]
    tested = photo, network, size, target, layer
    return [tested, report_of(name, results), *figures]


def figure_of(metric: str, layer: str, results: Judged) -> go.Figure:
    """The curves of one metric, a panel for each network."""
    what, across, up = FIGURES[metric]
    panels = {}
    for kind, (view, result) in results.items():
        curves: Curves = getattr(result, metric)
        title = " · ".join([ATTENTION_NAMES[kind], *view.note.split()])
        panels[title] = {
            name: dataclasses.replace(curves, probabilities=curves.probabilities[i : i + 1])
            for i, name in enumerate(result.names)
        }
    return curves_figure(panels, f"{what} · {layer}", across=across, up=up)


def report_of(layer: str, results: Judged) -> str:
    """What was judged, how far it can be trusted, and the table of all maps and metrics."""
    lines = [f"Layer **{layer}** of"]
    for view, result in results.values():
        start = float(result.deletion.probabilities[-1, 0])
        lines.append(f"- {view.label}: {plain(view.classes[result.target])} ({start:.2%})")
    if not all(view.trained for view, _ in results.values()):
        lines.append(UNTRAINED)
    lines += ["", f"| {' | '.join(HEADS)} |", "|---|---|" + "--:|" * (len(HEADS) - 2)]
    for kind, (view, result) in results.items():
        label = " · ".join([ATTENTION_NAMES[kind], *view.note.split()])
        for name, *numbers in rows_of(result):
            cells = ["–" if math.isnan(v) else f"{round(v, 4) + 0:.4f}" for v in numbers]
            lines.append(f"| {label} | {STYLES[name].label} | {' | '.join(cells)} |")
    if any("–" in line for line in lines):
        lines += ["", "– where a map is the same everywhere and ranks nothing."]
    return "\n".join(lines)


def rows_of(result: Faithfulness) -> list[tuple[Any, ...]]:
    """For each map its name, three areas, sensitivity and correlation."""
    columns = (
        result.deletion.area,
        result.insertion.area,
        result.road.area,
        result.sensitivity,
        result.randomised,
    )
    return list(zip(result.names, *(column.tolist() for column in columns), strict=True))
