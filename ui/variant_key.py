"""Untrained variants by a name that says what they are, so that links and programs can ask."""

from __future__ import annotations

import re
from dataclasses import astuple
from functools import lru_cache
from typing import cast

from models.build import Placement
from models.checkpoints import blank
from ui.networks import ATTENTION_NAMES, BACKBONE_NAMES, Untrained

SEEDS = (0, 99)  # that the page offers
PATTERN = re.compile(
    rf"({'|'.join(BACKBONE_NAMES)}) ({'|'.join(ATTENTION_NAMES)}) "
    r"s(\d{1,2}) n(\d{1,2}) r(\d{1,3}) seed(\d{1,2}) (block|stage)",
    re.ASCII,
)


def key_of(source: Untrained) -> str:
    """Such as ``resnet50 drtam s4 n1 r32 seed0 block``."""
    backbone, attention, s, n, r, seed, placement, _ = astuple(source)
    return f"{backbone} {attention} s{s} n{n} r{r} seed{seed} {placement}"


@lru_cache(maxsize=256)
def variant_of(key: str) -> Untrained | None:
    """The variant of a key, which anybody may have written; None if there is none."""
    found = PATTERN.fullmatch(key)
    if found is None:
        return None
    backbone, attention, *numbers, placement = found.groups()
    s, n, r, seed = map(int, numbers)
    source = Untrained(backbone, attention, s, n, r, seed, cast(Placement, placement))
    try:
        blank(source.spec)  # on no device: it takes no time
    except ValueError:
        return None
    return source
