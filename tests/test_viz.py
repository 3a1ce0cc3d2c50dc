"""Figures and pictures show the numbers that they were given, where they belong."""

from __future__ import annotations

from html import unescape

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from drtam import CBAM, DRTAM, CoordinateAttention
from drtam.explain import Analysis, analyze, named_maps
from viz.color import TABLE, colorize
from viz.correlation import correlation_figure
from viz.descriptors import descriptors_figure
from viz.factors import factors_figure
from viz.gates import gates_figure
from viz.maps import maps_figure
from viz.overlay import map_picture, overlay
from viz.scores import scores_figure
from viz.text import percent

CLASSES = [f"<class> {k}" for k in range(9)]


def network(attention: type[nn.Module]) -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 16, 8, stride=8), nn.BatchNorm2d(16))
    return nn.Sequential(
        stem, attention(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 9)
    )


@pytest.fixture(scope="module")
def analysis(lion_tensor: Tensor) -> Analysis:
    torch.manual_seed(0)
    return analyze(network(DRTAM), lion_tensor[..., :64], target=4)


def test_factor_lines_are_the_factors(analysis):
    trace = analysis.layers["1"].trace
    figure = factors_figure(trace, "title")
    lines = {(line.name, line.xaxis): line.y for line in figure.data}
    for name, factors in (("initial", trace.initial), ("complement", trace.complement)):
        np.testing.assert_allclose(lines[name, "x"], factors.c[0])
        np.testing.assert_allclose(lines[name, "x2"], np.sort(factors.c[0].numpy())[::-1])
        np.testing.assert_allclose(lines[name, "x3"], factors.h[0])
        np.testing.assert_allclose(lines[name, "x4"], factors.w[0])


def test_descriptor_panels_are_before_after_and_error(analysis):
    layer = analysis.layers["1"]
    figure = descriptors_figure(layer.trace, layer.residual, "title")
    panels = iter(figure.data)
    for i, kind in enumerate(("ch", "cw", "hw")):
        before, after, difference = (next(panels) for _ in range(3))
        residual = getattr(layer.trace.residual, kind)[0]
        np.testing.assert_allclose(before.z, getattr(layer.trace.descriptors, kind)[0])
        np.testing.assert_allclose(after.z, residual)
        np.testing.assert_allclose(difference.z, residual - getattr(layer.residual.exact, kind)[0])
        assert before.zmax == after.zmax == -before.zmin
        assert f"{float(layer.residual.error[0, i]):.2%}" in str(figure.layout.annotations)


@pytest.mark.parametrize("shared", [True, False])
def test_maps_share_a_colour_scale_only_if_asked_to(analysis, shared):
    maps = {k: v[0].mean(0) for k, v in named_maps(analysis.layers["1"].trace).items()}
    figure = maps_figure(maps, "title", shared=shared)
    assert len({(panel.zmin, panel.zmax) for panel in figure.data}) == (1 if shared else 3)
    for panel, values in zip(figure.data, maps.values(), strict=True):
        np.testing.assert_allclose(panel.z, values)
        assert panel.zmin <= panel.z.min()
        assert panel.zmax >= panel.z.max()


def test_score_bars_are_the_most_probable_classes_and_the_target(analysis):
    figure = scores_figure(analysis, CLASSES, "title", count=3)
    (bars,) = figure.data
    probabilities = analysis.logits[0].softmax(0)
    best = probabilities.topk(3).indices.tolist()
    expected = best if 4 in best else [*best, 4]
    assert [unescape(label).strip() for label in bars.y] == [CLASSES[k] for k in expected]
    np.testing.assert_allclose(bars.x, probabilities[expected])
    assert figure.layout.yaxis.type == "category"  # of names such as 7 or 2020-01-03 too
    own = bars.marker.color[expected.index(4)]
    assert [color == own for color in bars.marker.color] == [k == 4 for k in expected]


@pytest.mark.parametrize("attention", [DRTAM, CBAM, CoordinateAttention])
def test_every_module_has_a_figure(attention, lion_tensor):
    (layer,) = analyze(network(attention), lion_tensor).layers.values()
    figure = gates_figure(layer.trace, "the title")
    assert figure.layout.title.text == "the title"
    assert len(figure.data) >= 2


def test_a_trace_without_a_figure_is_named():
    with pytest.raises(ValueError, match="no figure for str: DRTAMTrace"):
        gates_figure("trace", "title")


def test_correlations_are_written_into_their_cells():
    figure = correlation_figure(["a", "b"], [[1.0, float("nan")], [-0.001, 1.0]], "title")
    assert figure.data[0].text == (["1.00", "–"], ["0.00", "1.00"])


def test_a_cell_of_the_map_covers_its_block_of_pixels():
    values = torch.zeros(4, 7)
    values[1, 5] = 1
    picture = np.asarray(map_picture(values, (7 * 32, 4 * 32)), int)
    brightest = np.abs(picture - TABLE[255].astype(int)).sum(2)
    row, column = np.unravel_index(brightest.argmin(), brightest.shape)
    assert (row // 32, column // 32) == (1, 5)
    far = np.abs(picture - TABLE[0].astype(int)).sum(2)
    assert (far[:, : 4 * 32] == 0).all()


def test_the_picture_interpolates_as_torch_does():
    values = torch.rand(5, 6)
    size = (60, 50)
    expected = torch.nn.functional.interpolate(values[None, None], size[::-1], mode="bilinear")
    picture = np.asarray(map_picture(values, size, (0, 1)), int)
    np.testing.assert_allclose(picture, colorize(expected[0, 0].numpy(), 0, 1), atol=3)


def test_opacity_goes_from_the_photo_to_the_map(lion):
    values = torch.rand(3, 3)
    assert overlay(lion, values, 0).tobytes() == lion.tobytes()
    assert overlay(lion, values, 1).tobytes() == map_picture(values, lion.size).tobytes()
    with pytest.raises(ValueError, match=r"opacity must be from 0 to 1, not 1\.5"):
        overlay(lion, values, 1.5)


def test_colours_go_from_dark_to_light_evenly():
    luminance = TABLE @ np.array([0.2126, 0.7152, 0.0722])
    steps = np.diff(luminance[::8])
    assert (steps > 0).all()


def test_a_constant_map_is_drawn_and_not_divided_by_zero():
    constant = torch.full((3, 4), 0.5)
    assert isinstance(map_picture(constant, (40, 30)), Image.Image)
    (panel,) = maps_figure({"A": constant}, "title", shared=False).data
    assert (panel.zmin, panel.zmax, panel.colorbar.tickvals) == (0.5, 1.5, (0.5,))


def test_short_axes_count_whole_rows_and_columns():
    layout = maps_figure({"A": torch.rand(3, 40)}, "title", shared=False).layout
    assert (layout.yaxis.dtick, layout.xaxis.dtick) == (1, None)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.00%"), (4e-5, "< 0.01%"), (0.5, "50.00%"), (0.99996, "> 99.99%"), (1.0, "100.00%")],
)
def test_nearly_none_is_not_none(share, text):
    assert percent(share) == text
