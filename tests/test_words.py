"""What is said of maps and charts to who cannot see them."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from viz.correlation import correlation_figure
from viz.maps import maps_figure
from viz.text import plain
from viz.words import PLACES, describe, extremes


@pytest.mark.parametrize("size", [(3, 3), (7, 7), (12, 5), (56, 30)])
def test_the_nine_places_are_told_apart(size):
    for i, row in enumerate(((0, 0), (0.5, 1), (1, 2))):
        for j, column in enumerate(((0, 0), (0.5, 1), (1, 2))):
            values = np.zeros(size)
            at = round(row[0] * (size[0] - 1)), round(column[0] * (size[1] - 1))
            values[at] = 1
            assert extremes(values).startswith(f"highest {PLACES[i][j]}, lowest "), at


def test_a_map_is_uniform_by_its_range_relative_to_its_values():
    ramp = np.linspace(0, 1, 49).reshape(7, 7)
    assert extremes(ramp) == "highest in the lower right, lowest in the upper left"
    assert extremes(100 + ramp).startswith("nearly uniform, highest in the lower right")
    assert extremes(ramp * 1e-6).startswith("highest")
    assert extremes(-100 - ramp).startswith("nearly uniform, highest in the upper left")
    assert extremes(np.full((3, 4), 0.25)) == "the same everywhere"
    assert extremes(np.full((3, 4), np.nan)) == "the same everywhere"


def test_a_chart_of_maps_names_each_and_where_it_is_high():
    maps = {"A": torch.tensor([[0.0, 0.5], [0.25, 0.0]]), "B": torch.tensor([[2.0, 1.0]])}
    said = describe(maps_figure(maps, "Maps<br><sup>two</sup>", shared=False))
    assert said == (
        "Maps two. A: 2 rows, 2 columns, from 0 to 0.5, highest in the upper right, lowest in the "
        "upper left; B: 1 rows, 2 columns, from 1 to 2, highest at the left, lowest at the right."
    )


def test_a_matrix_is_read_out_pair_by_pair():
    figure = correlation_figure(["a", "b"], [[1.0, float("nan")], [float("nan"), 1.0]], "Alike")
    assert (
        figure.layout.meta["description"] == "Alike; –: a map is the same everywhere. a and b –."
    )


def test_names_are_read_out_as_they_are_seen():
    title = plain("__background__")
    bars = go.Bar(y=[f"{title} "], x=[0.5], orientation="h", text=["50 %"])
    assert describe(go.Figure(bars)).endswith("__background__ 50 %.")
    many = go.Bar(y=[title] * 20, x=[0.5] * 20, orientation="h")
    assert describe(go.Figure(many)).endswith("the largest at __background__.")
