"""Checkpoints as the authors of DRTAM, CBAM and CA publish them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from models.build import Implementation, Spec
from models.checkpoints import blank
from models.files import listed, not_finite, plain_names, read_tensors

DEPTHS = {
    (2, "basic"): "resnet18",
    (6, "basic"): "resnet34",
    (6, "bottleneck"): "resnet50",
    (23, "bottleneck"): "resnet101",
    (36, "bottleneck"): "resnet152",
}  # by the blocks of the third stage
WIDTHS = {32: "mobilenet_v2", 24: "mobilenet_v2_075", 16: "mobilenet_v2_050"}  # of the stem

# Each pattern turns the rest of a name, after the place of the module, into ours.
DRTAM_NAMES = (
    (r"ipa_channel_encoder\.c_conv1d\.", "initial.channel."),
    (r"cpa_channel_encoder\.c_conv1d\.", "complement.channel."),
    (r"ipa_channel_encoder\.bn_c\.", "initial.channel_norm."),
    (r"cpa_channel_encoder\.bn_c\.", "complement.channel_norm."),
    (r"ipa_spatial_encoder\.h_conv1d\.", "initial.row."),
    (r"cpa_spatial_encoder\.h_conv1d\.", "complement.row."),
    (r"ipa_spatial_encoder\.w_conv1d\.", "initial.column."),
    (r"cpa_spatial_encoder\.w_conv1d\.", "complement.column."),
    (r"ipa_spatial_encoder\.bn_h\.", "initial.row_norm."),
    (r"cpa_spatial_encoder\.bn_h\.", "complement.row_norm."),
    (r"ipa_spatial_encoder\.bn_w\.", "initial.column_norm."),
    (r"cpa_spatial_encoder\.bn_w\.", "complement.column_norm."),
    (r"channel_embedding_filter\.mlp\.1\.", "initial.mlp.0."),
    (r"channel_embedding_filter\.mlp\.3\.", "initial.mlp.2."),
)
CBAM_NAMES = (
    (r"ChannelGate\.mlp\.1\.", "mlp.0."),
    (r"ChannelGate\.mlp\.3\.", "mlp.2."),
    (r"SpatialGate\.spatial\.conv\.", "conv."),
    (r"SpatialGate\.spatial\.bn\.", "norm."),
)
CA_NAMES = (
    (r"conv1\.", "reduce."),
    (r"bn1\.", "norm."),
    (r"(conv2|conv_h)\.", "height."),
    (r"(conv3|conv_w)\.", "width."),
)
CA_FIRST = ("0.0", "0.1", "0.2", "1", "2")  # torchvision's names of a block's members, in order
CA_BLOCK = ("0.0", "0.1", "0.2", "1.0", "1.1", "1.2", "1.attention", "2", "3")
MARKS = {  # a tensor that only this attention has
    "drtam": (r"(.*?)ipa_channel_encoder\.c_conv1d\.weight", DRTAM_NAMES),
    "cbam": (r"(.*?)ChannelGate\.mlp\.1\.weight", CBAM_NAMES),
    "ca": (r"(features\.\d+\.conv\.6\.)conv1\.weight", CA_NAMES),
}


def load_published(
    source: str | os.PathLike[str] | Mapping[str, Tensor],
    *,
    implementation: Implementation | None = None,
) -> nn.Module:
    """The network in a checkpoint of the authors' code, in evaluation mode.

    Backbone, attention, S, N, r, placement and number of classes are read off the tensors. A
    row of 2S + 2N inputs may also be S + N' + 1 with another N'. Where both fit, a network with
    attention after its stages is taken for the released configuration, and one with attention
    in its blocks for the paper's pools, with which the authors' code builds those.

    Args:
        source: file, see ``read_tensors``, or state dict.
        implementation: ``authors`` or ``released``, for DRTAM, if it is known to be the other.

    Raises:
        ValueError: the source is no such checkpoint, or the network that it seems to be has
            other tensors; the message lists which.
    """
    if isinstance(source, Mapping):
        found, name = plain_names(dict(source), "The state dict"), "The state dict"
    else:
        found, name = read_tensors(Path(source)), Path(source).name
    attention = _attention(found, name)
    try:
        renamed = _rename(found, attention, name)
        spec = _spec(renamed, attention, name, implementation)
    except (IndexError, TypeError) as error:
        raise ValueError(f"{name} holds tensors of other shapes than {attention} has.") from error
    if broken := not_finite(renamed):
        raise ValueError(f"{name} holds NaN or infinite weights: {listed(broken)}.")
    model = blank(spec)
    _fill(model, renamed, name)
    return model.eval()


def _attention(found: dict[str, Tensor], name: str) -> str:
    for attention, (mark, _) in MARKS.items():
        if any(re.fullmatch(mark, key) for key in found):
            return attention
    raise ValueError(f"{name} holds no attention of DRTAM, CBAM or CA by its authors' names.")


def _rename(found: dict[str, Tensor], attention: str, name: str) -> dict[str, Tensor]:
    """Our names; of the two copies in MobileNetV2 one."""
    mark, patterns = MARKS[attention]
    places = {match[1] for key in found if (match := re.fullmatch(mark, key))}
    ahead = {match[1] for place in places if (match := re.match(r"features\.(\d+)\.drtam", place))}
    renamed: dict[str, Tensor] = {}
    for key, value in found.items():
        starts = (key[: dot.end()] for dot in re.finditer(r"\.", key))
        place = next((start for start in starts if start in places), None)
        ours = _backbone_name(key, ahead)
        if place is not None:
            rest = key.removeprefix(place)
            for pattern, replacement in patterns:
                rest = re.sub(f"^{pattern}", replacement, rest)
            ours = _place(place) + rest
        if ours in renamed and not torch.equal(renamed[ours], value):
            raise ValueError(f"{name} holds two copies of {ours} that differ.")
        renamed[ours] = value
    return renamed


def _place(theirs: str) -> str:
    """Where a module stands in our network, by where it stands in theirs."""
    if stage := re.fullmatch(r"drtam_\w*stage(\d)\.", theirs):
        return "relu.attention." if stage[1] == "0" else f"layer{stage[1]}.attention."
    if block := re.match(r"features\.(\d+)\.", theirs):
        return f"features.{block[1]}.conv.{0 if block[1] == '1' else 1}.attention."
    return re.sub(r"\.\w+\.$", ".attention.", theirs)


def _backbone_name(key: str, ahead: set[str]) -> str:
    """torchvision's name for a tensor of the backbone.

    Args:
        key: theirs.
        ahead: blocks of MobileNetV2 in which DRTAM stands before their last convolution.
    """
    if head := re.match(r"conv\.(\d\..*)", key):  # CA's last convolution of MobileNetV2
        return f"features.18.{head[1]}"
    flat = re.fullmatch(r"features\.(\d+)\.conv\.(\d+)\.(\D.*)", key)
    if flat is None:
        return key
    block, index, rest = flat[1], int(flat[2]), flat[3]
    if block in ahead:
        return f"features.{block}.conv.{index - 1}.{rest}"
    members = CA_FIRST if block == "1" else CA_BLOCK
    return f"features.{block}.conv.{members[index]}.{rest}"


def _spec(
    tensors: dict[str, Tensor], attention: str, name: str, implementation: Implementation | None
) -> Spec:
    backbone = _backbone(tensors, name)
    head = "classifier.1.weight" if backbone.startswith("mobile") else "fc.weight"
    if head not in tensors:
        raise ValueError(f"{name} has no {head}: a backbone without its classifier.")
    placement = "stage" if any(k.startswith("relu.") for k in tensors) else "block"
    first_layer = {"drtam": "initial.mlp.0.weight", "cbam": "mlp.0.weight", "ca": "reduce.weight"}
    widths = [
        v.shape for k, v in tensors.items() if k.endswith(f"attention.{first_layer[attention]}")
    ]
    if not widths:
        raise ValueError(f"{name} lacks the first layer of {attention}'s MLP.")
    chosen, s, n = Spec.implementation, Spec.s, Spec.n
    if attention == "drtam":
        chosen, s, n = _chunks(tensors, placement, implementation)
    return Spec(
        backbone,
        attention,
        s=s,
        n=n,
        r=_reduction([tuple(shape[:2]) for shape in widths], least=8 if attention == "ca" else 1),
        placement=placement,  # type: ignore[arg-type]
        num_classes=len(tensors[head]),
        implementation=chosen,
    )


def _reduction(widths: Sequence[tuple[int, ...]], least: int) -> int:
    """The largest r that gives each layer its hidden width; if none does, the widest layer's."""
    hidden, channels = max(widths, key=lambda shape: shape[1])
    widest = max(1, min(128, channels // max(1, hidden)))
    for r in range(widest, 0, -1):
        if all(hidden == max(least, channels // r) for hidden, channels in widths):
            return r
    return widest


def _chunks(
    tensors: dict[str, Tensor], placement: str, implementation: Implementation | None
) -> tuple[Implementation, int, int]:
    """Which implementation, and its S and N, from the inputs of two convolutions."""
    s = next(v for k, v in tensors.items() if k.endswith("initial.channel.weight")).shape[1] // 4
    row = next(v for k, v in tensors.items() if k.endswith("initial.row.weight")).shape[1]
    by_chunks = {"authors": row - s - 1, "released": (row - 2 * s) // 2 if row % 2 == 0 else 0}
    usual = "released" if placement == "stage" else "authors"
    for choice in (
        [implementation] if implementation else sorted(by_chunks, key=lambda k: k != usual)
    ):
        if by_chunks.get(choice, 0) >= 1:
            return choice, s, by_chunks[choice]  # type: ignore[return-value]
    raise ValueError(f"No S and N give a convolution of {row} inputs where S is {s}.")


def _backbone(tensors: dict[str, Tensor], name: str) -> str:
    if "features.0.0.weight" in tensors:
        found = WIDTHS.get(len(tensors["features.0.0.weight"]))
    else:
        blocks = {k.split(".")[1] for k in tensors if re.match(r"layer3\.\d+\.", k)}
        kind = "bottleneck" if "layer1.0.conv3.weight" in tensors else "basic"
        found = DEPTHS.get((len(blocks), kind))
    if found is None:
        raise ValueError(
            f"{name} holds none of {', '.join([*DEPTHS.values(), *WIDTHS.values()])}."
        )
    return found


def _fill(model: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """Give a blank network the tensors, whose shapes may have other axes of length 1."""
    wanted = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    fits = {
        key: value.reshape(wanted[key].shape).to(wanted[key].dtype)
        for key, value in tensors.items()
        if key in wanted and _long_axes(value) == _long_axes(wanted[key])
    }
    wrong = sorted((tensors.keys() | wanted.keys()) - fits.keys())
    if wrong:
        raise ValueError(f"{name} does not fit {model.spec}: {listed(wrong)}.")
    model.load_state_dict(fits, strict=False, assign=True)


def _long_axes(tensor: Tensor) -> list[int]:
    return [length for length in tensor.shape if length > 1]
