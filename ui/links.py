"""Links that restore a view: what they hold, how they are copied, what opening one does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from urllib.parse import urlencode

import gradio as gr

from models import attention_layers
from ui import checkpoints
from ui.compute import SIZES, Photo, own_size
from ui.examples import EXAMPLES
from ui.networks import catalogue, load
from ui.session import MOST_PROBABLE, Session, named, source_of

COPY = """
query => {
  const link = location.origin + location.pathname + query;
  navigator.clipboard?.writeText(link).catch(() => {});
  return link;
}"""


@dataclass(frozen=True)
class Place:
    """What a link asks for; None for what it does not say.

    Attributes:
        photo: label of an example.
        network: label in the catalogue, or key of a variant.
        size: analysis resolution.
        target: class.
        layer: name.
        tab: label.
        problems: names of what it says and the page does not know.
    """

    photo: str | None = None
    network: str | None = None
    size: int | None = None
    target: int | None = None
    layer: str | None = None
    tab: str | None = None
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, query: Mapping[str, str], tabs: Sequence[str]) -> Place:
        """Read the parameters of an address, which anybody may have written.

        Names of anything else are ignored: Gradio and Spaces have their own.
        """
        network = query.get("network")
        source = named(network or next(iter(catalogue())))
        known: dict[str, Sequence[str]] = {
            "photo": list(EXAMPLES),
            "network": [network] if network and source else [],
            "size": [str(size) for size in range(SIZES[0], SIZES[1] + 1)],
            "tab": tabs,
        }
        if source is not None and {"target", "layer"} & set(query):
            opened = load(source)
            known["target"] = [str(k) for k in range(len(opened.classes))]
            known["layer"] = list(attention_layers(opened.model))
        asked = {key: query[key] for key in ("target", "layer", *known) if key in query}
        good = {key: value for key, value in asked.items() if value in known.get(key, ())}
        return cls(
            photo=good.get("photo"),
            network=good.get("network"),
            size=int(good["size"]) if "size" in good else None,
            target=int(good["target"]) if "target" in good else None,
            layer=good.get("layer"),
            tab=good.get("tab"),
            problems=tuple(sorted(asked.keys() - good.keys())),
        )


def build(session: Session) -> None:
    """The button that copies a link, and where the link is shown."""
    copy = gr.Button("Copy link to this view", size="sm", elem_id="copy-link")
    link = gr.Textbox(
        label="Link to this view", visible=False, buttons=["copy"], elem_id="link", max_lines=2
    )
    session.revision.change(  # it is of another view then
        lambda: gr.Textbox(visible=False),
        outputs=link,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    copy.click(
        shown,
        [*session.inputs, session.open_tab],
        link,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    ).then(None, link, link, js=COPY)


def connect(
    demo: gr.Blocks, session: Session, photo: gr.Image, tabs: gr.Tabs
) -> gr.events.Dependency:
    """Keep which tab is open, and restore the view of the address when the page opens.

    Returns:
        The event of the latter.
    """
    labels = []
    for tab in tabs.children:
        if isinstance(tab, gr.Tab):
            tab.id = str(tab.label)  # that a link can open it
            labels.append(tab.id)
            tab.select(
                partial(str, tab.id),
                outputs=session.open_tab,
                queue=False,
                api_visibility="private",
            )

    def restore(request: gr.Request) -> list[object]:
        place = Place.of(dict(request.query_params), labels)
        path = None
        if place.photo is not None:  # Gradio serves nothing from outside its cache
            path = photo.move_resource_to_block_cache(EXAMPLES[place.photo])
        return restored(place, path)

    return demo.load(
        restore,
        None,
        [
            photo,
            session.network,
            session.size,
            session.target,
            session.layer,
            tabs,
            session.open_tab,
        ],
        concurrency_limit=4,  # it may build a network, but runs none
        show_progress="hidden",
        api_visibility="private",
    )


def restored(place: Place, path: str | None) -> list[object]:
    """What the page's components get; a sentence says what could not be restored.

    Args:
        place: to be restored.
        path: of its photo, if it has one.
    """
    if place.problems:
        names = ", ".join(place.problems)
        gr.Warning(
            f"The page does not have what this link asks for as {names}: the default is shown.",
            title="Not all of the link could be restored",
        )
    target, layer, size = place.target, place.layer, place.size
    if size is None and place.network is not None:
        size = own_size(source_of(place.network))
    return [
        gr.skip() if path is None else path,
        gr.skip() if place.network is None else chosen_network(place.network),
        gr.skip() if size is None else size,
        gr.skip()
        if target is None
        else gr.Dropdown(
            [("most probable class", MOST_PROBABLE), (f"class {target}", target)], value=target
        ),
        gr.skip() if layer is None else gr.Dropdown([layer], value=layer),
        gr.skip() if place.tab is None else gr.Tabs(selected=place.tab),
        gr.skip() if place.tab is None else place.tab,
    ]


def chosen_network(network: str) -> str | gr.Dropdown:
    """What the network dropdown gets; a variant is not among its choices yet."""
    if network in catalogue():
        return network
    return checkpoints.select(source_of(network).label, network)


def shown(
    photo: Photo | None, network: str, size: int, target: int, layer: str | None, tab: str
) -> gr.Textbox:
    """The query of a link to a view, and what is not in it."""
    missing = []
    if photo is not None and label_of(photo) is None:
        missing.append("your photo, which stays here")
    if named(network) is None:
        missing.append("the checkpoint that you opened, which stays here too")
    info = f"Without {' and '.join(missing)}." if missing else None
    query = query_of(photo, network, size, target, layer, tab)
    return gr.Textbox(query, visible=True, info=info)


def query_of(
    photo: Photo | None, network: str, size: int, target: int, layer: str | None, tab: str
) -> str:
    """The part of a link from the question mark on.

    A checkpoint that a visitor opened stands under a secret key, which is in no link, nor are
    the class and the layer that were chosen for it.
    """
    values: dict[str, object] = {"size": int(size), "tab": tab}
    label = label_of(photo) if photo is not None else None
    if label is not None:
        values["photo"] = label
    if named(network) is not None:
        values["network"] = network
        if target != MOST_PROBABLE:
            values["target"] = int(target)
        if layer:
            values["layer"] = layer
    return "?" + urlencode(values)


def label_of(photo: Photo) -> str | None:
    """Which example a photo is, if it is one."""
    return _examples().get(photo.digest)


@lru_cache(maxsize=1)
def _examples() -> dict[bytes, str]:
    return {Photo.open(file).digest: label for label, file in EXAMPLES.items()}
