"""Detectors, segmentations and bare backbones, explained like classifiers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from drtam import attention_layers
from drtam.explain import analyze, class_scores
from models import build_model


def assert_gradcam_is_captums(
    network: nn.Module, x: Tensor, score: Callable[[Tensor], Tensor], names: list[str], target: int
) -> None:
    """At the named layers, with the class score (B, K) written here."""
    found = analyze(network, x, target)
    for name in names:
        module = attention_layers(network)[name]
        expected = LayerGradCam(score, module).attribute(x, target=target, relu_attributions=True)
        torch.testing.assert_close(
            found.layers[name].gradcam, expected[:, 0].detach(), rtol=1e-3, atol=1e-6
        )
    assert any(found.layers[name].gradcam.max() > 0 for name in names)


@pytest.mark.parametrize("placement", ["block", "stage"])
def test_a_segmentation_is_explained_by_its_mean_scores(placement, lion_tensor):
    network = build_model(
        "fcn_resnet50", "drtam", num_classes=5, placement=placement, seed=0
    ).eval()
    with torch.no_grad():
        dense = network(lion_tensor)["out"]
    found = analyze(network, lion_tensor)
    torch.testing.assert_close(found.logits, dense.mean((2, 3)))
    torch.testing.assert_close(found.probabilities, dense.softmax(1).mean((2, 3)))
    assert found.target == found.probabilities.argmax(1)
    last, target = list(found.layers)[-1], int(found.target)
    assert_gradcam_is_captums(
        network, lion_tensor, lambda x: network(x)["out"].mean((2, 3)), [last], target
    )


@pytest.fixture(scope="module")
def detector() -> nn.Module:
    network = build_model("maskrcnn_resnet18", "drtam", num_classes=4, seed=0).eval()
    network.transform.min_size, network.roi_heads.score_thresh = (96,), 0.0
    network.rpn._post_nms_top_n = {"training": 16, "testing": 16}
    network.roi_heads.detections_per_img = 10_000  # of all classes
    return network


def test_a_detector_is_explained_by_the_best_box_of_the_class(detector, lion_tensor):
    photo = lion_tensor.sigmoid()  # a detector normalises by itself
    with torch.no_grad():
        boxes = detector(photo)[0]
    best = [float(boxes["scores"][boxes["labels"] == k].max()) for k in (1, 2, 3)]
    found = analyze(detector, photo)
    torch.testing.assert_close(found.probabilities, torch.tensor([[0.0, *best]]))
    assert int(found.target) == 1 + best.index(max(best))

    def score(x: Tensor) -> Tensor:
        boxes = detector(x)[0]
        return torch.stack([boxes["scores"][boxes["labels"] == k][0] for k in (1, 1, 2, 3)])[None]

    names = ["backbone.body.layer3.1", "backbone.body.layer4.1"]
    assert_gradcam_is_captums(detector, photo, score, names, target=2)


def test_without_a_box_the_maps_are_there_and_gradcam_is_zero(detector, lion_tensor):
    detector.roi_heads.score_thresh = 1.0
    try:
        found = analyze(detector, lion_tensor.sigmoid())
    finally:
        detector.roi_heads.score_thresh = 0.0
    assert found.probabilities.tolist() == [[0.0]]
    assert len(found.layers) == 8
    for layer in found.layers.values():
        assert layer.gradcam.max() == 0
        assert 0 < layer.statistics["combined"].mean < 1


def test_a_bare_backbone_is_explained_by_its_deepest_features(lion_tensor):
    network = build_model("fcn_resnet50", "cbam", seed=0).backbone.eval()
    found = analyze(network, lion_tensor, target=7)
    deepest = list(network(lion_tensor).values())[-1]
    torch.testing.assert_close(found.logits, deepest.mean((2, 3)).detach())
    assert len(found.layers) == 16


def test_a_class_without_a_box_has_the_score_zero():
    photo = {"labels": torch.tensor([3, 1, 3]), "scores": torch.tensor([0.2, 0.9, 0.7])}
    empty = {"labels": torch.tensor([], dtype=torch.int64), "scores": torch.tensor([])}
    found = class_scores([photo, empty]).probabilities
    assert found.tolist() == [pytest.approx([0, 0.9, 0, 0.7]), [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("output", "got"),
    [
        (torch.zeros(2, 3, 4), r"\(2, 3, 4\)"),
        ({}, "dict"),
        ([], "list"),
        ([{"boxes": torch.zeros(1, 4)}], "list"),
        (None, "NoneType"),
    ],
)
def test_an_output_without_class_scores_is_named(output, got):
    with pytest.raises(ValueError, match=f"not {got}"):
        class_scores(output)
