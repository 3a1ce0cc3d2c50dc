"""What leaves Python computes the same at other sizes, or says that it cannot."""

from __future__ import annotations

import io
from collections.abc import Callable

import onnxruntime
import pytest
import torch
from test_oracle import alive
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.fx import symbolic_trace
from torchvision.models.feature_extraction import create_feature_extractor

from drtam import CBAM, DRTAM, CoordinateAttention, attention_layers

KINDS = [DRTAM, CBAM, CoordinateAttention]
TRACED = (2, 24, 14, 11)
OTHERS = [(1, 24, 28, 28), (3, 24, 9, 56), (2, 24, 7, 8), (3, 24, 4, 7), (5, 24, 2, 4)]
OTHERS += [(1, 24, 1, 9), (1, 24, 1, 1)]  # 7, 4, 2 and 1 in 3 chunks follow different rules
every_kind = pytest.mark.parametrize("kind", KINDS)
AUTO = torch.export.Dim.AUTO
DYNAMIC = ({0: AUTO, 2: AUTO, 3: AUTO},)
AXES = {0: "batch", 2: "height", 3: "width"}


@pytest.fixture(autouse=True)
def _nothing_compiled() -> None:
    torch.compiler.reset()


def made(kind: type[nn.Module]) -> nn.Module:
    return alive(kind(24), 4)


@torch.no_grad()
def assert_same(found: Callable[[Tensor], Tensor], module: nn.Module, others=OTHERS) -> None:
    for size in [TRACED, *others]:
        x = torch.randn(size)
        torch.testing.assert_close(found(x), module(x), rtol=1e-4, atol=1e-5)


@every_kind
@torch.no_grad()
def test_one_graph_for_torch_compile_and_none_for_a_new_size(kind):
    module = made(kind)
    backend = "eager" if kind is DRTAM else "aot_eager"  # the default compiler has DRTAM below
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    graphs = []
    for size in [TRACED, *OTHERS[1:5]]:
        x = torch.randn(size)
        torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-5)
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] < graphs[1] == graphs[-1]
    assert_same(compiled, module)


@torch.no_grad()
def test_the_default_compiler_gives_the_same():
    module = made(DRTAM)
    assert_same(torch.compile(module, fullgraph=True, dynamic=True), module, OTHERS[1:5])


def test_a_compiled_training_step_has_the_same_gradients():
    module, x = made(DRTAM).train(), torch.randn(TRACED)
    gradients = []
    for run in (module, torch.compile(module, fullgraph=True, backend="aot_eager")):
        module.zero_grad()
        run(x).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in module.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_torch_export_holds_for_other_sizes():
    module = made(DRTAM)
    program = torch.export.export(module, (torch.randn(TRACED),), dynamic_shapes=DYNAMIC)
    assert_same(program.module(), module)


def onnx(module: nn.Module, exporter: str, size: tuple[int, ...] = TRACED):
    """The module as ONNX Runtime runs it."""
    x = torch.randn(size)
    if exporter == "dynamo":
        program = torch.onnx.export(module, (x,), dynamo=True, dynamic_shapes=DYNAMIC)
        content = program.model_proto.SerializeToString()
    else:
        file = io.BytesIO()
        torch.onnx.export(
            module, (x,), file, dynamo=False, input_names=["x"], dynamic_axes={"x": AXES}
        )
        content = file.getvalue()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


@every_kind
@torch.no_grad()
def test_torch_fx_takes_a_module_as_one_node(kind):
    network = nn.Sequential(nn.Conv2d(3, 24, 3), nn.Sequential(made(kind), nn.ReLU())).eval()
    graph = symbolic_trace(network)
    features = create_feature_extractor(network, {"1.0": "recalibrated"})
    assert list(attention_layers(graph)) == list(attention_layers(network))
    for x in torch.randn(2, 3, 11, 9), torch.randn(1, 3, 30, 4):
        assert torch.equal(graph(x), network(x))
        assert torch.equal(features(x)["recalibrated"].relu(), network(x))


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@every_kind
@pytest.mark.filterwarnings("ignore")
def test_onnx_holds_for_other_sizes(kind, exporter):
    module = made(kind)
    assert_same(onnx(module, exporter), module)
