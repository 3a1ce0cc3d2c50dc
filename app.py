"""Builds the page and launches it: what `make run` and a Hugging Face Space start."""

import os
import signal
import tempfile
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported

import gradio as gr
from starlette.middleware import Middleware

from ui import checkpoints, inputs, page, serving

THEME = gr.themes.Default(
    primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
).set(
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    slider_color="*primary_700",
    body_text_color_subdued="*neutral_600",
    block_info_text_color="*neutral_600",
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_400",
)


def main() -> None:
    """Serve the page until SIGTERM or Ctrl+C; visitors' files are removed then."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serving.save_memory()
    folder = serving.private_folder()
    os.environ["GRADIO_TEMP_DIR"] = os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    demo = page.build()
    demo.queue(max_size=serving.WAITING, default_concurrency_limit=4, api_open=False)
    inputs.warm_up()
    guard = Middleware(serving.Guard, max_upload=checkpoints.MAX_UPLOAD, folder=folder)
    demo.launch(
        server_name=os.environ.get("HOST"),
        server_port=int(os.environ["PORT"]) if "PORT" in os.environ else None,
        root_path=os.environ.get("ROOT_PATH"),
        app_kwargs={"middleware": [guard], "routes": [serving.HEALTH]},
        theme=THEME,
        css_paths=Path(__file__).parent / "ui" / "style.css",
        footer_links=["api"],
        max_file_size=checkpoints.MAX_UPLOAD,
        state_session_capacity=200,
        run_history=False,
        mcp_server=True,
        ssr_mode=False,
        share=False,
    )


if __name__ == "__main__":
    main()
