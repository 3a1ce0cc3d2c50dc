"""Several visitors at once."""

from __future__ import annotations

import numpy as np
from visitor import apart

from experiments.load import EXAMPLE, crowd, own_photo, strangers


def test_visitors_at_once_meet_no_error_and_see_their_own_photos_alone(url):
    found = apart(crowd(url, visitors=4, seconds=15, stay=30, rest=0.2))
    assert found.errors == []
    assert found.foreign == 0
    assert found.checked > found.visits == 4
    assert {"open the page", "upload"} <= found.seconds.keys()
    assert max(found.behind) > 0  # they did wait for one another


def test_a_strangers_photo_would_be_noticed():
    (_, mine), (_, another) = own_photo(), (b"", np.array([300.0, 300.0, 300.0]))
    assert strangers([mine, EXAMPLE], [EXAMPLE, mine]) == 0
    assert strangers([mine, another], [EXAMPLE, mine]) == 1
