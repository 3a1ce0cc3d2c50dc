"""How it works: the equations of DRTAM as a figure, filled with this photo's numbers."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from drtam import DRTAM, DRTAMTrace, attention_layers
from drtam.explain import drtam_steps
from ui.compute import Photo
from ui.networks import load
from ui.session import Session, source_of, unqueued, view_of
from viz.algebra.diagram import diagram_html
from viz.algebra.figures import node_figure
from viz.algebra.nodes import NODES
from viz.algebra.numbers import worked
from viz.algebra.scene import Scene

EXPLANATION = """
An attention module gives every number of a feature X a weight between 0 and 1. DRTAM makes these
weights from **three short vectors**, for the channels, rows and columns, and then **once more for
what the first pass left over**. These are the paper's Figures 2 and 3 with this photo's values.
**Click a step** or walk through all of them; the text follows one number on its way."""
OTHERS = (
    "{label} has another attention module, and this figure is of DRTAM: choose a network whose "
    "name begins with DRTAM on the left."
)
FIRST = "x"
LATEX: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "$", "right": "$", "display": False},
]

# A click, Previous and Next set the list. Its change draws, and so does one of the diagram: of
# clicks that are faster than the answers the last one counts.
KEEP_CLICKED_NODE = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-node]');
  if (!button) return;
  button.closest('#algebra-diagram').dataset.clicked = button.dataset.node;
  trigger('click');
});"""

CLICKED_NODE = "() => document.querySelector('#algebra-diagram').dataset.clicked"

MARK_SELECTED_NODE = """
node => {
  const which = node.split('.')[0];
  document.querySelectorAll('#algebra-diagram [data-pass]').forEach(figure => {
    if (['initial', 'complement'].includes(which)) figure.hidden = figure.dataset.pass !== which;
  });
  document.querySelectorAll('#algebra-diagram [data-node]').forEach(button => {
    const chosen = button.dataset.node === node;
    button.setAttribute('aria-pressed', chosen);
    const box = button.closest('.scroll');
    if (chosen && box.clientWidth)
      box.scrollLeft = button.offsetLeft - (box.clientWidth - button.offsetWidth) / 2;
  });
}"""

SHOW_TEXT = """
() => setTimeout(() => document.querySelector('#algebra-text')?.scrollIntoView(
  {block: 'nearest',
   behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth'}), 300)"""


def build(session: Session) -> None:
    """The tab and its events."""
    with gr.Tab("How it works") as tab:
        gr.Markdown(EXPLANATION)
        diagram = gr.HTML(js_on_load=KEEP_CLICKED_NODE, elem_id="algebra-diagram")
        with gr.Row(elem_id="algebra-walk"):
            previous = gr.Button("◀ Previous", size="sm", min_width=90)
            node = gr.Dropdown(
                [(f"{k}. {n.title}", key) for k, (key, n) in enumerate(NODES.items(), start=1)],
                value=FIRST,
                label="Step, in the order of computation",
                container=False,
                elem_id="algebra-node",
                scale=4,
            )
            following = gr.Button("Next ▶", size="sm", min_width=90, elem_id="algebra-next")
        text = gr.Markdown(latex_delimiters=LATEX, elem_id="algebra-text")
        figure = gr.Plot(show_label=False, elem_id="algebra-figure")
    session.on_show(tab, draw, [diagram], reads=[node])
    diagram.click(None, None, node, js=CLICKED_NODE)
    previous.click(None, node, node, js=walk(-1))
    following.click(None, node, node, js=walk(1))
    node.change(None, js=SHOW_TEXT)
    new = [node.change, diagram.change]
    gr.on(new, None, node, js=MARK_SELECTED_NODE)
    gr.on(
        new,
        unqueued(draw_node),
        [*session.inputs, node],
        [text, figure],
        queue=False,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )


def draw(photo: Photo, network: str, size: int, target: int, layer: str | None, node: str) -> str:
    """Both figures of the paper; a sentence where there is no DRTAM."""
    found = scene_of(photo, network, size, target, layer)
    return found if isinstance(found, str) else diagram_html(found[0], node)


def draw_node(
    photo: Photo, network: str, size: int, target: int, layer: str | None, node: str
) -> tuple[str, Any]:
    """The text and the figure of the chosen node."""
    if photo is None:
        return "", gr.skip()
    found = scene_of(photo, network, size, target, layer)
    if isinstance(found, str):
        return "", gr.Plot(value=None, visible=False)
    return _node(*found, node)


def walk(way: int) -> str:
    """To the node before (-1) or after (1) the chosen one, in JavaScript; in a circle."""
    keys = json.dumps(list(NODES))
    return f"node => {keys}.at(({keys}.indexOf(node) + {way}) % {len(NODES)})"


def _node(scene: Scene, layer: str, key: str) -> tuple[str, go.Figure]:
    node = NODES[key]
    text = (
        f"## {node.title}\n*{node.where} of the paper*\n\n$${node.latex}$$\n\n{node.prose}\n\n"
        f"**With this photo's numbers:** {worked(key, scene)}"
    )
    return text, gr.Plot(value=node_figure(key, scene, layer), visible=True)


def scene_of(
    photo: Photo, network: str, size: int, target: int, layer: str | None
) -> tuple[Scene, str] | str:
    """What the figure is filled with, and the layer's name; or why there is none."""
    view = view_of(photo, network, size, target)
    name, found = view.layer(layer)
    module = attention_layers(load(source_of(network)).model)[name.partition("#")[0]]
    if not isinstance(found.trace, DRTAMTrace) or found.residual is None:
        return OTHERS.format(label=view.label)
    assert isinstance(module, DRTAM)
    steps = drtam_steps(module, found.trace)
    scene = Scene(found.trace, found.residual, found.output_mean, steps, view.pixels, view.note)
    return scene, name
