"""Networks that keep no activations, or let no gradient through."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from drtam import DRTAM
from drtam.explain import Off, analyze, channel_effects


class Segmented(nn.Module):
    """A network that runs its backbone in one piece, as ``run`` does it."""

    def __init__(self, run: Callable[..., Tensor]) -> None:
        super().__init__()
        self.run = run
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), DRTAM(8), nn.Tanh())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.run(self.body, x)
        return {"logits": self.head(features.mean((2, 3))), "features": features}


def test_checkpointed_activations_are_explained_as_others(lion_tensor):
    network = Segmented(lambda body, x: body(x))
    wanted = analyze(network, lion_tensor, target=3)
    network.run = partial(checkpoint, use_reentrant=False)
    found = analyze(network, lion_tensor, target=3)
    assert found.logits.shape == (1, 5)  # not the features
    assert list(found.layers) == list(wanted.layers) == ["body"]
    assert wanted.layers["body"].gradcam.max() > 0
    torch.testing.assert_close(found.layers["body"].gradcam, wanted.layers["body"].gradcam)
    effects = channel_effects(network, lion_tensor, "body", [Off()], 3, count=2)
    network.run = lambda body, x: body(x)
    expected = channel_effects(network, lion_tensor, "body", [Off()], 3, count=2)
    torch.testing.assert_close(effects.estimate, expected.estimate)


@pytest.mark.parametrize(
    "run", [partial(checkpoint, use_reentrant=True), torch.no_grad()(lambda body, x: body(x))]
)
def test_where_no_gradient_comes_there_is_no_gradcam_of_zeros(run, lion_tensor):
    with pytest.raises(ValueError, match=r"runs body without gradients, which Grad-CAM needs"):
        analyze(Segmented(run), lion_tensor)
