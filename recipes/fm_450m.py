"""Discrete flow matching from masks, 441 million parameters: the schedule t^2 and the loss of arXiv:2407.15595."""

from dataclasses import replace

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import MODEL_SIZES, FlowMatching, Recipe
from recipes import absorbing_450m


def recipe() -> Recipe:
    """Discrete flow matching from masks, 441 million parameters (24 layers of width 1024, time-conditioned)."""
    return replace(
        absorbing_450m.recipe(),
        name="fm_450m",
        model=MODEL_SIZES["450m_time"],
        objective=FlowMatching(source="mask", loss="cross_entropy", schedule="polynomial:2"),
    )


if __name__ == "__main__":
    main(recipe)
