"""What a network with attention modules does with an image."""

from drtam.explain.analysis import Analysis, LayerAnalysis, analyze, named_maps
from drtam.explain.correlation import difference, rank_correlation
from drtam.explain.photo import PhotoError, Prepared, load_photo, prepare
from drtam.explain.residual import ResidualCheck
from drtam.explain.scores import ClassScores, class_scores
from drtam.explain.statistics import MapStatistics
from drtam.explain.steps import DRTAMSteps, Embedding, RTAMSteps, Strip, drtam_steps

__all__ = [
    "Analysis",
    "ClassScores",
    "DRTAMSteps",
    "Embedding",
    "LayerAnalysis",
    "MapStatistics",
    "PhotoError",
    "Prepared",
    "RTAMSteps",
    "ResidualCheck",
    "Strip",
    "analyze",
    "class_scores",
    "difference",
    "drtam_steps",
    "load_photo",
    "named_maps",
    "prepare",
    "rank_correlation",
]
