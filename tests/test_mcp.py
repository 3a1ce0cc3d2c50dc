"""The endpoints as MCP tools, called by a real client as an assistant would."""

from __future__ import annotations

import ast
import base64
import io
from typing import Any

import pytest
from gradio.media import get_image
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, Tool
from PIL import Image
from test_api import ENDPOINTS, close, expected
from visitor import UNTRAINED, apart

SIZE = 128


def uri(image: Image.Image, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def session(url: str, action: Any) -> Any:
    """What an action gives with a connected session."""

    async def connected() -> Any:
        address = f"{url}gradio_api/mcp/"
        async with (
            streamable_http_client(address) as (read, write, _),
            ClientSession(read, write) as client,
        ):
            await client.initialize()
            return await action(client)

    return apart(connected())


@pytest.fixture(scope="module")
def tools(url: str) -> dict[str, Tool]:
    found = session(url, lambda client: client.list_tools())
    return {tool.name: tool for tool in found.tools}


@pytest.fixture
def ask(url: str):
    """Call a tool; its answer, or the text of its error."""

    def ask(tool: str, **arguments: Any) -> tuple[bool, Any]:
        if "photo" in arguments:
            arguments.setdefault("network", UNTRAINED)
        answer: CallToolResult = session(url, lambda client: client.call_tool(tool, arguments))
        text = answer.content[0].text
        return answer.isError, text if answer.isError else ast.literal_eval(text)

    return ask


def test_the_tools_are_the_endpoints_and_say_what_comes_first(tools):
    assert set(tools) == ENDPOINTS
    assert tools["networks"].description.startswith("Call this first")
    assert tools["analyze"].description.startswith("Start here with a photo")
    for name, tool in tools.items():
        assert "upload_file" not in tool.description, name
        assert "http" not in str(tool.inputSchema), name
        for parameter, schema in tool.inputSchema["properties"].items():
            assert schema["description"], (name, parameter)
            if "photo" in parameter.split("_"):
                assert schema["type"] == ("boolean" if parameter == "on_photo" else "string"), name


def test_an_assistant_analyses_an_example_and_then_a_layer(ask):
    _, labels = ask("networks")
    failed, found = ask("analyze", photo="a lion", size=SIZE)
    assert not failed
    assert found["network"] in labels
    assert found["trained"] is False
    wanted = expected().layers["layer4.2"]
    failed, layer = ask("layer", photo="a lion", layer=list(found["layers"])[-1], size=SIZE)
    assert not failed
    close(layer["maps"]["combined"], wanted.trace.spatial()[0])


def test_a_data_uri_is_the_photo_in_it(ask):
    image = Image.open(get_image("lion.jpg")).convert("RGB")
    image.thumbnail((1024, 1024))
    _, by_name = ask("analyze", photo="a lion", size=SIZE)
    failed, found = ask("analyze", photo=uri(image), size=SIZE)
    assert not failed
    assert found["saw"] == by_name["saw"]
    probabilities = [entry["probability"] for entry in found["top"]]
    assert probabilities == pytest.approx([e["probability"] for e in by_name["top"]], rel=1e-2)


@pytest.mark.parametrize(
    "photo",
    [
        "/etc/passwd",
        "app.py",
        "file:///etc/passwd",
        get_image("lion.jpg"),
        "http://127.0.0.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "https://example.org/lion.jpg",
        "data:image/png;base64",
        "data:text/html;base64,PGI+",
        "",
        "x",
    ],
)
def test_files_and_addresses_are_not_followed(ask, url, photo):
    port = url.rsplit(":", 1)[1].strip("/")
    failed, text = ask("analyze", photo=photo.replace("{port}", port), size=SIZE)
    assert failed
    assert "photo must be a data URI" in text
    assert "could not be read as a photo" not in text  # which would say that it is there


@pytest.mark.parametrize(
    "photo",
    [
        {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
        {"path": get_image("lion.jpg"), "meta": {"_type": "gradio.FileData"}},
        {"path": "x", "url": "http://127.0.0.1/", "meta": {"_type": "gradio.FileData"}},
        [get_image("lion.jpg")],
        None,
        7,
    ],
)
def test_a_file_by_its_path_is_refused_before_anything_runs(ask, photo):
    failed, text = ask("analyze", photo=photo, size=SIZE)
    assert failed
    assert "Input validation error" in text


@pytest.mark.parametrize("argument", ["network", "layer"])
def test_no_other_argument_is_a_file_either(ask, argument):
    arguments = {"photo": "a lion", "layer": "layer4.2", "size": SIZE}
    failed, text = ask("layer", **{**arguments, argument: "data:image/png;base64,AAAA"})
    assert failed
    assert "data:image" in text or "no network" in text


def test_a_bad_or_large_photo_gets_a_sentence(ask):
    failed, text = ask("analyze", photo="data:image/png;base64,AAAA")
    assert failed
    assert "could not be read as a photo" in text
    failed, text = ask("analyze", photo="data:image/png;base64,?")
    assert failed
    assert "no base64" in text
    failed, text = ask("analyze", photo="data:image/png;base64," + "A" * 3_000_001)
    assert failed
    assert "more than 3 MB" in text
    bomb = uri(Image.new("1", (20000, 20000)))
    failed, text = ask("analyze", photo=bomb)
    assert failed
    assert "million" in text
    assert "Traceback" not in text
