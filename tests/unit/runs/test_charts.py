"""The trend of a curve."""

import numpy as np
from matplotlib.figure import Figure

from d2plm_megatron.runs.charts import TREND_POINTS, plot_perplexity, trend


def test_a_trend_keeps_a_level_and_flattens_noise_to_both_ends():
    assert np.allclose(trend([7.0] * 50), 7)
    noisy = np.exp(2 + np.tile([-0.5, 0.5], 100))
    smoothed = trend(noisy)
    assert len(smoothed) == 200
    assert np.abs(np.log(smoothed) - 2).max() < 0.2


def test_a_long_curve_is_drawn_strong_over_its_faint_noise_and_a_short_one_alone():
    for number, lines in ((TREND_POINTS, 2), (TREND_POINTS - 1, 1)):
        axes = Figure().subplots()
        plot_perplexity(axes, [{"kind": "train", "step": step, "perplexity": 18.0} for step in range(number)])
        assert len(axes.lines) == lines
        assert (axes.lines[0].get_alpha() < 0.5) == (lines == 2)
