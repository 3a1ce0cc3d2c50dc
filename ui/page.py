"""The page: inputs on the left, tabs on the right."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from ui import (
    algebra,
    algebra_api,
    api,
    compare,
    descriptors,
    faithfulness,
    faithfulness_api,
    inputs,
    layer,
    links,
    overview,
    paper,
    paper_api,
    side_by_side,
    side_by_side_api,
    slider,
    variants,
    what_if,
    what_if_api,
)

TABS = (
    *(overview, algebra, layer, descriptors, compare, side_by_side),
    *(what_if, faithfulness),
)

ENDPOINTS = (api, algebra_api, side_by_side_api, what_if_api, faithfulness_api, paper_api)

SCRIPTS = [Path(__file__).with_name(name) for name in ("accessible.js", "plots.js")]
HEADER = """
# DRTAM Lens
What dual rank-1 tensor attention does inside a convolutional network, layer by layer, on your
own photo: the factors c, h, w, the initial and the complement map, and what CBAM and coordinate
attention make of the same photo.
"""


def build() -> gr.Blocks:
    """The whole page with its events and endpoints; ``launch`` takes theme and style."""
    slider.accept_half_typed_numbers()
    demo: gr.Blocks
    with gr.Blocks(
        title="DRTAM Lens", fill_width=True, analytics_enabled=False, delete_cache=(300, 3600)
    ) as demo:
        gr.Markdown(HEADER)
        with gr.Row():
            with gr.Column(scale=1, min_width=300, elem_id="inputs"):
                session, photo, status, network_opened = inputs.build()
            with gr.Column(scale=4, min_width=320), gr.Tabs() as tabs:
                for tab in TABS:
                    tab.build(session)
                controls, variant_chosen = variants.build(session)
                paper.build(session, tabs, controls)
        session.follow()
        restored = links.connect(demo, session, photo, tabs)
        inputs.connect(session, photo, status, [*network_opened, variant_chosen], restored)
        for script in SCRIPTS:
            demo.load(None, js=script.read_text("utf-8"), api_visibility="private")
        for endpoints in ENDPOINTS:
            endpoints.build()
    return demo
