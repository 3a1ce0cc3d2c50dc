"""Networks that do things of their own are explained as they are, or refused in a sentence."""

from __future__ import annotations

import oracle
import pytest
import torch
from test_algebra_figure import check_rtam, traced
from test_oracle import alive, feature
from torch import nn
from torch.nn.utils import prune

from drtam import DRTAM
from drtam.explain import (
    Off,
    ablate,
    analyze,
    arrays,
    channel_effects,
    drtam_steps,
    faithfulness,
    of_image,
)
from drtam.explain.faithfulness_stability import shuffled


class Merging(nn.Linear):
    """Does something of its own when the mode changes, as low-rank adapters do."""

    merged = False

    def train(self, mode: bool = True) -> Merging:
        self.merged = not mode
        return super().train(mode)


def test_a_network_that_acts_on_its_mode_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), DRTAM(4), nn.Flatten(), Merging(4 * 49, 2))
    model[0].eval()
    analyze(model, torch.rand(1, 3, 9, 9))
    assert [module.training for module in model] == [False, True, True, True]
    assert not model[3].merged


class Half(DRTAM):
    """Lets half of X pass by its attention, as a subclass of somebody's may."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + super().forward(x)) / 2


def test_what_a_subclass_adds_to_its_forward_is_part_of_the_network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), Half(8), nn.Conv2d(8, 4, 1)).eval()
    image = torch.rand(2, 3, 9, 9)
    found = analyze(model, image)
    torch.testing.assert_close(found.logits, model(image).mean((2, 3)).detach())
    torch.testing.assert_close(
        found.layers["1"].trace.output, model[1].trace(model[0](image)).output
    )


@pytest.mark.parametrize("how", ["wrapped", "in place"])
def test_a_compiled_network_is_explained_as_it_was_written(how):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), DRTAM(8), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    image = torch.rand(2, 3, 9, 9)
    expected = analyze(model, image)
    effects = channel_effects(model, image, "1", [Off()], count=3)
    compiled = torch.compile(model, backend="aot_eager") if how == "wrapped" else model
    if how == "in place":
        model.compile(backend="aot_eager")
    compiled(image)  # compiled without anything that looks into it
    found = analyze(compiled, image)
    ((name, layer),) = expected.layers.items()
    assert layer.gradcam.any()
    torch.testing.assert_close(found.layers[name].gradcam, layer.gradcam)
    again = channel_effects(compiled, image, name, [Off()], count=3)
    assert again.measured.any()
    torch.testing.assert_close(again.measured, effects.measured)
    torch.testing.assert_close(again.estimate, effects.estimate)


class Views(nn.Module):
    """Looks at each image as it is and mirrored."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = DRTAM(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = self.gate(torch.cat((x, x.flip(3)))).mean((2, 3))
        return torch.stack(both.chunk(2)).mean(0)


def test_of_several_views_of_an_image_none_is_taken_for_the_image():
    found = analyze(Views(), torch.rand(2, 3, 9, 9))
    assert found.logits.shape == (2, 3)
    assert found.layers["gate"].gradcam.shape == (4, 9, 9)
    with pytest.raises(ValueError, match="one has 4 maps for 2 images: which of them"):
        of_image(found.compact(), 0)
    with pytest.raises(ValueError, match="analysis must be of one image, but holds 2: of_image"):
        arrays(analyze(Views(), torch.rand(3, 9, 9)))
    with pytest.raises(ValueError, match="analysis must be of one image, but holds 2: of_image"):
        arrays(analyze(nn.Sequential(DRTAM(3)), torch.rand(2, 3, 9, 9)))


class Detached(nn.Module):
    """Lets no gradient back from its head."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.head = DRTAM(3), nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.gate(x).mean((2, 3)).detach())


@pytest.mark.parametrize(
    "explain",
    [
        analyze,
        lambda m, x: channel_effects(m, x, "gate", [Off()]),
        lambda m, x: faithfulness(m, x[:1], "gate", steps=2, draws=1),
    ],
)
def test_a_network_that_lets_no_gradient_back_is_refused(explain):
    with pytest.raises(ValueError, match=r"no gradient of the class scores reaches the attention"):
        explain(Detached(), torch.rand(2, 3, 9, 9))


def test_a_clip_is_no_image():
    for explain in (analyze, lambda m, x: ablate(m, x, [Off()])):
        with pytest.raises(ValueError, match=r"image must be .*, not \(1, 2, 3, 9, 9\)"):
            explain(nn.Sequential(DRTAM(3)), torch.rand(1, 2, 3, 9, 9))


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@pytest.mark.parametrize(
    "make_computed",
    [
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        nn.utils.weight_norm,
        nn.utils.parametrizations.weight_norm,
    ],
)
def test_computed_weights_are_copied(make_computed):
    module = alive(DRTAM(8, r=2), 0)
    for half in (module.initial, module.complement):
        for name in ("channel", "row", "column"):
            make_computed(half.get_submodule(name))
    make_computed(module.initial.mlp[0])
    trace = traced(module, (8, 5, 5))
    steps = drtam_steps(module, trace)
    for axis in ("c", "h", "w"):
        torch.testing.assert_close(
            getattr(steps.initial, axis).factor, getattr(trace.initial, axis)
        )
    check_rtam(steps.complement, oracle.RTAM.read(module.complement), trace.residual)
    other = shuffled(module, 0)
    assert not torch.equal(other.trace(feature((8, 5, 5), 0)).output, trace.output)
