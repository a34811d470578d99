"""What `d2plm evaluate` wrote, of one model or of several, as values: read once, and checked."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_PERPLEXITY, _ERROR = "perplexity", "perplexity_error"
_EVALUATED = {
    *("step", "draws", "proteins", "residues", "likelihoods", "unigram_perplexity"),
    *("machine", "versions", "date"),
}
_PICTURES = ("by_noise", "calibration", "by_length", "by_residue")
_DIFFERENCE = {"model", "to", "nats_per_residue", "standard_error", "interval", "share_better", "verdict"}


class Number(NamedTuple):
    """A number with its standard error, None where that is not known."""

    value: float
    error: float | None


@dataclass(frozen=True)
class Evaluation:
    """One model on held-out proteins.

    Attributes:
        numbers: all that was written.
    """

    numbers: dict[str, Any]

    @property
    def perplexities(self) -> dict[str, Number]:
        """By the names of the likelihoods, "elbo" among them, and the pseudo-perplexity, where it was asked for."""
        pseudo = self.numbers.get("pseudo")
        found = {**self.numbers["likelihoods"], **({"pseudo": pseudo} if pseudo else {})}
        return {name: _number(one) for name, one in found.items()}

    @property
    def elbo(self) -> Number:
        """The perplexity that can be compared with that of any other model."""
        return self.perplexities["elbo"]

    @property
    def floors(self) -> dict[str, Number]:
        """Perplexities of n-grams of the training proteins, by name; none where they could not be fitted."""
        return {name: _number(one) for name, one in (self.numbers.get("floors") or {}).items()}

    @property
    def best_floor(self) -> tuple[str, Number] | None:
        """The lowest of them, with its name."""
        return min(self.floors.items(), key=lambda item: item[1].value, default=None)

    @property
    def to_best_floor(self) -> tuple[str, Number, tuple[float, float]] | None:
        """Its name, and nats per residue of the model less it, protein by protein, with the 95% interval."""
        found = self.numbers.get("to_best_floor")
        if not found or not found.get("interval"):
            return None
        low, high = found["interval"]
        return found["floor"], Number(found["nats_per_residue"], found["standard_error"]), (low, high)

    @property
    def unigram(self) -> float:
        """Perplexity of a model that knows only how common each residue is among the held-out proteins."""
        return float(self.numbers["unigram_perplexity"])

    @property
    def has_pictures(self) -> bool:
        """Whether there is what the pictures need; evaluations of long ago lack it."""
        return all(self.numbers.get(name) for name in _PICTURES)


@dataclass(frozen=True)
class Comparison:
    """Several models on the same proteins with the same noise.

    Attributes:
        models: each with its name.
        differences: of each further one to the first, as JSON.
    """

    models: tuple[tuple[str, Evaluation], ...]
    differences: tuple[dict[str, Any], ...]


def read_json(path: Path) -> Any:
    """What a JSON file holds; ValueError where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: {error}") from None


def read_evaluation(path: Path) -> Evaluation:
    """The JSON of one model; ValueError when it is something else."""
    found = read_json(path)
    if not _is_evaluation(found):
        raise ValueError(
            f"{path}: not an evaluation: it lacks likelihoods, elbo among them, or one of "
            f"{', '.join(sorted(_EVALUATED))}"
        )
    return Evaluation(found)


def is_comparison(found: Any) -> bool:
    """Whether this is what `d2plm evaluate A B` writes."""
    return (
        isinstance(found, dict)
        and isinstance(models := found.get("models"), list)
        and isinstance(differences := found.get("differences"), list)
        and len(models) == len(differences) + 1
        and all(_is_evaluation(one) and isinstance(one.get("model"), str) for one in models)
        and all(isinstance(one, dict) and one.keys() >= _DIFFERENCE for one in differences)
    )


def comparison_of(found: dict[str, Any]) -> Comparison:
    """Of JSON for which is_comparison holds."""
    models = tuple((one["model"], Evaluation(one)) for one in found["models"])
    return Comparison(models, tuple(found["differences"]))


def _is_evaluation(found: Any) -> bool:
    return isinstance(found, dict) and found.keys() >= _EVALUATED and _has_perplexities(found["likelihoods"])


def _has_perplexities(likelihoods: Any) -> bool:
    return (
        isinstance(likelihoods, dict)
        and "elbo" in likelihoods
        and all(isinstance(one, dict) and one.keys() >= {_PERPLEXITY, _ERROR} for one in likelihoods.values())
    )


def _number(found: dict[str, Any]) -> Number:
    """A perplexity with its error; what is no number in JSON is beyond all numbers."""
    value = found[_PERPLEXITY]
    return Number(math.inf if value is None else float(value), found[_ERROR])
