"""Sliders whose number box may hold a half-typed number."""

from __future__ import annotations

import math

import gradio as gr

_refusing = gr.Slider.preprocess


def _nearest(slider: gr.Slider, payload: float | None) -> float:
    given = slider.minimum if payload is None or math.isnan(payload) else payload
    return _refusing(slider, min(max(given, slider.minimum), slider.maximum))


def accept_half_typed_numbers() -> None:
    """Let all sliders take what is out of range as the nearest number, nothing as the smallest.

    Their box sends every key: of 320 first 3, then 32. Gradio refuses these, and what is refused
    also drops the events that wait behind it. Gradio's class is changed, as it would write a
    ``.pyi`` file beside the source of a subclass.
    """
    gr.Slider.preprocess = _nearest  # type: ignore[method-assign, assignment]
