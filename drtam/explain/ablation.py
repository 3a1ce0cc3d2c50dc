"""What changes in an attention layer do to what the network says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from drtam.base import AttentionModule, attention_layers
from drtam.explain.analysis import Analysis, analyze, as_batch, targeted
from drtam.explain.changed import (
    applies,
    changed_trace,
    changes_by_layer,
    intervening,
    layer_of,
)
from drtam.explain.gradients import score_gradients
from drtam.explain.interventions import Intervention, LayerChange, PhotoRegion
from drtam.explain.recording import evaluating
from drtam.explain.scores import are_boxes
from drtam.explain.turns import turn

Named = dict[str, Tensor]


@dataclass(frozen=True)
class Ablation:
    """A network before and after some interventions, both explained for the same classes.

    Attributes:
        before: as the network is.
        after: with the interventions in place. A layer that is switched off or painted has only
            a ``combined`` map there.
    """

    before: Analysis
    after: Analysis

    @property
    def change(self) -> Tensor:
        """(B,), float64: the target's log-probability after minus before.

        A detector's class without a box has the probability 0: then it is minus infinity where
        the class was lost, infinity where it was gained, NaN where it was never found.
        """
        after = log_probability(self.after.probabilities, self.before.target)
        return after - log_probability(self.before.probabilities, self.before.target)


@dataclass(frozen=True)
class ChannelEffects:
    """What a change in one channel of one layer does, for the channels where it does most.

    Attributes:
        channels: (B, n), the channels with the largest ``estimate`` in size; ordered by the
            size of ``measured``.
        measured: (B, n), float64: the change of the target's log-probability when only that
            channel is changed; a forward pass for each.
        estimate: (B, C), to first order, for all channels: the gradient of the log-probability
            times the change of the layer's output, summed over positions. It is only what
            ``channels`` are chosen by.
    """

    channels: Tensor
    measured: Tensor
    estimate: Tensor


def ablate(
    model: nn.Module,
    image: Tensor,
    interventions: Sequence[Intervention],
    target: int | Tensor | None = None,
) -> Ablation:
    """What a network does with an image, without and with interventions.

    Each is one forward and one backward pass, as in ``analyze``; interventions combine.

    Args:
        model: any network that ``analyze`` takes; it is left as it was.
        image: (B, 3, H, W) or (3, H, W), normalised as the network expects.
        interventions: any number.
        target: the class whose probability is followed, or (B,), one for each image; by default
            each image's best before the interventions.

    Raises:
        ValueError: as ``analyze`` and ``intervening`` do.
    """
    before = analyze(model, image, target)
    return Ablation(before, analyze_changed(model, image, interventions, before.target))


def analyze_changed(
    model: nn.Module,
    image: Tensor,
    interventions: Sequence[Intervention],
    target: int | Tensor | None = None,
) -> Analysis:
    """``analyze`` with interventions in place: the second half of ``ablate``."""
    image = as_batch(image)
    for change in interventions:
        if isinstance(change, PhotoRegion):
            image = change.paint(image)
    in_layers = [c for c in interventions if not isinstance(c, PhotoRegion)]
    with intervening(model, in_layers):
        return analyze(model, image, target)


def layer_effects(
    model: nn.Module,
    image: Tensor,
    changes: Sequence[LayerChange],
    target: int | Tensor | None = None,
    *,
    layers: Iterable[str] | None = None,
) -> dict[str, Tensor]:
    """What the same changes do in each layer alone: a forward pass for each, and one before.

    Args:
        model: any network that ``analyze`` takes; it is left as it was.
        image: (B, 3, H, W) or (3, H, W), normalised as the network expects.
        changes: their own ``layers`` are ignored. In each layer those apply that make sense
            there.
        target: as for ``ablate``.
        layers: names of ``attention_layers``, by default all, one pass as each is taken.

    Returns:
        By layer name (B,), float64: the change of the target's log-probability, as
        ``Ablation.change``.

    Raises:
        ValueError: as ``ablate`` does.
    """
    image = as_batch(image)
    changes_by_layer(model, [replace(change, layers=None) for change in changes])
    before, targets = _log_probability(model, image, target)
    effects = {}
    for name in attention_layers(model) if layers is None else layers:
        module = layer_of(model, name)
        alone = [replace(c, layers=(name,)) for c in changes if applies(c, module)]
        with intervening(model, alone):
            effects[name] = _log_probability(model, image, targets)[0] - before
    return effects


def channel_effects(
    model: nn.Module,
    image: Tensor,
    layer: str,
    changes: Sequence[LayerChange],
    target: int | Tensor | None = None,
    *,
    count: int = 8,
) -> ChannelEffects:
    """What the same changes do in one channel of a layer alone.

    A changed channel k of the layer's output is X_k A'_k, with A' the map after the changes; all
    others are as they were. One forward and backward pass estimates every channel, then a forward
    pass measures each of the ``count`` that seem to matter most.

    Args:
        model: any network that ``analyze`` takes; it is left as it was.
        image: (B, 3, H, W) or (3, H, W), normalised as the network expects.
        layer: a name of ``attention_layers``.
        changes: to that layer; their own ``layers`` are ignored.
        target: as for ``ablate``.
        count: number of channels to measure, at least 1; all where the layer has fewer.

    Raises:
        ValueError: as ``ablate`` does, or the network never calls the layer.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    image = as_batch(image)
    module = layer_of(model, layer)
    plan = changes_by_layer(model, [replace(c, layers=(layer,)) for c in changes]).get(layer, ())
    before, targets, estimate = _estimate(model, image, module, plan, target)
    channels = estimate.abs().topk(min(count, estimate.shape[1]), dim=1).indices  # (B, n)
    measured = []
    for column in channels.unbind(1):
        with turn(model), _one_channel(module, plan, column):
            measured.append(_log_probability(model, image, targets)[0] - before)
    effects = torch.stack(measured, dim=1)
    order = effects.abs().argsort(dim=1, descending=True)
    return ChannelEffects(channels.gather(1, order), effects.gather(1, order), estimate)


