"""Dual rank-1 tensor attention (DRTAM), and the modules that its paper compares it with."""

from drtam.base import AttentionModule, AttentionTrace, attention_layers
from drtam.cbam import CBAM, CBAMTrace
from drtam.coordinate import CATrace, CoordinateAttention
from drtam.descriptors import Descriptors
from drtam.dual import DRTAM, DRTAMTrace
from drtam.factors import Factors
from drtam.no_attention import NoAttention, NoAttentionTrace
from drtam.rank_one import RankOneAttention

__all__ = [
    "CBAM",
    "DRTAM",
    "AttentionModule",
    "AttentionTrace",
    "CATrace",
    "CBAMTrace",
    "CoordinateAttention",
    "DRTAMTrace",
    "Descriptors",
    "Factors",
    "NoAttention",
    "NoAttentionTrace",
    "RankOneAttention",
    "attention_layers",
]
