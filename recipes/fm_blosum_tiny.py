"""Flow matching through similar residues (BLOSUM62), small enough for a CPU."""

from d2plm_megatron.commandline.main import main
from d2plm_megatron.config import Recipe
from d2plm_megatron.config.recipe_files import vary


def recipe() -> Recipe:
    """Metric-induced flow matching as in fm_blosum_450m, with 1.6 million parameters, for a CPU."""
    return vary("fm_tiny", "objective=metric_flow", "objective.posterior=bayes", name="fm_blosum_tiny")


if __name__ == "__main__":
    main(recipe)
