"""What a network with attention modules does with an image."""

from drtam.explain.analysis import Analysis, LayerAnalysis, analyze, named_maps
from drtam.explain.correlation import rank_correlation
from drtam.explain.export import arrays, npz, of_image
from drtam.explain.photo import PhotoError, Prepared, load_photo, prepare
from drtam.explain.residual import ResidualCheck
from drtam.explain.scores import ClassScores, class_scores
from drtam.explain.statistics import MapStatistics

__all__ = [
    "Analysis",
    "ClassScores",
    "LayerAnalysis",
    "MapStatistics",
    "PhotoError",
    "Prepared",
    "ResidualCheck",
    "analyze",
    "arrays",
    "class_scores",
    "load_photo",
    "named_maps",
    "npz",
    "of_image",
    "prepare",
    "rank_correlation",
]
