"""Colour scales, as data that Plotly, Pillow and CSS share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from plotly.colors import sample_colorscale

INITIAL, COMPLEMENT, NEUTRAL = "#4477aa", "#ee7733", "#888888"  # Tol's bright and vibrant schemes
AFTER = "#ee3377"  # of the vibrant scheme, beside NEUTRAL for before
SEQUENTIAL = "Viridis"  # perceptually uniform, safe for colour blindness
DIVERGING = "RdBu_r"  # for signed values, around 0


def _table(name: str) -> npt.NDArray[np.uint8]:
    colors = sample_colorscale(name, np.linspace(0, 1, 256).tolist(), colortype="tuple")
    table: npt.NDArray[np.uint8] = np.rint(np.array(colors) * 255).astype(np.uint8)
    return table


TABLE: npt.NDArray[np.uint8] = _table(SEQUENTIAL)  # (256, 3)
SIGNED_TABLE: npt.NDArray[np.uint8] = _table(DIVERGING)  # (256, 3)
CSS_GRADIENT, SIGNED_CSS_GRADIENT = (
    "linear-gradient(90deg,{})".format(",".join(f"rgb({r},{g},{b})" for r, g, b in table[::51]))
    for table in (TABLE, SIGNED_TABLE)
)


def colorize(
    values: npt.NDArray[np.float32],
    low: float,
    high: float,
    table: npt.NDArray[np.uint8] = TABLE,
) -> npt.NDArray[np.uint8]:
    """Values (H, W) to colours (H, W, 3): ``low`` and below to the first, ``high`` to the last."""
    span = high - low if high > low else 1.0
    index = np.clip((values - low) / span, 0, 1) * 255
    colors: npt.NDArray[np.uint8] = table[np.rint(np.nan_to_num(index)).astype(np.uint8)]
    return colors
