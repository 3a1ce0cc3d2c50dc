"""What a network is compared with."""

from __future__ import annotations

from dataclasses import replace

from ui.networks import ATTENTION_NAMES, Embedded, Source, Untrained, embedded, spec_of

PLAIN = "none"  # among attentions: the backbone without any
NAMES = {**ATTENTION_NAMES, PLAIN: "no attention"}


def rivals(source: Source) -> dict[str, Source]:
    """The network itself and its backbone with the other attentions and without, by attention.

    A trained network is compared with those trained for the same classes. Where there are none,
    and beside an untrained one, the others are untrained, with the same seed, so that all
    backbones have the same weights, and with the settings that each one's own paper takes for
    ResNet-50 and MobileNetV2.
    """
    spec = spec_of(source)
    seed = source.seed if isinstance(source, Untrained) else 0
    chunks = 4 if spec.backbone.startswith("mobilenet") else 1
    where = spec.placement
    others: dict[str, Source] = {
        "drtam": Untrained(spec.backbone, "drtam", n=chunks, seed=seed, placement=where),
        "cbam": Untrained(spec.backbone, "cbam", r=16, seed=seed, placement=where),
        "ca": Untrained(spec.backbone, "ca", seed=seed, placement=where),
        PLAIN: Untrained(spec.backbone, None, seed=seed, placement=where, places=True),
    }
    if isinstance(source, Embedded):
        for other in reversed(embedded()):
            if _alike(source, other):
                kind = other.about.spec.attention
                others[kind or PLAIN] = replace(other, places=kind is None)
    return others | {str(spec.attention): source}


def _alike(one: Embedded, other: Embedded) -> bool:
    same_network = one.about.spec.backbone == other.about.spec.backbone
    same_layers = one.about.spec.placement == other.about.spec.placement
    return same_network and same_layers and one.about.classes == other.about.classes
