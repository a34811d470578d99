"""What decides which proteins a run sees, and as what: a run that continues must find the same, or be told to go on.

A fingerprint is part of every checkpoint. Its keys are those of the recipe.
"""

from typing import Any

from d2plm_megatron.config import OBJECTIVES, Recipe
from d2plm_megatron.data.corpus import Corpus
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.stream import PackStream

TRAIN, VALIDATION, OBJECTIVE = "data.train", "data.validation", "objective"


def fingerprint(recipe: Recipe, stream: PackStream, validation: IndexedProteins | None) -> dict[str, Any]:
    """Of a run, for JSON: the contents of its data and not where they lie, what orders them, and the objective."""
    return {
        TRAIN: [_corpus(corpus) for corpus in stream.corpora],
        VALIDATION: validation and validation.identity(),
        OBJECTIVE: dict(vars(recipe.objective)),
        "data.max_length_residues": recipe.data.max_length_residues,
        "data.tokens_per_pack": recipe.data.tokens_per_pack,
        "data.window_proteins": recipe.data.window_proteins,
        "train.seed": recipe.train.seed,
    }


def changes(then: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """What differs between two fingerprints, in words, by key. Options that came later had their defaults then."""
    if isinstance(objective := then.get(OBJECTIVE), dict) and objective.get("name") in OBJECTIVES:
        then = {**then, OBJECTIVE: {**vars(OBJECTIVES[objective["name"]]()), **objective}}
    return {key: _words(key, then.get(key), value) for key, value in now.items() if not _same(then.get(key), value)}


def _corpus(corpus: Corpus) -> dict[str, Any]:
    clusters = corpus.clusters and corpus.clusters.identity()
    return {"share": str(corpus.share), **corpus.proteins.identity(), "clusters": clusters}


def _same(then: Any, now: Any) -> bool:
    """Whether two identities are of the same data: by their samples and, where both have one, their checksums."""
    if isinstance(then, list) and isinstance(now, list):
        return len(then) == len(now) and all(map(_same, then, now))
    if not (isinstance(then, dict) and isinstance(now, dict)):
        return bool(then == now)
    unknown = () if then.get("checksum") and now.get("checksum") else ("checksum",)
    return all(_same(then.get(name), value) for name, value in now.items() if name not in unknown)


def _words(key: str, then: Any, now: Any) -> str:
    if key == OBJECTIVE and isinstance(then, dict):
        differing = [name for name in now if then.get(name) != now[name]]
        return ", ".join(f"{name} was {then.get(name)} and is {now[name]}" for name in differing)
    if key == TRAIN and isinstance(then, list):
        return _words_of_corpora(then, now)
    return "other proteins" if key == VALIDATION else f"was {then} and is {now}"


def _words_of_corpora(then: list[Any], now: list[Any]) -> str:
    if len(then) != len(now):
        return f"{len(then)} corpora then, {len(now)} now"
    before, after = next(pair for pair in zip(then, now, strict=True) if not _same(*pair))
    for name in ("proteins", "residues", "share"):
        if before.get(name) != after[name]:
            return f"{before.get(name)} {name} then, {after[name]} now"
    return "other clusters" if _same({**before, "clusters": None}, {**after, "clusters": None}) else "other proteins"
