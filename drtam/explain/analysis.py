"""One photo, one forward and one backward pass: everything that the attention layers did."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from drtam.base import AttentionTrace, attention_layers
from drtam.dual import DRTAMTrace
from drtam.explain.gradients import score_gradients
from drtam.explain.memory import check_fits
from drtam.explain.recording import Record, evaluating, recording, refuse_undifferentiable
from drtam.explain.residual import ResidualCheck, check_residual
from drtam.explain.scores import ClassScores, are_boxes, class_scores
from drtam.explain.statistics import MapStatistics

T = TypeVar("T")


@dataclass(frozen=True)
class LayerAnalysis:
    """What one attention layer did.

    Attributes:
        trace: of the module; its output is empty in a compact analysis.
        gradcam: (B, H, W), >= 0: Grad-CAM of the target at the module's output.
        statistics: of each map by its name, ``combined`` first; for DRTAM also ``initial``
            and ``complement``.
        added: (B,), in [0, 1], for DRTAM: the share of the combined map's mean that A_C adds
            over A_I; 0 where both are.
        residual: for DRTAM, its residual descriptors against exact ones.
        output_mean: (B, H, W), the mean of the module's output over C.
    """

    trace: AttentionTrace
    gradcam: Tensor
    statistics: dict[str, MapStatistics]
    added: Tensor | None
    residual: ResidualCheck | None
    output_mean: Tensor


@dataclass(frozen=True)
class Analysis:
    """What a network did with a batch of images.

    Attributes:
        logits: (B, K), the class scores, see ``class_scores``.
        probabilities: (B, K), in [0, 1], of the classes.
        target: (B,), the class that Grad-CAM explains.
        layers: by layer name, in the order in which they ran.
    """

    logits: Tensor
    probabilities: Tensor
    target: Tensor
    layers: dict[str, LayerAnalysis]

    def compact(self) -> Analysis:
        """On the CPU, without the layers' outputs, which are most of it and drawn nowhere."""
        layers = {
            name: dataclasses.replace(layer, trace=_without_output(layer.trace))
            for name, layer in self.layers.items()
        }
        return map_tensors(dataclasses.replace(self, layers=layers), Tensor.cpu)

    def _repr_html_(self) -> str:
        """In a notebook: what the combined map of each layer comes to, for the first image."""
        rows = []
        for name, layer in self.layers.items():
            shape = "×".join(map(str, layer.trace.attention().shape[1:]))
            numbers = layer.statistics["combined"]
            cells = [shape, f"{float(numbers.mean[0]):.4f}", f"{float(numbers.spread[0]):.4f}"]
            rows.append(f"<tr><th>{escape(name)}</th><td>{'</td><td>'.join(cells)}</td></tr>")
        return (
            f"<p>{len(self.target)} image(s), target class {self.target.tolist()}</p>"
            "<table><tr><th>layer</th><th>C×H×W</th><th>mean of A</th><th>spread of A</th></tr>"
            f"{''.join(rows)}</table>"
        )


def analyze(model: nn.Module, image: Tensor, target: int | Tensor | None = None) -> Analysis:
    """Trace every attention layer, with Grad-CAM at each, in one forward and one backward pass.

    Args:
        model: any network with DRTAM, CBAM or CoordinateAttention modules inside: a classifier,
            a semantic segmentation, a detector of torchvision's, or a backbone of features; see
            ``class_scores``. It is left as it was: mode, weights, gradients. While this runs
            its modules are not: other threads that explain it wait, and none may run it.
        image: (B, 3, H, W) or (3, H, W), normalised as the network expects.
        target: the class that Grad-CAM explains, 0 to K - 1, or (B,), one for each image; by
            default each image's best. Where a detector finds no box of it, Grad-CAM is 0.

    Raises:
        ValueError: the network has no attention module, runs one without gradients or lets none
            back to any, returns something without class scores, or the target is no class of it;
            or the image is none.
        MemoryError: the batch would not fit in the memory that is free, see ``check_fits``.
    """
    if not attention_layers(model):
        raise ValueError(
            "model holds no attention module: nothing to explain. DRTAM, CBAM or "
            "CoordinateAttention from drtam must be somewhere inside it."
        )
    batch = as_batch(image)
    check_fits(model, batch)
    scores, targets, recorded = _explained(model, batch, target)
    with torch.no_grad():
        layers = {name: _layer(record, gradient) for name, (record, gradient) in recorded.items()}
    return Analysis(scores.values, scores.probabilities, targets, layers)


