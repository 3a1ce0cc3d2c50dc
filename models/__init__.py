"""Networks with attention placed in them."""

from drtam import attention_layers
from models.build import ATTENTIONS, BACKBONES, Spec, build_model

__all__ = ["ATTENTIONS", "BACKBONES", "Spec", "attention_layers", "build_model"]
