"""What a network with attention modules does with an image."""

from drtam.explain.ablation import (
    Ablation,
    ChannelEffects,
    ablate,
    channel_effects,
    layer_effects,
)
from drtam.explain.analysis import Analysis, LayerAnalysis, analyze, named_maps
from drtam.explain.changed import intervening
from drtam.explain.correlation import difference, rank_correlation
from drtam.explain.export import arrays, npz, of_image
from drtam.explain.faithfulness import Faithfulness, faithfulness
from drtam.explain.faithfulness_curves import Curves, deletion, insertion, road
from drtam.explain.faithfulness_stability import randomised, sensitivity
from drtam.explain.interventions import (
    ExactResidual,
    Flat,
    Intervention,
    LayerChange,
    MapRegion,
    Off,
    PhotoRegion,
)
from drtam.explain.photo import PhotoError, Prepared, load_photo, prepare
from drtam.explain.residual import ResidualCheck
from drtam.explain.scores import ClassScores, class_scores
from drtam.explain.statistics import MapStatistics
from drtam.explain.steps import DRTAMSteps, Embedding, RTAMSteps, Strip, drtam_steps

__all__ = [
    "Ablation",
    "Analysis",
    "ChannelEffects",
    "ClassScores",
    "Curves",
    "DRTAMSteps",
    "Embedding",
    "ExactResidual",
    "Faithfulness",
    "Flat",
    "Intervention",
    "LayerAnalysis",
    "LayerChange",
    "MapRegion",
    "MapStatistics",
    "Off",
    "PhotoError",
    "PhotoRegion",
    "Prepared",
    "RTAMSteps",
    "ResidualCheck",
    "Strip",
    "ablate",
    "analyze",
    "arrays",
    "channel_effects",
    "class_scores",
    "deletion",
    "difference",
    "drtam_steps",
    "faithfulness",
    "insertion",
    "intervening",
    "layer_effects",
    "load_photo",
    "named_maps",
    "npz",
    "of_image",
    "prepare",
    "randomised",
    "rank_correlation",
    "road",
    "sensitivity",
]