def log_probability(probabilities: Tensor, target: Tensor) -> Tensor:
    """Of each image's target, (B,), float64; minus infinity where its probability is 0."""
    return probabilities.gather(1, target[:, None])[:, 0].double().log()


def _log_probability(
    model: nn.Module, image: Tensor, target: int | Tensor | None
) -> tuple[Tensor, Tensor]:
    """The target's, and the target, in one forward pass: both (B,)."""
    with torch.no_grad(), evaluating(model):
        scores, targets = targeted(model(image.clone()), target)
    return log_probability(scores.probabilities, targets), targets


def _estimate(
    model: nn.Module,
    image: Tensor,
    module: AttentionModule,
    plan: Sequence[LayerChange],
    target: int | Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The target's log-probability, the target, and each channel's effect to first order."""
    outputs: list[Tensor] = []
    differences: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Tensor, ...], named: Named, output: Tensor) -> Tensor:
        (x,) = (*given, *named.values())
        with torch.no_grad():
            differences.append(changed_trace(module, x, plan).output - output)
        output = output.clone() if output is x else output  # as in ``recording``
        outputs.append(output if output.requires_grad else output.requires_grad_())
        return output.clone()  # networks add the shortcut in place

    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        evaluating(model),
        module.register_forward_hook(keep, with_kwargs=True),
    ):
        output = model(image.clone())
        scores, targets = targeted(output, target)
        if not outputs:
            raise ValueError("the network never calls this layer: there is nothing to change")
        logs = log_probability(scores.probabilities, targets)
        taken = list(differences)  # a backward pass over checkpoints adds more
        gradients = score_gradients(logs.sum(), list(outputs), of_boxes=are_boxes(output))
    pairs = zip(gradients, taken, strict=True)
    estimate = torch.stack([torch.einsum("bchw,bchw->bc", g, d) for g, d in pairs]).sum(0)
    return logs.detach(), targets, estimate


def _one_channel(
    module: AttentionModule, plan: Sequence[LayerChange], channel: Tensor
) -> AbstractContextManager[object]:
    """While open, the module's output is changed in one channel of each image, (B,)."""
    rows = torch.arange(len(channel), device=channel.device)

    def mix(_: nn.Module, given: tuple[Tensor, ...], named: Named, output: Tensor) -> Tensor:
        (x,) = (*given, *named.values())
        changed = changed_trace(module, x, plan).output
        return output.index_put((rows, channel), changed[rows, channel])

    return module.register_forward_hook(mix, with_kwargs=True)
