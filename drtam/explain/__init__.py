"""What a network with attention modules does with an image."""

from drtam.explain.analysis import Analysis, LayerAnalysis, analyze, named_maps
from drtam.explain.correlation import rank_correlation
from drtam.explain.faithfulness import Faithfulness, faithfulness
from drtam.explain.faithfulness_curves import Curves, deletion, insertion, road
from drtam.explain.faithfulness_stability import randomised, sensitivity
from drtam.explain.photo import PhotoError, Prepared, load_photo, prepare
from drtam.explain.residual import ResidualCheck
from drtam.explain.scores import ClassScores, class_scores
from drtam.explain.statistics import MapStatistics

__all__ = [
    "Analysis",
    "ClassScores",
    "Curves",
    "Faithfulness",
    "LayerAnalysis",
    "MapStatistics",
    "PhotoError",
    "Prepared",
    "ResidualCheck",
    "analyze",
    "class_scores",
    "deletion",
    "faithfulness",
    "insertion",
    "load_photo",
    "named_maps",
    "prepare",
    "randomised",
    "rank_correlation",
    "road",
    "sensitivity",
]
