"""What a visitor has chosen, and how a tab learns of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import gradio as gr

from ui import checkpoints
from ui.arguments import shown
from ui.compute import Photo, View, explain, is_explained
from ui.networks import Source, catalogue, load
from ui.variant_key import variant_of

MOST_PROBABLE = -1  # the target that stands for each photo's best class
BUSY = "Many visitors are waiting for a network just now: try again in a minute."
NO_PHOTO = "The page has no photo: choose one. If it was left alone for long, reload it."
T = TypeVar("T")
_waiting = threading.BoundedSemaphore(8)  # drawings beside the queue that may run a network


@dataclass(frozen=True)
class Session:
    """The components that every tab reads.

    Attributes:
        photo: state, a ``Photo``; None before the first analysis.
        network: label in the catalogue, key of a variant, or of a checkpoint that was opened.
        size: analysis resolution.
        target: class, or ``MOST_PROBABLE``.
        layer: name.
        revision: state, counts up whenever one of them has changed and is analysed. Only an
            event of the queue may set it: Gradio forgets a state's ``change`` after others.
        network_revision: state, counts along with it, but only while a tab is open whose drawing
            runs a network: what other tabs show need not wait for a network.
        open_tab: state, the label of the tab that the visitor sees.
        network_tabs: the labels of the tabs whose drawing runs a network.
    """

    photo: gr.State
    network: gr.Dropdown
    size: gr.Slider
    target: gr.Dropdown
    layer: gr.Dropdown
    revision: gr.State
    network_revision: gr.State
    open_tab: gr.State
    network_tabs: set[str] = field(default_factory=set)

    @property
    def inputs(self) -> list[gr.components.Component]:
        """What ``draw`` functions get first."""
        return [self.photo, self.network, self.size, self.target, self.layer]

    def follow(self) -> None:
        """Let ``network_revision`` follow, for the tab that is open when a change is analysed."""
        self.revision.change(
            lambda revision, tab: revision if tab in self.network_tabs else gr.skip(),
            [self.revision, self.open_tab],
            self.network_revision,
            show_progress="hidden",
            api_visibility="private",
        )

    def on_show(
        self,
        tab: gr.Tab,
        draw: Callable[..., Any],
        outputs: Sequence[gr.components.Component],
        controls: Sequence[gr.Slider | gr.Radio | gr.Dropdown] = (),
        *,
        reads: Sequence[gr.components.Component] = (),
        runs_network: bool = False,
    ) -> None:
        """Draw a tab when it is opened, and again whenever something changes while it is open.

        Args:
            tab: to draw.
            draw: from the values of ``inputs``, ``controls`` and ``reads`` to ``outputs``'.
            outputs: the tab's figures.
            controls: the tab's own inputs; a change of one draws again.
            reads: further inputs, whose change draws nothing.
            runs_network: whether drawing needs another pass of a network.
        """
        inputs = [*self.inputs, *controls, *reads]
        nothing = [gr.skip()] * len(outputs)

        def draw_if_open(open_tab: str, *values: Any) -> Any:
            seen = open_tab == tab.label and values[0] is not None
            return draw(*values) if seen else nothing

        def draw_on_select(*values: Any) -> Any:
            return draw(*values) if values[0] is not None else nothing

        how: dict[str, Any] = {"outputs": list(outputs), "api_visibility": "private"}
        revision = self.revision
        if runs_network:
            how |= {"concurrency_id": "model", "concurrency_limit": 1}
            revision = self.network_revision
            self.network_tabs.add(str(tab.label))
        else:
            how |= {"queue": False, "show_progress": "hidden"}
            draw = unqueued(draw)
        tab.select(draw_on_select, inputs, **how)
        revision.change(draw_if_open, [self.open_tab, *inputs], **how)
        for control in controls:
            control.input(draw_on_select, inputs, trigger_mode="always_last", **how)


def unqueued(draw: Callable[..., T]) -> Callable[..., T]:
    """A drawing beside the queue, which mostly finds its view in memory.

    Where it has to wait for a network, and others do already, it says so at once: all visitors
    share forty threads.
    """

    def run(*values: Any) -> T:
        if _at_hand(*values[:4]):
            return draw(*values)
        if not _waiting.acquire(blocking=False):
            raise gr.Error(BUSY, print_exception=False)
        try:
            return draw(*values)
        finally:
            _waiting.release()

    return run


def _at_hand(photo: Photo | None, network: str, size: int, target: object) -> bool:
    """Whether nothing has to be run for a drawing."""
    if photo is None:
        return True
    chosen = target if type(target) is int and target >= 0 else None
    return is_explained(photo, source_of(network), int(size), chosen)


def named(network: str) -> Source | None:
    """The source of a label in the catalogue or of a variant, which links may hold."""
    return catalogue().get(network) or variant_of(network)


def source_of(network: str) -> Source:
    """The source of a label, of a variant, or of the key of a checkpoint that was opened.

    Raises:
        gr.Error: there is none of that name.
    """
    source = named(network) or checkpoints.recall(network)
    if source is None and checkpoints.is_key(network):
        raise gr.Error(
            "The checkpoint that you opened is no longer here: open it again.",
            print_exception=False,
        )
    if source is None:
        raise gr.Error(
            f"There is no network {shown(network)}. Choose one of: {', '.join(catalogue())}.",
            print_exception=False,
        )
    return source


def corrected(chosen: object, value: object) -> dict[str, Any]:
    """The ``value`` for ``gr.update`` of a control, if it is not what the visitor chose.

    A value that is sent back undoes what the visitor has chosen in the meantime.
    """
    return {} if value == chosen else {"value": value}


def view_of(photo: Photo, network: str, size: int, target: int) -> View:
    """The analysis that a visitor's choices ask for.

    A target that the network does not know stands for the most probable class.

    Raises:
        gr.Error: the network cannot be loaded, or has nothing to say of the target.
    """
    known = type(target) is int and 0 <= target < len(classes_of(network))
    try:
        return explain(photo, source_of(network), int(size), int(target) if known else None)
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error


def classes_of(network: str) -> tuple[str, ...]:
    """The class names of a network.

    Raises:
        gr.Error: it cannot be loaded.
    """
    try:
        return load(source_of(network)).classes
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error
