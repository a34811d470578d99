"""Writes docs/recipes.md: a row per recipe, read from the recipes. `python docs/recipes.py`; a test compares."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.recipe_files import build, load, shipped
from d2plm_megatron.config.sizing import num_parameters

PAGE = Path(__file__).parent / "recipes.md"
HEAD = """# Recipes

Written by `python docs/recipes.py` from the recipes. Learning rates rise along a line in the warm-up and fall to the
given share of the highest; AdamW's betas and weight decay stand beside them. Tokens are those of a step over all
processes.

"""
OBJECTIVE_OPTIONS = ("source", "distance", "power", "loss", "weight", "schedule", "posterior", "mask_probability")


def page() -> str:
    """The page as it should be."""
    recipes = sorted((build(load(path)) for path in shipped()), key=_place)
    rows = [list(COLUMNS), ["---"] * len(COLUMNS), *([cell(recipe) for cell in COLUMNS.values()] for recipe in recipes)]
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _place(recipe: Recipe) -> tuple[str, int]:
    """Recipes of a kind stand together, the smallest first."""
    return recipe.name.rpartition("_")[0] or recipe.name, num_parameters(recipe.model)


def _encoder(recipe: Recipe) -> str:
    model = recipe.model
    conditioned = ", adaLN-zero" if model.time_conditioning else ""
    return f"{model.num_layers} x {model.hidden_size} x {model.num_attention_heads}{conditioned}"


def _objective(recipe: Recipe) -> str:
    names = [item.name for item in fields(recipe.objective) if item.name in OBJECTIVE_OPTIONS]
    return f"{recipe.objective.name}: {', '.join(f'{name} {getattr(recipe.objective, name)}' for name in names)}"


def _optimizer(recipe: Recipe) -> str:
    options = recipe.optimizer
    return f"{options.beta1:g}, {options.beta2:g}, {options.weight_decay:g}"


def _learning_rate(recipe: Recipe) -> str:
    options = recipe.optimizer
    end = f" at {_steps(options.decay_steps)}" if options.decay_steps is not None else ""
    return (
        f"{options.lr:.2g}, warm-up {_steps(options.warmup_steps)}, {options.schedule} to {options.min_lr_ratio:g}{end}"
    )


def _steps(steps: float) -> str:
    return f"{steps:.0%}" if 0 < steps < 1 else f"{steps:,}"


def _length(recipe: Recipe) -> str:
    every, patience = recipe.validation.every_steps, recipe.validation.patience
    return f"{recipe.train.max_steps:,}" + (f", patience {patience} x {every}" if patience else "")


def _layout(recipe: Recipe) -> str:
    parallel = recipe.parallel
    split = {"tensor": parallel.tensor, "pipeline": parallel.pipeline}
    words = [f"{name} {size}" for name, size in split.items() if size > 1] + ["sequence"] * parallel.sequence
    return ", ".join([*words, f"sharding {parallel.sharding}"])


COLUMNS: dict[str, Callable[[Recipe], str]] = {
    "recipe": lambda recipe: f"`{recipe.name}`",
    "parameters": lambda recipe: f"{num_parameters(recipe.model):,}",
    "layers x width x heads": _encoder,
    "objective": _objective,
    "learning rate": _learning_rate,
    "betas, decay": _optimizer,
    "tokens": lambda recipe: f"{recipe.train.global_batch_tokens:,}",
    "steps": _length,
    "EMA": lambda recipe: f"{recipe.ema.decay:g}",
    "layout": _layout,
}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