def _explained(
    model: nn.Module, batch: Tensor, target: int | Tensor | None
) -> tuple[ClassScores, Tensor, dict[str, tuple[Record, Tensor]]]:
    """Scores, targets, and of each layer its record and the gradient of the score at its output.

    Nothing that is returned holds the graph, which else would stay through all that follows.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        evaluating(model),
        recording(model) as records,
    ):
        output = model(batch.clone())
        scores, targets = targeted(output, target)
        score = scores.values.gather(1, targets[:, None]).sum()
        if not records:
            raise ValueError("the network calls none of its attention modules: nothing to explain")
        taken = dict(records)  # where activations are checkpointed, the backward pass adds more
        refuse_undifferentiable(taken)
        outputs = [record.trace.output for record in taken.values()]
        gradients = score_gradients(score, outputs, of_boxes=are_boxes(output))
    pairs = zip(taken.items(), gradients, strict=True)
    recorded = {name: (record, gradient) for (name, record), gradient in pairs}
    return map_tensors((scores, targets, recorded), Tensor.detach)


def as_batch(image: Tensor) -> Tensor:
    """(B, 3, H, W) of that or of (3, H, W).

    Raises:
        ValueError: it has neither shape.
    """
    if image.dim() not in (3, 4):
        raise ValueError(f"image must be (B, 3, H, W) or (3, H, W), not {tuple(image.shape)}")
    return image if image.dim() == 4 else image[None]


def targeted(output: Any, target: int | Tensor | None) -> tuple[ClassScores, Tensor]:
    """The class scores in what a network returned, and one class for each image, (B,).

    Args:
        output: of a network, see ``class_scores``.
        target: as for ``analyze``.

    Raises:
        ValueError: as ``analyze`` does.
    """
    if target is None:
        scores = class_scores(output)
        return scores, scores.probabilities.argmax(1)
    given = _classes(target)
    scores = class_scores(output, least=1 + int(given.max()))
    return scores, _targets(scores.values, given)


def _classes(target: int | Tensor) -> Tensor:
    """Whole numbers, at least one."""
    try:
        given = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError):  # a name, a list of several lengths
        given = torch.empty(0)
    if given.is_floating_point() or given.dtype == torch.bool or not given.numel():
        raise ValueError(
            f"target must be the number of a class, or one for each image, not {target!r}"
        )
    return given


def _targets(logits: Tensor, given: Tensor) -> Tensor:
    if given.dim() and given.shape != logits.shape[:1]:
        raise ValueError(f"target must have one class for each image, not {tuple(given.shape)}")
    targets = given.to(logits.device).expand(logits.shape[:1])
    if not ((targets >= 0) & (targets < logits.shape[1])).all():
        raise ValueError(f"target must be from 0 to {logits.shape[1] - 1}, not {given.tolist()}")
    return targets.long()


def _layer(record: Record, gradient: Tensor) -> LayerAnalysis:
    trace = record.trace
    statistics = {name: MapStatistics.of(value) for name, value in named_maps(trace).items()}
    added = residual = None
    if isinstance(trace, DRTAMTrace) and record.exact is not None:
        combined, initial = statistics["combined"].mean, statistics["initial"].mean
        added = torch.where(combined > 0, 1 - initial / combined, 0).clamp(0, 1)
        residual = check_residual(trace.residual, record.exact)
    cam, output_mean = gradcam(trace.output, gradient), trace.output.float().mean(1)
    return LayerAnalysis(trace, cam, statistics, added, residual, output_mean)


def named_maps(trace: AttentionTrace) -> dict[str, Tensor]:
    """The attention maps of a trace, each (B, C, H, W): ``combined`` first."""
    maps = {"combined": trace.attention()}
    if isinstance(trace, DRTAMTrace):
        maps |= {"initial": trace.initial.map(), "complement": trace.complement.map()}
    return maps


def gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017, Eqn 1-2) from (B, C, H, W) to (B, H, W), >= 0."""
    weights = gradient.float().mean((2, 3))
    return torch.einsum("bc,bchw->bhw", weights, activation.float()).relu()


def map_tensors(value: T, function: Callable[[Tensor], Tensor]) -> T:
    """The same dataclasses, tuples and dicts with ``function`` applied to every tensor in them."""
    if isinstance(value, Tensor):
        return function(value)  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(map_tensors(item, function) for item in value)  # type: ignore[return-value]
    if isinstance(value, dict):
        return {key: map_tensors(item, function) for key, item in value.items()}  # type: ignore[return-value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **map_tensors(fields, function))
    return value


def _without_output(trace: AttentionTrace) -> AttentionTrace:
    parts: dict[str, object] = {"output": trace.output.new_empty(0)}
    if (painted := getattr(trace, "trace", None)) is not None:  # of a ``PaintedTrace``
        parts["trace"] = _without_output(painted)
    return dataclasses.replace(trace, **parts)  # type: ignore[type-var]
