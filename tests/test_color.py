"""Colours that the colour-blind tell apart, too.

coloraide simulates dichromacy after Viénot et al. (1999) and, for tritanopia, Brettel et al.
(1997); it measures differences as CIEDE2000, where about 2 is just noticeable.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from coloraide import Color

from viz.color import AFTER, COMPLEMENT, INITIAL, NEUTRAL, SIGNED_TABLE, TABLE
from viz.faithfulness import STYLES

VISIONS = (None, "protan", "deutan", "tritan")
APART = 10  # at a glance, and not only side by side


def seen(color: str, vision: str | None) -> Color:
    return Color(color) if vision is None else Color(color).filter(vision)


def lightness(table: np.ndarray, vision: str | None) -> np.ndarray:
    """CIELAB's, of every 15th colour."""
    colors = [seen(f"rgb({r} {g} {b})", vision) for r, g, b in table[::15].tolist()]
    return np.array([color.convert("lab-d65")["lightness"] for color in colors])


@pytest.mark.parametrize("vision", VISIONS)
def test_a_larger_value_is_always_lighter(vision):
    steps = np.diff(lightness(TABLE, vision))
    assert steps.min() > 2
    assert steps.sum() > 70


@pytest.mark.parametrize("vision", VISIONS)
def test_signs_differ_in_colour_and_sizes_in_darkness(vision):
    shades = lightness(SIGNED_TABLE, vision)
    middle = len(shades) // 2
    assert np.diff(shades[: middle + 1]).min() > -1
    assert np.diff(shades[middle:]).max() < 1
    assert shades[middle] > shades[[0, -1]].max() + 50
    for share in (32, 64, 96, 127):  # around the middle of 256 colours
        low, high = (
            seen("rgb({} {} {})".format(*SIGNED_TABLE[at].tolist()), vision)
            for at in (127 - share, 128 + share)
        )
        assert low.delta_e(high, method="2000") > 2 * APART, share


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize(
    "colors",
    [(INITIAL, COMPLEMENT), (NEUTRAL, AFTER), tuple({s.color for s in STYLES.values()})],
    ids=["factors", "what if", "faithfulness"],
)
def test_what_one_chart_tells_apart_by_colour_all_can(colors, vision):
    for one, other in combinations(colors, 2):
        difference = seen(one, vision).delta_e(seen(other, vision), method="2000")
        assert difference > APART, (one, other)


def test_curves_of_one_colour_differ_in_dash_and_symbol():
    looks = [(style.color, style.dash) for style in STYLES.values()]
    assert len(set(looks)) == len(looks)
    assert len({style.symbol for style in STYLES.values()}) == len(STYLES)
