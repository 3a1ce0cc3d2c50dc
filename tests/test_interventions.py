"""Interventions against modules edited by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from edited import MASK, edited, flat_ca, flat_cbam, flat_factor, naive_drtam, same, small, zero
from torch import Tensor, nn

from drtam import attention_layers
from drtam.explain import (
    ExactResidual,
    Flat,
    MapRegion,
    Off,
    PhotoRegion,
    ablate,
    analyze,
    channel_effects,
    intervening,
    layer_effects,
)
from drtam.explain.recording import recording


@pytest.fixture(scope="module", params=["drtam", "cbam", "ca"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    return small(request.param)


@pytest.fixture(scope="module")
def drtam() -> nn.Module:
    return small("drtam")


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return torch.randn(2, 3, 75, 54, generator=torch.manual_seed(5)).double()


def assert_logits(found: Tensor, model: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(found, model(x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "initial", "complement", "exact"),
    [
        ([Off("complement")], same, zero, False),
        ([Off("initial")], zero, same, False),
        ([Off("initial"), Off("complement")], zero, zero, False),
        ([ExactResidual()], same, same, True),
        *[([Flat(f, "initial")], flat_factor(f), same, False) for f in ("c", "h", "w")],
        *[([Flat(f, "complement")], same, flat_factor(f), False) for f in ("c", "h", "w")],
        ([Flat("h")], flat_factor("h"), flat_factor("h"), False),
        ([ExactResidual(), Flat("c", "initial")], flat_factor("c"), same, True),
        ([Flat("w", "initial"), Off("complement")], flat_factor("w"), zero, False),
    ],
)
@pytest.mark.parametrize("layers", [None, ("0", "2")])
def test_drtam_computes_what_the_edited_equations_do(
    drtam, photo, changes, initial, complement, exact, layers
):
    changes = [type(c)(**{**vars(c), "layers": layers}) for c in changes]
    hand = edited(
        drtam, lambda m: naive_drtam(m, initial, complement, exact=exact), *(layers or ())
    )
    found = ablate(drtam, photo, changes)
    assert_logits(found.after.logits, hand, photo)
    assert_logits(found.before.logits, drtam, photo)
    assert not torch.allclose(found.after.logits, found.before.logits, rtol=1e-4)


def test_cbams_spatial_gate_sees_the_flat_channel_gate(photo):
    model = small("cbam")
    found = ablate(model, photo, [Flat("c")])
    assert_logits(found.after.logits, edited(model, flat_cbam), photo)


@pytest.mark.parametrize("factor", ["h", "w"])
def test_coordinate_attentions_gate_is_flat_in_every_channel(photo, factor):
    model = small("ca")
    found = ablate(model, photo, [Flat(factor)])
    assert_logits(found.after.logits, edited(model, lambda m: flat_ca(m, factor)), photo)


@pytest.mark.parametrize("layers", [None, ("1", "2")])
def test_without_attention_a_layer_passes_its_input_on(network, photo, layers):
    hand = edited(network, lambda _: nn.Identity().forward, *(layers or ()))
    found = ablate(network, photo, [Off(layers=layers)])
    assert_logits(found.after.logits, hand, photo)
    for name in layers or attention_layers(network):
        assert (found.after.layers[name].trace.attention() == 1).all()
        assert (found.after.layers[name].trace.spatial() == 1).all()


@pytest.mark.parametrize("gain", [0.0, 0.5, 2.0])
def test_a_painted_region_multiplies_the_map(network, photo, gain):
    def by_hand(module: nn.Module) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            share = nn.functional.adaptive_avg_pool2d(MASK[None].double(), x.shape[2:])
            times = share * gain + (1 - share)
            return type(module).trace(module, x).attention() * times * x

        return forward

    names = ("0", "1")
    found = ablate(network, photo, [MapRegion(MASK, gain, names)])
    assert_logits(found.after.logits, edited(network, by_hand, *names), photo)
    trace = found.after.layers["0"].trace
    torch.testing.assert_close(trace.attention().mean(1), trace.spatial())
    assert trace.spatial().amax() <= max(gain, 1)


def test_a_painted_region_of_the_photo_moves_its_pixels_to_and_from_the_mean(drtam, photo):
    mask = torch.zeros(75, 54)
    mask[10:30, 20:] = 1
    for gain in (0.0, 2.0):
        expected = photo.clone()
        for b in range(2):
            for k in range(3):
                mean = photo[b, k].mean()
                moved = mean + gain * (photo[b, k, 10:30, 20:] - mean)
                expected[b, k, 10:30, 20:] = moved
        found = ablate(drtam, photo, [PhotoRegion(mask, gain)])
        assert_logits(found.after.logits, drtam, expected)
    assert ablate(drtam, photo, [PhotoRegion(mask, 1.0)]).change.abs().max() < 1e-9


def test_interventions_of_different_layers_and_of_the_photo_combine(drtam, photo):
    hand = copy.deepcopy(drtam)
    modules = attention_layers(hand)
    modules["0"].forward = naive_drtam(modules["0"], same, zero, exact=False)
    modules["1"].forward = nn.Identity().forward
    modules["2"].forward = naive_drtam(modules["2"], flat_factor("c"), same, exact=True)
    painted = PhotoRegion(torch.ones(1, 1), 0.5)
    changes = [
        painted,
        Off("complement", ("0",)),
        Off(layers=("1",)),
        ExactResidual(("2",)),
        Flat("c", "initial", ("2",)),
    ]
    mean = photo.mean((2, 3), keepdim=True)
    assert_logits(ablate(drtam, photo, changes).after.logits, hand, (photo + mean) / 2)


def test_the_change_is_that_of_the_targets_log_probability(drtam, photo):
    found = ablate(drtam, photo, [Off("complement")], torch.tensor([4, 7]))
    for b, target in enumerate((4, 7)):
        before = found.before.logits[b].log_softmax(0)[target]
        after = found.after.logits[b].log_softmax(0)[target]
        assert float(found.change[b]) == pytest.approx(float(after - before), rel=1e-4)
    default = ablate(drtam, photo, [Off("complement")])
    assert torch.equal(default.before.target, default.before.logits.argmax(1))
    assert torch.equal(default.after.target, default.before.target)


def test_a_layers_effect_is_that_of_changing_it_alone(network, photo):
    found = layer_effects(network, photo, [Off(layers=("0",))], 2)
    assert list(found) == list(attention_layers(network))
    for name, effect in found.items():
        torch.testing.assert_close(effect, ablate(network, photo, [Off(layers=(name,))], 2).change)
    some = layer_effects(network, photo, [Off()], 2, layers=iter(["2"]))
    assert list(some) == ["2"]


def test_a_channels_effect_is_that_of_changing_it_alone(network, photo):
    found = channel_effects(network, photo, "1", [Off()], 2, count=5)
    module = attention_layers(network)["1"]
    with torch.no_grad():
        before = network(photo).log_softmax(1)[:, 2]
    for b in range(2):
        for channel, effect in zip(found.channels[b], found.measured[b], strict=True):

            def by_hand(
                x: Tensor, *, channel: Tensor = channel, module: nn.Module = module
            ) -> Tensor:
                attention = type(module).trace(module, x).attention()
                attention[:, channel] = 1
                return x * attention

            with torch.no_grad():
                after = edited(network, lambda _, f=by_hand: f, "1")(photo)
            expected = after.log_softmax(1)[b, 2] - before[b]
            torch.testing.assert_close(effect, expected, rtol=1e-4, atol=1e-9)
    sizes = found.measured.abs()
    assert (sizes[:, :-1] >= sizes[:, 1:]).all()
    assert set(found.channels[0].tolist()) == set(found.estimate[0].abs().topk(5).indices.tolist())


def test_the_estimate_is_the_effect_of_a_small_change(drtam, photo):
    gentle = [MapRegion(torch.ones(1, 1), 0.999)]
    count = 12
    found = channel_effects(drtam, photo, "1", gentle, 2, count=count)
    estimated = found.estimate.gather(1, found.channels)
    assert found.channels.shape == (2, count)
    assert torch.dist(found.measured, estimated) < 0.01 * found.measured.norm()


def test_the_modules_are_as_they_were_also_after_an_exception(drtam, photo):
    module = attention_layers(drtam)["0"]
    with torch.no_grad():
        before = drtam(photo)
    own = module.trace
    module.trace = own  # an instance's own must survive
    try:
        with pytest.raises(ZeroDivisionError), intervening(drtam, [Off()]):  # noqa: PT012
            assert (module(torch.rand(1, 16, 5, 5).double()) > 0).all()
            assert module.trace != own
            raise ZeroDivisionError
        assert module.trace == own
    finally:
        del module.trace
    assert not any("trace" in vars(m) or "forward" in vars(m) for m in drtam.modules())
    with torch.no_grad():
        assert torch.equal(drtam(photo), before)


def test_interventions_and_recording_nest_either_way(drtam, photo):
    with torch.no_grad():
        with intervening(drtam, [Off()]), recording(drtam) as inside:
            first = drtam(photo)
        with recording(drtam) as outside, intervening(drtam, [Off()]):
            second = drtam(photo)
    assert torch.equal(first, second)
    for records in (inside, outside):
        assert all((r.trace.attention() == 1).all() for r in records.values())
    assert analyze(drtam, photo).layers["0"].residual is not None


def test_weights_modes_and_gradients_are_left_alone(network, photo):
    network.train()
    state = copy.deepcopy(network.state_dict())
    with torch.inference_mode():
        ablate(network, photo, [Off()])
        layer_effects(network, photo, [Off()], layers=["0"])
        channel_effects(network, photo, "0", [Off()], count=1)
    assert all(module.training for module in network.modules())
    network.eval()
    assert all(p.grad is None for p in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize(
    ("attention", "change", "says"),
    [
        ("cbam", Off("initial"), r"Off\(map='initial'\) makes no sense in 0, a CBAM"),
        ("cbam", Flat("h"), r"makes no sense in 0, a CBAM"),
        ("cbam", Flat("c", "initial"), "makes no sense"),
        ("ca", Flat("c"), "makes no sense in 0, a CoordinateAttention"),
        ("ca", ExactResidual(("1",)), "makes no sense in 1, a Coord"),
        ("drtam", Off(layers=("layer9",)), "layers must be among 0, 1, 2, not 'layer9'"),
    ],
)
def test_what_makes_no_sense_is_refused(attention, change, says, photo):
    model = small(attention)
    with pytest.raises(ValueError, match=says):
        ablate(model, photo, [change])
    with pytest.raises(ValueError, match="makes no sense in model, a Flatten"):
        layer_effects(nn.Flatten(), photo, [Off()])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Off("all"), "map must be one of attention, initial, complement, not 'all'"),
        (lambda: Flat("x"), "factor must be one of c, h, w, not 'x'"),
        (lambda: Flat("c", "combined"), "map must be one of both"),
        (lambda: MapRegion(torch.ones(3)), r"mask must be \(h, w\)"),
        (lambda: MapRegion(torch.ones(0, 3)), "at least 1 by 1"),
        (lambda: MapRegion(torch.full((2, 2), float("nan"))), "mask must be from 0"),
        (lambda: PhotoRegion(torch.ones(2, 2), -1), "gain must be a number from 0 up, not -1"),
        (lambda: PhotoRegion(torch.ones(2, 2), float("inf")), "gain must be"),
    ],
)
def test_an_intervention_out_of_range_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
