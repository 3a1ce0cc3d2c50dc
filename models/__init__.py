"""Networks with attention placed in them."""

from drtam import attention_layers
from models.build import ATTENTIONS, BACKBONES, CLASSIFIERS, Spec, build_model

__all__ = [
    "ATTENTIONS",
    "BACKBONES",
    "CLASSIFIERS",
    "Spec",
    "attention_layers",
    "build_model",
]
