"""What a trained network is worth without parts of its attention, which the paper does not ask."""

from __future__ import annotations

import torch
from torch import nn

from drtam import attention_layers
from drtam.explain import ExactResidual, Flat, Off, intervening
from drtam.explain.changed import applies
from drtam.explain.interventions import LayerChange
from experiments.accuracy import Accuracy, measure
from experiments.photos import Photos
from models.description import Description

CHANGES: dict[str, LayerChange] = {
    "no complement map: A = A_I": Off("complement"),
    "no initial map: A = A_C": Off("initial"),
    "exact residual descriptors in place of Eqn 12-14": ExactResidual(),
    "no attention: A = 1": Off(),
    "c replaced by its mean": Flat("c"),
    "h replaced by its mean": Flat("h"),
    "w replaced by its mean": Flat("w"),
}


def ablations(
    model: nn.Module, about: Description, photos: Photos, size: int, device: torch.device
) -> dict[str, Accuracy]:
    """The accuracy with one change in all attention layers, without any further training.

    Args:
        model: a classifier.
        about: what its checkpoint says of it.
        photos: that it is measured on.
        size: of the photos, in pixels.
        device: where the network is.

    Returns:
        By the name of each change that makes sense in its attention; empty without any.
    """
    layers = attention_layers(model).values()
    found = {}
    for name, change in CHANGES.items():
        if any(applies(change, layer) for layer in layers):
            with intervening(model, [change]):
                found[name] = measure(model, photos, size, about.mean, about.std, device)
    return found
