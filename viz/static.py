"""Charts as PNG and SVG: Plotly draws them in a browser, which may not be there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import kaleido
import plotly
import plotly.graph_objects as go
from kaleido.errors import ChromeNotFoundError

WIDTH = 1000  # of the pictures in pixels
FORMATS = ("png", "svg")
PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
INSTEAD = "The HTML files hold the same charts; the camera button of each saves it as a picture."
NO_BROWSER = f"This machine has no Chrome or Chromium, which draws them. {INSTEAD}"
FAILED = f"Chrome did not draw them. {INSTEAD}"


def pictures(charts: Mapping[str, go.Figure]) -> tuple[dict[str, bytes], str]:
    """The charts as ``NAME.png`` and ``NAME.svg``; where there are none, a sentence says why.

    Nothing is fetched: the browser gets plotly.js from the plotly package, and no MathJax.
    """
    wanted = [(name, kind) for name in charts for kind in FORMATS]
    with TemporaryDirectory() as folder:
        paths = {pair: Path(folder) / f"{i}.{pair[1]}" for i, pair in enumerate(wanted)}
        orders = [
            {
                "fig": _on_white(charts[name]),
                "path": paths[name, kind],
                "opts": {"format": kind, "width": WIDTH},
            }
            for name, kind in wanted
        ]
        browser = {"n": 2, "plotlyjs": PLOTLY_JS, "mathjax": False}
        try:
            kaleido.write_fig_from_object_sync(orders, kopts=browser)
            return {f"{n}.{kind}": paths[n, kind].read_bytes() for n, kind in wanted}, ""
        except ChromeNotFoundError:
            return {}, NO_BROWSER
        except Exception:  # a browser fails in more ways than its library lists
            return {}, FAILED


def _on_white(chart: go.Figure) -> go.Figure:
    """The page's charts are transparent, with greys for both its themes."""
    return go.Figure(chart).update_layout(
        paper_bgcolor="white", plot_bgcolor="white", font_color="#333333"
    )
