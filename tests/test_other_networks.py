"""The modules inside networks that other libraries build, save and load."""

from __future__ import annotations

import pytest
import timm
import torch
from captum.attr import LayerGradCam
from huggingface_hub import PyTorchModelHubMixin
from test_modules import KINDS
from torch import Tensor, nn
from torch.nn.utils import prune

from drtam import CBAM, DRTAM, CoordinateAttention, attention_layers
from drtam.explain import analyze


@pytest.mark.parametrize(
    ("kind", "printed"), [(DRTAM, 26.83), (CBAM, 28.09), (CoordinateAttention, 27.47)]
)
def test_timms_resnet_takes_them_as_attn_layer(kind, printed, lion_tensor):
    network = timm.create_model("resnet50", block_args={"attn_layer": kind}).eval()
    assert len(attention_layers(network)) == 16
    assert f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}" == str(printed)
    analysis = analyze(network, lion_tensor, target=3)
    for name in ("layer1.0", "layer3.5"):
        module = attention_layers(network)[name]
        expected = LayerGradCam(network, module).attribute(
            lion_tensor, target=3, relu_attributions=True
        )
        torch.testing.assert_close(analysis.layers[name].gradcam, expected[:, 0].detach())


class Small(nn.Module, PyTorchModelHubMixin):
    """A network as its author would share it on the hub."""

    def __init__(self, channels: int = 8, s: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, stride=4)
        self.gate = DRTAM(channels, s=s)
        self.head = nn.Linear(channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gate(self.stem(x)).mean((2, 3)))


def test_a_network_survives_the_hub_mixin(tmp_path, lion_tensor):
    network = Small(channels=12, s=4).eval()
    network.save_pretrained(tmp_path)
    found = Small.from_pretrained(tmp_path).eval()
    assert (found.gate.channels, found.gate.s) == (12, 4)
    assert found.gate.initial.mlp[0].weight is found.gate.complement.mlp[0].weight
    with torch.no_grad():
        assert torch.equal(found(lion_tensor), network(lion_tensor))
    assert list(analyze(found, lion_tensor).layers) == ["gate"]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_made_where_they_are_asked_for(kind):
    module = kind(16, device="meta", dtype=torch.float64)
    for tensor in (*module.parameters(), *module.buffers()):
        assert tensor.device.type == "meta"
        assert tensor.dtype in (torch.float64, torch.int64)


def test_pruned_convolutions_are_trained_like_any_others():
    torch.manual_seed(0)
    pruned, zeroed = DRTAM(8), DRTAM(8)
    zeroed.load_state_dict(pruned.state_dict())
    for attention in (pruned.initial, pruned.complement):
        for name in ("channel", "row", "column"):
            prune.l1_unstructured(attention.get_submodule(name), "weight", 0.5)
    with torch.no_grad():
        for name, weight in pruned.named_buffers():
            if name.endswith("weight_mask"):
                zeroed.get_parameter(name.removesuffix("_mask")).mul_(weight)
    x = torch.randn(2, 8, 7, 6)
    for _ in range(2):  # a masked weight belongs to one forward pass
        output = pruned(x)
        output.square().sum().backward()
    torch.testing.assert_close(output, zeroed(x))
