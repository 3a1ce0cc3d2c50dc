"""Text of strangers, such as the class names in a checkpoint, where markup would be obeyed."""

from __future__ import annotations

import re

MARKUP = re.compile(r"[<>&\[\]|`*_~$\\:@]")


def plain(text: str) -> str:
    """The text for Markdown, HTML or a Plotly figure, each of which then shows it as it is.

    What could begin a tag, a link, an image, a table's cell, emphasis or a formula is written
    as an HTML entity, which all three show as the character.
    """
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", text)


def percent(share: float) -> str:
    """A share, such as 12.34%; what is nearly none or nearly all of it is called so."""
    text = f"{share:.2%}"
    if text == "0.00%" and share > 0:
        return "< 0.01%"
    return "> 99.99%" if text == "100.00%" and share < 1 else text
