"""The endpoints, called as a program would, against the library called directly."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from gradio.media import get_image
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from scipy.stats import spearmanr
from visitor import UNTRAINED

from drtam.explain import Analysis, analyze, load_photo, prepare
from models import build_model
from models.complexity import complexity

LION = get_image("lion.jpg")
SIZE = 128
ENDPOINTS = {
    "analyze",
    "compare_modules",
    "descriptors",
    "faithfulness",
    "layer",
    "networks",
    "paper",
    "side_by_side",
    "steps",
    "variant",
    "what_if",
}


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False, analytics_enabled=False)


@pytest.fixture
def ask(client: Client):
    """Call an endpoint with the lion."""

    def ask(endpoint: str, **arguments: Any) -> Any:
        arguments = {"photo": handle_file(LION), "size": SIZE, **arguments}
        if endpoint != "variant":
            arguments.setdefault("network", UNTRAINED)
        return client.predict(**arguments, api_name=f"/{endpoint}")

    return ask


@functools.cache
def expected(target: int | None = None, **network: Any) -> Analysis:
    """What the library says of the lion, decoded as the page decodes it."""
    arguments = {"backbone": "resnet50", "attention": "drtam", "seed": 0, **network}
    tensor = prepare(load_photo(LION, 1024), SIZE).tensor
    return analyze(build_model(**arguments).eval(), tensor, target)


@pytest.fixture(scope="module")
def lion_analysis() -> Analysis:
    return expected()


def close(found: Any, tensor: torch.Tensor) -> None:
    np.testing.assert_allclose(found, tensor.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_each_endpoint_documents_its_arguments(client):
    documented = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert {name.strip("/") for name in documented} == ENDPOINTS
    for name, endpoint in documented.items():
        assert endpoint["description"], name
        for parameter in endpoint["parameters"]:
            assert parameter["python_type"]["type"] not in ("", "Any"), (name, parameter)


def test_networks_starts_with_the_default(client, ask):
    labels = client.predict(api_name="/networks")
    assert ask("analyze", network="")["network"] == labels[0]
    other = ask("analyze", network=labels[-1])
    assert other["network"] == labels[-1]


def test_analyze(ask, lion_analysis):
    found = ask("analyze")
    assert found["trained"] is False
    best = lion_analysis.probabilities[0].topk(5)
    assert [entry["class"] for entry in found["top"]] == best.indices.tolist()
    close([entry["probability"] for entry in found["top"]], best.values)
    assert found["target"] == best.indices[0]
    assert list(found["layers"]) == list(lion_analysis.layers)
    for name, layer in lion_analysis.layers.items():
        maps = found["layers"][name]["maps"]
        close(maps["combined"]["mean"], layer.trace.attention()[0].mean())
        errors = found["layers"][name]["residual_error"]
        close([errors["ch"], errors["cw"], errors["hw"]], layer.residual.error[0])
        assert found["layers"][name]["shape"] == list(layer.trace.attention().shape[1:])


def test_layer(ask, lion_analysis):
    wanted = lion_analysis.layers["layer3.2"]
    found = ask("layer", layer="layer3.2")
    close(found["maps"]["combined"], wanted.trace.attention()[0].mean(0))
    close(found["maps"]["initial"], wanted.trace.initial.map()[0].mean(0))
    close(found["factors"]["complement"]["h"], wanted.trace.complement.h[0])
    close(found["gradcam"], wanted.gradcam[0])
    channel = ask("layer", layer="layer3.2", channel=77)
    close(channel["maps"]["complement"], wanted.trace.complement.map()[0, 77])


def test_the_target_class_decides_grad_cam(ask):
    found = ask("layer", layer="layer4.2", target=291)
    close(found["gradcam"], expected(291).layers["layer4.2"].gradcam[0])


def test_descriptors(ask, lion_analysis):
    wanted = lion_analysis.layers["layer1.1"]
    found = ask("descriptors", layer="layer1.1")
    close(found["input"]["ch"], wanted.trace.descriptors.ch[0])
    close(found["residual"]["hw"], wanted.trace.residual.hw[0])
    close(found["exact_residual"]["cw"], wanted.residual.exact.cw[0])
    close(found["relative_error"]["hw"], wanted.residual.error[0, 2])


def test_compare_modules(ask, lion_analysis):
    found = ask("compare_modules", layer="layer2.3")
    target = int(lion_analysis.target[0])
    wanted = {
        "drtam": lion_analysis,
        "cbam": expected(target, attention="cbam", r=16),
        "ca": expected(target, attention="ca"),
    }
    assert set(found["networks"]) == {*wanted, "none"}
    plain = build_model("resnet50", seed=0).eval()
    image = prepare(load_photo(LION, 1024), SIZE).tensor
    cam = LayerGradCam(plain, plain.layer2[3].bn3).attribute(image, target, relu_attributions=True)
    assert found["networks"]["none"]["map"] is None
    close(found["networks"]["none"]["gradcam"], cam[0, 0].detach())
    maps = {}
    for kind, analysis in wanted.items():
        layer = analysis.layers["layer2.3"]
        close(found["networks"][kind]["map"], layer.trace.spatial()[0])
        close(found["networks"][kind]["gradcam"], layer.gradcam[0])
        maps[kind] = layer.trace.spatial()[0].flatten().numpy()
    table = dict(zip(found["names"], found["rank_correlation"], strict=True))
    row = dict(zip(found["names"], table["DRTAM"], strict=True))
    assert row["CA"] == pytest.approx(spearmanr(maps["drtam"], maps["ca"])[0], abs=1e-3)


def test_variant(ask):
    found = ask("variant", backbone="mobilenet_v2", s=3, n=8, r=32, seed=7)
    network = build_model("mobilenet_v2", "drtam", n=8, seed=7)
    wanted = expected(backbone="mobilenet_v2", n=8, seed=7)
    assert found["params"] == sum(p.numel() for p in network.parameters())
    assert found["gflops"] == pytest.approx(complexity(network).gflops, rel=1e-12)
    assert found["gflops_at"] == [224, 224]
    assert found["paper"]["Top-1 (%)"] == 73.130
    assert list(found["maps"]) == list(wanted.layers)
    close(
        found["maps"]["features.9.conv.1"], wanted.layers["features.9.conv.1"].trace.spatial()[0]
    )


def test_paper(client):
    rows = client.predict(table=4, api_name="/paper")
    assert len(rows) == 22
    row = next(row for row in rows if row["row"] == "ResNet50 + DRTAM r=32")
    assert row["paper"]["Param."] == row["measured"]["Param."] == 26.83
    assert row["measured"]["Top-1 (%)"] is None
    with pytest.raises(AppError, match="table must be a whole number from 1 to 7, not 8"):
        client.predict(table=8, api_name="/paper")


def test_side_by_side(client, ask, lion_analysis):
    labels = client.predict(api_name="/networks")
    cbam = next(label for label in labels if re.match("CBAM.*untrained", label))
    found = ask("side_by_side", other_photo="a lion", layer="layer3.4", other_network=cbam)
    other = expected(attention="cbam", r=16)
    maps = [a.layers["layer3.4"].trace.spatial()[0] for a in (lion_analysis, other)]
    close(found["a"]["map"], maps[0])
    close(found["b"]["map"], maps[1])
    close(found["difference"], maps[0] - maps[1])
    ranks = spearmanr(*(values.flatten().numpy() for values in maps))[0]
    assert found["rank_correlation"] == pytest.approx(ranks, abs=1e-3)


def test_steps(ask, lion_analysis):
    found = ask("steps", layer="layer4.1")
    trace = lion_analysis.layers["layer4.1"].trace
    for name, factors in (("initial", trace.initial), ("complement", trace.complement)):
        for factor in "chw":
            close(found[name][factor]["factor"], getattr(factors, factor)[0])
            logit = torch.tensor(found[name][factor]["logit"])
            close(found[name][factor]["factor"], logit.sigmoid())
    close(found["initial"]["c"]["pooled"][0], trace.descriptors.cw[0, :, :2].mean(1))


def test_a_segmentation_after_its_stages_is_a_variant_too(ask):
    found = ask("variant", backbone="fcn_resnet50", placement="stage", size=96)
    where = {"num_classes": 21, "placement": "stage"}
    wanted = analyze(
        build_model("fcn_resnet50", "drtam", seed=0, **where).eval(),
        prepare(load_photo(LION, 1024), 96).tensor,
    )
    assert found["paper"]["row"] == "ResNet-50 + DRTAM r=32 Pool."
    assert found["gflops_at"] == [512, 512]
    assert list(found["maps"]) == list(wanted.layers)
    close(found["maps"]["backbone.layer3"], wanted.layers["backbone.layer3"].trace.spatial()[0])


@pytest.mark.parametrize(
    ("endpoint", "arguments", "says"),
    [
        ("analyze", {"size": 95}, "size must be a whole number from 96 to 448, not 95"),
        ("analyze", {"size": 10**9}, "size must be a whole number from 96 to 448"),
        ("analyze", {"network": "VGG"}, "There is no network 'VGG'. Choose one of: DRTAM-ResNet"),
        ("analyze", {"target": 1000}, "target must be a whole number from -1 to 999, not 1000"),
        ("analyze", {"target": -2}, "target must be a whole number from -1 to 999, not -2"),
        ("layer", {"layer": "layer9"}, "layer must be one of layer1.0, .* not 'layer9'"),
        ("layer", {"layer": "layer4.2", "channel": 2048}, "channel must be .* -1 to 2047"),
        ("compare_modules", {"layer": ""}, "layer must be one of"),
        ("variant", {"backbone": "vgg16"}, "backbone must be one of resnet18, .* not 'vgg16'"),
        ("variant", {"attention": "se"}, "attention must be one of drtam, cbam, ca, not 'se'"),
        ("variant", {"placement": "end"}, "placement must be one of block, stage, not 'end'"),
        (
            "variant",
            {"backbone": "mobilenet_v2", "placement": "stage"},
            "placement must be 'block' for 'mobilenet_v2'",
        ),
        ("variant", {"s": 17}, "s must be a whole number from 1 to 16, not 17"),
        ("variant", {"n": 0}, "n must be a whole number from 1 to 64, not 0"),
        ("variant", {"r": -5}, "r must be a whole number from 1 to 128, not -5"),
        ("variant", {"seed": 100}, "seed must be a whole number from 0 to 99, not 100"),
    ],
)
def test_a_wrong_argument_gets_a_sentence(ask, endpoint, arguments, says):
    with pytest.raises(AppError, match=says) as error:
        ask(endpoint, **arguments)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [{"target": "lion"}, {"size": 128.5}, {"network": ["x"]}, {"target": [1]}],
)
def test_an_argument_of_another_type_is_refused(ask, arguments):
    with pytest.raises(AppError) as error:
        ask("analyze", **arguments)
    assert str(Path(__file__).parent.parent) not in str(error.value)


def test_what_is_no_photo_gets_a_sentence(ask, tmp_path):
    fake = tmp_path / "photo.png"
    fake.write_text("<svg></svg>")
    with pytest.raises(AppError, match="could not be read as a photo"):
        ask("analyze", photo=handle_file(fake))


@pytest.mark.parametrize("meta", [{"meta": {"_type": "gradio.FileData"}}, {}, {"url": LION}])
@pytest.mark.parametrize("path", ["/etc/passwd", "app.py", "../../etc/passwd", LION])
def test_files_of_the_server_are_out_of_reach(url, path, meta):
    answer = call(url, "analyze", [{"path": path, **meta}, "", -1, SIZE])
    assert answer.startswith("event: error")
    assert "could not be read as a photo" not in answer  # which would say that the file exists


def call(url: str, endpoint: str, data: list[Any]) -> str:
    """The answer to a request that no client library has looked at."""
    address = f"{url}gradio_api/call/{endpoint}"
    started = httpx.post(address, json={"data": data})
    return httpx.get(f"{address}/{started.json()['event_id']}", timeout=60).text


@pytest.mark.parametrize("data", [[], ["x"], [None, "", -1, SIZE], [7, "", -1, SIZE]])
def test_a_malformed_request_gets_no_traceback(url, data):
    answer = call(url, "analyze", data)
    assert answer.startswith("event: error")
    assert "Traceback" not in answer
    assert "/" not in answer.replace("event: error", "")
