import pytest

from d2plm_megatron.config import MODEL_SIZES
from d2plm_megatron.config.budget import MASKED_LM, caveat, compute_optimal_tokens, seconds_for
from d2plm_megatron.config.hardware import gpu


@pytest.mark.parametrize("operations", [1e18, 1e20, 1e22])
def test_the_law_spends_all_operations(operations):
    """N and D were fitted apart; together they must come to C = 6 N D, within the errors of fits."""
    law = MASKED_LM
    num_parameters, tokens = law.a * operations**law.p, law.b * operations**law.q
    assert 6 * num_parameters * tokens == pytest.approx(operations, rel=0.05)
    assert law.tokens(num_parameters) == pytest.approx(tokens)


def test_ten_times_the_operations_buy_what_the_abstract_says():
    """For MLM a model six times as large, on 70% more tokens."""
    assert 10**MASKED_LM.p == pytest.approx(6, abs=0.05)
    assert 10**MASKED_LM.q == pytest.approx(1.7, abs=0.005)
    ratio = compute_optimal_tokens(6_000_000_000, "mlm") / compute_optimal_tokens(1_000_000_000, "mlm")
    assert ratio == pytest.approx(1.7, abs=0.01)


def test_what_the_law_does_not_cover_is_said():
    assert caveat(650_000_000, "mlm") == ""
    assert caveat(650_000_000, "absorbing") == "extrapolated to absorbing"
    assert caveat(15_000_000_000, "mlm") == "outside of the 3.5 M to 10.7 B parameters of the fit"
    assert compute_optimal_tokens(650_000_000, "absorbing") == compute_optimal_tokens(650_000_000, "mlm")


def test_seconds_are_operations_over_what_the_gpus_reach():
    model = MODEL_SIZES["esm2_650m"]
    seconds = seconds_for(1e9, model, length=300, gpu=gpu("H100"), num_gpus=8, mfu=0.4)
    assert seconds == pytest.approx(6 * 651e6 * 1e9 / (8 * 0.4 * 989e12), rel=0.05)
    assert seconds_for(1e9, model, 300, gpu("H100"), 16, 0.4) == pytest.approx(seconds / 2)
    assert seconds_for(1e9, model, 300, gpu("H100"), 8, 0.4, "fp32") == pytest.approx(seconds * 989 / 67)
