"""A slider whose number box may hold a half-typed number."""

from __future__ import annotations

import gradio as gr


class Slider(gr.Slider):
    """Takes what is out of range as the nearest number in it, and nothing as the smallest.

    Its box sends every key: of 320 first 3, then 32. Gradio would refuse these, and what is
    refused also drops the events that wait behind it.
    """

    def preprocess(self, payload: float | None) -> float:
        """The number for the page's functions."""
        given = self.minimum if payload is None else payload
        return super().preprocess(min(max(given, self.minimum), self.maximum))
