"""What a visitor chooses: photo, network, target class, resolution, layer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from drtam.explain import PhotoError
from ui import checkpoints, links, take_away
from ui.compute import SIZE_STEP, SIZES, Photo, View, own_size
from ui.examples import EXAMPLES
from ui.networks import Embedded, Opened, catalogue, cost, damaged, load, spec_of
from ui.photo_argument import uploaded
from ui.session import (
    MOST_PROBABLE,
    NO_PHOTO,
    Session,
    classes_of,
    corrected,
    source_of,
    view_of,
)
from ui.tiles import OPACITY_SLIDER

LOG = logging.getLogger(__name__)
SCORES = {  # what the class scores of a network are, by its kind
    "maskrcnn": "\n\nThe score of a class is that of its best box.",
    "fcn": "\n\nThe score of a class is its mean probability over the photo.",
}


def build() -> tuple[Session, gr.Image, gr.Markdown, list[Any]]:
    """The controls beside the tabs, the state behind them, and events of another network."""
    first = next(iter(EXAMPLES.values()))
    photo = gr.Image(
        value=first,
        type="filepath",
        sources=["upload", "clipboard", "webcam"],
        label="Photo",
        height=260,
        elem_id="photo",
        alt_text="The photo that is analysed",
    )
    gr.Examples(
        [[file] for file in EXAMPLES.values()],
        inputs=photo,
        example_labels=list(EXAMPLES),
        label="Photos to try",
    )
    for sentence in damaged():
        gr.Markdown(f"**A trained network is left out.** {sentence}", elem_classes="damaged")
    networks = list(catalogue())
    network = gr.Dropdown(networks, value=networks[0], label="Network", elem_id="network")
    opened = checkpoints.build(network)
    session = Session(
        photo=gr.State(None),
        network=network,
        target=gr.Dropdown(
            [("most probable class", MOST_PROBABLE)],
            value=MOST_PROBABLE,
            label="Target class of Grad-CAM (type to search)",
            elem_id="target",
        ),
        size=gr.Slider(
            *SIZES,
            value=own_size(catalogue()[networks[0]]),
            step=SIZE_STEP,
            label="Analysis resolution",
            elem_id="size",
            info="The network sees the whole photo, with about this many pixels squared.",
        ),
        layer=gr.Dropdown([], label="Layer, in every tab", elem_id="layer"),
        revision=gr.State(0),
        network_revision=gr.State(0),
        open_tab=gr.State("Overview"),
    )
    gr.HTML(OPACITY_SLIDER)
    status = gr.Markdown(elem_id="status")
    with gr.Accordion("Take it away", open=False, elem_id="taking"):
        links.build(session)
        take_away.build(session)
    return session, photo, status, opened


def connect(
    session: Session,
    photo: gr.Image,
    status: gr.Markdown,
    network_opened: list[Any],
    restored: Any,
) -> None:
    """Analyse whenever an input changes, and once when the page has restored its link."""
    explained = gr.State("")  # name of the chosen class: other networks count theirs otherwise
    opened = [
        event(
            open_photo,
            photo,
            session.photo,
            preprocess=False,  # gr.Image would decode the file itself, without kind words
            concurrency_id="open_photo",  # one by one: gr.Image says twice that it has changed
            concurrency_limit=1,
            show_progress="hidden",
            api_visibility="private",
        )
        for event in (restored.then, photo.change)
    ]
    for event in opened:
        event.failure(
            lambda shown: shown.path if shown is not None and Path(shown.path).exists() else None,
            session.photo,
            photo,
            show_progress="hidden",
            api_visibility="private",
        )
    how: dict[str, Any] = {
        "inputs": [
            session.photo,
            session.network,
            session.size,
            session.target,
            session.layer,
            session.revision,
            explained,
        ],
        "outputs": [
            *(session.size, session.target, session.layer, status),
            *(session.revision, explained),
        ],
        "concurrency_id": "model",
        "concurrency_limit": 1,
        "show_progress_on": [status],
        "trigger_mode": "always_last",
        "api_visibility": "private",
    }
    for follow in network_opened:
        follow(_analysing(of_another_network=True), **how)
    session.network.select(_analysing(of_another_network=True), **how)
    session.photo.change(_analysing(), **how)
    gr.on([session.target.select, session.size.input], _analysing(), **how)
    session.layer.input(
        lambda revision: revision + 1,
        session.revision,
        session.revision,
        show_progress="hidden",
        api_visibility="private",
    )


def warm_up() -> None:
    """Analyse what a new visitor sees first, so that it is there when the page opens.

    The log says how far it is, and of all else what is wrong.
    """
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    LOG.setLevel(logging.INFO)
    network, source = next(iter(catalogue().items()))
    LOG.info("Building %s", network)
    load(source)
    label, file = next(iter(EXAMPLES.items()))
    LOG.info("Analysing the first photo, %s", label)
    view_of(Photo.open(file), network, own_size(source), MOST_PROBABLE)
    LOG.info("Starting the server; the address follows")


def open_photo(file: dict[str, Any] | None) -> Any:
    """The photo in an uploaded file; where it was removed, the one that is shown stays."""
    if file is None:
        return gr.skip()
    try:
        return Photo.open(uploaded(file))
    except PhotoError as error:
        title = "This photo cannot be used"
        raise gr.Error(str(error), title=title, print_exception=False) from error


def _analysing(*, of_another_network: bool = False) -> Callable[..., Any]:
    """The event that analyses: resolution, classes, layers, what was analysed, a new revision."""

    def analyse(
        photo: Photo | None,
        network: str,
        size: int,
        target: int,
        layer: str | None,
        revision: int,
        explained: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes it
    ) -> Any:
        if photo is None:
            gr.Warning(NO_PHOTO)
            return gr.skip()
        progress(0.3, desc="Running the network")
        suited = size_for(network, size) if of_another_network else size
        known = target_for(network, target, explained if of_another_network else "")
        view = view_of(photo, network, suited, known)
        chosen, _ = view.layer(layer)
        return (
            gr.skip() if suited == size else suited,
            gr.update(choices=target_choices(view), **corrected(target, known)),
            gr.update(choices=list(view.analysis.layers), **corrected(layer, chosen)),
            status_of(view, network),
            revision + 1,
            "" if known == MOST_PROBABLE else view.classes[known],
        )

    return analyse


def target_for(network: str, target: int, name: str) -> int:
    """The class of that name in a network, or of that index if there is no name.

    ``MOST_PROBABLE`` where the network knows none.
    """
    classes = classes_of(network)
    if name:
        return classes.index(name) if name in classes else MOST_PROBABLE
    return target if target < len(classes) else MOST_PROBABLE


def size_for(network: str, size: int) -> int:
    """The resolution after another network was chosen: its own, unless the visitor chose one."""
    usual = map(own_size, catalogue().values())
    return own_size(source_of(network)) if size in usual else size


def target_choices(view: View) -> list[tuple[str, int]]:
    """The five most probable classes first, then all of them by name."""
    probabilities = view.analysis.probabilities[0]
    best = probabilities.topk(min(5, len(probabilities)))
    top = [
        (f"{view.classes[k]} ({p:.1%})", k)
        for p, k in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]
    rest = sorted((n, k) for k, n in enumerate(view.classes) if k not in best.indices.tolist())
    return [("most probable class", MOST_PROBABLE), *top, *rest]


def status_of(view: View, network: str) -> str:
    """What was analysed, on what, and how far it can be trusted."""
    source = source_of(network)
    counted, side = cost(source)
    kind = spec_of(source).backbone.partition("_")[0]
    width, height = view.pixels.size
    trust = ""
    if not view.trained:
        trust = (
            "\n\n**Untrained network: its weights are random.** Scores and maps show how the "
            "mechanism works, not what a trained network knows."
        )
    elif isinstance(source, Embedded) and source.card:
        first, _, rest = source.card.partition("\n\n")
        trust = (
            f"\n\n{first}\n\n<details><summary>The card of this network</summary>\n\n{rest}\n\n"
            "</details>"
        )
    elif isinstance(source, Opened):
        trust = (
            "\n\nWhere the file does not name them, ImageNet's classes and normalisation are "
            "assumed."
        )
    return (
        f"**{view.label}**\n\n"
        f"{counted.params / 1e6:.2f} M parameters, {counted.gflops:.2f} GFLOPs at {side}×{side}. "
        f"Saw {width}×{height} pixels on {view.device}.{SCORES.get(kind, '')}{trust}"
    )
