import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from d2plm_megatron import config
from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.objectives import build
from d2plm_megatron.objectives.process import NegativeELBO
from d2plm_megatron.objectives.schedules import Cubic, build_schedule
from d2plm_megatron.proteins import alphabet

CONFORMANCE = Path(__file__).with_name("discrete_flow_matching.json")
NAMES = [
    "linear",
    "cosine",
    "polynomial:0.01",
    "polynomial:0.5",
    "polynomial:2",
    "polynomial:100",
    "cubic:0:2",
    "cubic:1.5:0.5",
    "cubic:0:0",
]
BY_HAND = [  # name, t, kappa, its derivative
    ("linear", 0.3, 0.3, 1.0),
    ("cosine", 1 / 3, 1 - math.sqrt(3) / 2, math.pi / 4),
    ("cosine", 2 / 3, 0.5, math.pi * math.sqrt(3) / 4),
    ("polynomial:0.5", 0.25, 0.5, 1.0),
    ("polynomial:2", 0.3, 0.09, 0.6),
    ("polynomial:3", 0.5, 0.125, 0.75),
    ("cubic:0:0", 0.25, 5 / 32, 9 / 8),
    ("cubic:0:2", 0.7, 0.49, 1.4),  # is t^2
    ("cubic:1:1", 0.7, 0.7, 1.0),  # is t
    ("cubic:3:0", 0.5, 7 / 8, 0.75),  # is 1 - (1 - t)^3
    ("cubic:0:3", 0.5, 1 / 8, 0.75),  # is t^3
]


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("name", "t", "kappa", "derivative"), BY_HAND)
def test_values_by_hand(name, t, kappa, derivative):
    schedule = build_schedule(name)
    assert schedule.kappa(double(t)).item() == pytest.approx(kappa, abs=1e-12)
    assert schedule.derivative(double(t)).item() == pytest.approx(derivative, abs=1e-12)
    assert schedule.inverse(double(kappa)).item() == pytest.approx(t, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_rises_from_0_to_1(name):
    schedule, times = build_schedule(name), torch.linspace(0, 1, 1001, dtype=torch.float64)
    kappa = schedule.kappa(times)
    assert kappa[[0, -1]].tolist() == pytest.approx([0, 1], abs=1e-15)
    assert (kappa.diff() > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_derivative_and_inverse(name):
    schedule, times = build_schedule(name), torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    step = 1e-6
    numerical = (schedule.kappa(times + step) - schedule.kappa(times - step)) / (2 * step)
    torch.testing.assert_close(schedule.derivative(times), numerical, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(schedule.inverse(schedule.kappa(times)), times, rtol=0, atol=1e-9)
    shares = torch.linspace(0, 1, 101, dtype=torch.float64)
    torch.testing.assert_close(schedule.kappa(schedule.inverse(shares)), shares, rtol=0, atol=3e-14)


slopes = st.floats(0, 3)


@given(slopes, slopes)
def test_every_cubic_with_end_slopes_up_to_3_rises(a, b):  # Fritsch and Carlson 1980
    cubic, times = Cubic(a, b), torch.linspace(0, 1, 201, dtype=torch.float64)
    kappa = cubic.kappa(times)
    assert (kappa.diff() > -1e-15).all()
    assert build_schedule(f"cubic:{a!r}:{b!r}") == cubic
    torch.testing.assert_close(cubic.derivative(times)[[0, -1]], double(a, b))
    torch.testing.assert_close(cubic.kappa(cubic.inverse(kappa)), kappa, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "name", ["cubic:-0.1:2", "cubic:1:-0.1", "cubic:6:6", "cubic:0:10", "cubic:4:1.01", "cubic:1e200:0", "cubic:0:inf"]
)
def test_cubic_that_falls_is_refused(name):
    with pytest.raises(ValueError, match=f"objective.schedule={name}: kappa must not fall"):
        build_schedule(name)


@given(st.floats(-1, 6), st.floats(-1, 6))
def test_cubics_are_refused_just_where_they_fall(a, b):
    slowest = float(Cubic(a, b).derivative(torch.linspace(0, 1, 2001, dtype=torch.float64)).min())
    if slowest > 1e-5:
        assert build_schedule(f"cubic:{a!r}:{b!r}") == Cubic(a, b)
    elif slowest < -1e-9:
        with pytest.raises(ValueError, match="must not fall"):
            build_schedule(f"cubic:{a!r}:{b!r}")


@pytest.mark.parametrize("exponent", ["0", "-1", "nan", "inf", "1e30", "1e-30", "0.0099", "100.1"])
def test_exponent_must_be_one_that_numbers_can_follow(exponent):
    with pytest.raises(ValueError, match=f"objective.schedule=polynomial:{exponent}: .* between 0.01 and 100.0"):
        build_schedule(f"polynomial:{exponent}")


@pytest.mark.parametrize(
    "name", ["", "sine", "linear:", "linear:1", "cosine:2", "polynomial", "polynomial:x", "polynomial:1:2", "cubic:1",
             "cubic:a:b", "cubic:nan:0", "cubic:1:2:3"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_its_name(name):
    with pytest.raises(ValueError, match=f"objective.schedule={name}"):
        build_schedule(name)


@pytest.mark.parametrize("exponent", ["0.5", "1.0", "2.0", "3.0"])
def test_conforms_to_an_independent_implementation(exponent):
    expected = json.loads(CONFORMANCE.read_text())[f"poly_n{exponent}"]
    schedule, times = build_schedule(f"polynomial:{exponent}"), double(*expected["t"])
    known = [value is not None for value in expected["d_alpha"]]
    derivative = [value for value in expected["d_alpha"] if value is not None]
    torch.testing.assert_close(schedule.kappa(times), double(*expected["alpha"]), rtol=0, atol=1e-9)
    torch.testing.assert_close(1 - schedule.kappa(times), double(*expected["sigma"]), rtol=0, atol=1e-9)
    torch.testing.assert_close(schedule.derivative(times)[known], double(*derivative), rtol=0, atol=1e-9)
    assert schedule.inverse(double(0.3)).item() == pytest.approx(expected["kappa_inverse_of_0p3"], abs=1e-9)


@pytest.mark.parametrize(
    ("schedule", "epsilon", "why"),
    [("odds:1:6", 1e-3, "at t = 1 - 0.001 only 1e-18 is noise"), ("odds:1:100", 1e-9, "only 0 is noise"),
     ("cubic:3:0", 1e-9, "at t = 1 - 1e-09 only 1e-27 is"), ("polynomial:0.01", 1e-9, "only 1e-11"),
     ("odds:1:0.3", 1e-3, "noise goes so late"), ("odds:0.001:0.6", 1e-3, "noise goes so late")],
)  # fmt: skip
@pytest.mark.parametrize("options", [config.FlowMatching, config.MetricFlow])
def test_schedules_whose_ends_numbers_cannot_tell_are_refused(options, schedule, epsilon, why):
    with pytest.raises(ValueError, match=rf"^objective.schedule={schedule}: .*{why}"):
        options(schedule=schedule, time_epsilon=epsilon)
    options(schedule="odds:1:3", time_epsilon=1e-3)  # 1e-9 of noise


@settings(max_examples=25)
@given(
    st.one_of(
        st.sampled_from(["linear", "cosine"]),
        st.floats(0.01, 100).map("polynomial:{!r}".format),
        st.tuples(st.floats(0, 3), st.floats(0, 3)).map(lambda ab: "cubic:{!r}:{!r}".format(*ab)),
        st.tuples(st.floats(1e-3, 1e3), st.floats(0.01, 100)).map(lambda ca: "odds:{!r}:{!r}".format(*ca)),
    ),
    st.sampled_from([1e-9, 1e-6, 1e-3, 0.5]),
    st.booleans(),
)
def test_every_schedule_that_is_accepted_has_numbers_at_both_ends(pack_of, schedule, epsilon, bayes):
    """Losses, their gradients and the reported bounds, at the first and the last times that are drawn."""
    posterior = "bayes" if bayes else "direct"
    try:
        config.FlowMatching(schedule=schedule, time_epsilon=epsilon)
    except ValueError:
        assume(False)
    common = {"schedule": schedule, "time_epsilon": epsilon}
    pack, seen = pack_of("LAGV"), pack_of("LLGW").tokens_T
    for options in (
        config.FlowMatching(loss="generalised_kl", **common),
        config.FlowMatching(source="uniform", loss="generalised_kl", posterior=posterior, **common),
        config.MetricFlow(loss="elbo", posterior=posterior, **common),
    ):
        trained = build(options)
        for measure in (trained, NegativeELBO(trained.path.for_likelihood())):
            for even in (2.0**-40, 0.5, 1 - 2.0**-40):
                times_S = measure.path.times(pack, SimpleNamespace(stratified=lambda *keys, u=even: double(u)))
                tokens_T = torch.full_like(seen, alphabet.MASK) if measure.path.has_masks else seen
                noisy = NoisyBatch(clean=pack, tokens_T=tokens_T, times_S=times_S, predicted_T=pack.scored_T)
                logits_TV = torch.zeros(4, alphabet.SIZE, requires_grad=True)
                terms = measure.loss(logits_TV, noisy)
                assert torch.isfinite(terms.total) and torch.isfinite(terms.metrics["nll"][0])
                if terms.total.requires_grad:
                    terms.total.backward()
                    assert torch.isfinite(logits_TV.grad).all()
