"""Effects of mutations against what the model says when it is asked by hand."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from d2plm_megatron.data.sequences import pack_sequences
from d2plm_megatron.inference import readouts
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.nll import content_key, nll_by_protein, noise_of
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.scoring.assays import Assay
from d2plm_megatron.scoring.effects import KAPPA, check_methods, log_odds, methods_of, score
from d2plm_megatron.scoring.likelihoods import elbo_differences
from d2plm_megatron.scoring.mutants import mutated, parse

WILD_TYPE = "MKTVRQXGLLAGVSERTIDPK"
PLACES = [0, 2, 11, 20]


def table(tmp_path: Path, mutants: list[str], wild_type: str = WILD_TYPE) -> Assay:
    path = tmp_path / "mutants.csv"
    path.write_text("\n".join(["mutant", *(f'"{mutant}"' for mutant in mutants)]) + "\n")
    return Assay.open(path, wild_type, None)


def odds(model: TrainedModel, method: str, longest: int = 40, tokens_per_pack: int = 64) -> np.ndarray:
    ids = alphabet.encode(WILD_TYPE)
    return log_odds(model, method, ids, PLACES, longest, tokens_per_pack, lambda number: None)


@pytest.mark.parametrize("name", ["absorbing", "timed", "mlm"])
def test_masked_marginals_are_log_probabilities_at_a_mask(name: str, trained: Callable[[str], Path]) -> None:
    with TrainedModel.open(trained(name)) as model:
        found = odds(model, "masked")
        for place in PLACES:
            [log_probs] = model.log_probs([f"{WILD_TYPE[:place]}_{WILD_TYPE[place + 1 :]}"])
            wild = alphabet.CANONICAL_LETTERS.index(WILD_TYPE[place])
            assert np.allclose(found[place], log_probs[place] - log_probs[place, wild], atol=5e-5)
        others = [place for place in range(len(WILD_TYPE)) if place not in PLACES]
        assert np.isnan(found[others]).all()
        mutant = parse("here", "T3W:K21A", WILD_TYPE, 0)
        letters = alphabet.CANONICAL_LETTERS
        assert score(mutant, found) == found[2, letters.index("W")] + found[20, letters.index("A")] != 0
        assert score((), found) == 0


def test_a_long_wild_type_is_seen_through_windows(trained: Callable[[str], Path]) -> None:
    """A window in the middle has no end tokens: the model sees what it saw of long proteins in training."""
    with TrainedModel.open(trained("absorbing")) as model:
        found = odds(model, "masked", longest=8)
        ids = torch.from_numpy(alphabet.encode(WILD_TYPE).astype(np.int64))
        [pack] = pack_sequences([WILD_TYPE[7:13]]).packs  # eight tokens, as the window has
        seen_T = ids[7:15].clone()
        seen_T[4] = alphabet.MASK
        from d2plm_megatron.inference import readouts

        shown = readouts.as_it_is(type(pack)(**{**vars(pack), "tokens_T": seen_T}), model.path, None)
        log_probs = model.logits(shown)[4, alphabet.CANONICAL].log_softmax(-1).numpy()
        wild = alphabet.CANONICAL_LETTERS.index(WILD_TYPE[11])
        assert np.allclose(found[11], log_probs - log_probs[wild], atol=5e-5)
        assert not np.allclose(found[11], odds(model, "masked")[11], atol=1e-3)


def test_wild_type_marginals_mask_nothing(trained: Callable[[str], Path]) -> None:
    with TrainedModel.open(trained("mlm")) as model:
        [log_probs] = model.log_probs([WILD_TYPE])
        for place, values in zip(PLACES, odds(model, "wild-type")[PLACES], strict=True):
            wild = alphabet.CANONICAL_LETTERS.index(WILD_TYPE[place])
            assert np.allclose(values, log_probs[place] - log_probs[place, wild], atol=5e-5)


def test_of_random_residues_the_path_is_divided_out(trained: Callable[[str], Path]) -> None:
    """By Bayes: p(x1 | x_t) is proportional to p(x1 | rest) q(x_t | x1), and q is 20 numbers that are known."""
    with TrainedModel.open(trained("uniform")) as model:
        found, t = odds(model, "wild-type"), float(model.path.schedule.inverse(torch.tensor(KAPPA)))
        [log_posterior] = model.log_probs([WILD_TYPE], time=t)
        for place in PLACES:
            wild = alphabet.CANONICAL_LETTERS.index(WILD_TYPE[place])
            likelihood = np.full(20, (1 - KAPPA) / 20)
            likelihood[wild] += KAPPA
            prior = log_posterior[place] - np.log(likelihood)
            assert np.allclose(found[place], prior - prior[wild], atol=5e-5)


@pytest.mark.parametrize("name", ["bayes", "metric"])
def test_of_an_encoder_that_leaves_the_evidence_to_the_path_the_logits_tell(name: str, trained) -> None:
    """And what a metric path says by itself, -beta d and its normalisation, is in no score."""
    with TrainedModel.open(trained(name)) as model:
        found, [pack] = odds(model, "wild-type"), pack_sequences([WILD_TYPE]).packs
        shown = readouts.as_it_is(pack, model.path, model.path.time_of_share(1 - KAPPA))
        logits_TV = model.logits(shown)[1:-1, alphabet.CANONICAL].double().numpy()
        if name == "metric":
            beta, table = float(model.path.beta(shown.times_S)), np.array(model.path.distance)
            log_z = np.log(np.exp(-beta * table).sum(1))
        for place in PLACES:
            wild = alphabet.CANONICAL_LETTERS.index(WILD_TYPE[place])
            prior = logits_TV[place] + (beta * table[wild] + log_z if name == "metric" else 0)
            assert np.allclose(found[place], prior - prior[wild], atol=5e-5)


def test_models_are_asked_for_what_they_learnt(trained: Callable[[str], Path]) -> None:
    for name, methods in (
        ("absorbing", ["masked", "elbo"]),
        ("timed", ["masked", "elbo"]),
        ("mlm", ["masked", "wild-type", "elbo"]),
        ("all_masks", ["masked", "elbo"]),
        ("uniform", ["wild-type", "elbo"]),
        ("metric", ["wild-type", "elbo"]),
    ):
        with TrainedModel.open(trained(name)) as model:
            assert methods_of(model) == methods
            check_methods(model, methods)
            for method, why in (("wild-type", "it was trained at masks alone"), ("masked", "it reads no masks")):
                if method not in methods:
                    with pytest.raises(ValueError, match=f"--method {method}: {why}.* ask {methods[0]} or elbo"):
                        check_methods(model, [method])


@pytest.mark.parametrize("name", ["absorbing", "uniform"])
def test_the_elbo_differs_by_what_the_same_noise_shows(name: str, trained, tmp_path: Path) -> None:
    mutants = ["WT", "K2A", "K2A:V13L", "M1M", "K21W"]
    assay = table(tmp_path, mutants)
    with TrainedModel.open(trained(name)) as model:
        found = list(elbo_differences(model, assay, 3, 5, 40, 64, lambda number: None))
        key = content_key(torch.from_numpy(alphabet.encode(WILD_TYPE)))

        def nats(letters: str) -> np.ndarray:
            [pack] = pack_sequences([letters]).packs
            measure, noise = model.likelihoods["elbo"], noise_of(5)
            return nll_by_protein(model.logits, measure, pack, noise, range(3), key)[0, :, 0]

        for text, difference in zip(mutants, found, strict=True):
            by_hand = nats(WILD_TYPE) - nats(mutated(WILD_TYPE, parse("here", text, WILD_TYPE, 0)))
            assert difference == pytest.approx(by_hand, abs=1e-3)
        assert found[0] == pytest.approx([0, 0, 0], abs=1e-3) and np.abs(found[1]).max() > 0.01
        again = list(elbo_differences(model, assay, 3, 5, 40, 4096, lambda number: None))
        assert np.allclose(found, again, atol=1e-3)
        assert not np.allclose(found, list(elbo_differences(model, assay, 3, 6, 40, 64, lambda n: None)), atol=1e-3)


def test_common_noise_spreads_less_than_noise_of_its_own(trained: Callable[[str], Path], tmp_path: Path) -> None:
    assay = table(tmp_path, ["K2A"])
    with TrainedModel.open(trained("absorbing")) as model:
        [common] = elbo_differences(model, assay, 40, 0, 40, 64, lambda number: None)
        packs = [pack_sequences([letters]).packs[0] for letters in (WILD_TYPE, f"MA{WILD_TYPE[2:]}")]
        measure, noise = model.likelihoods["elbo"], noise_of(0)
        apart = [nll_by_protein(model.logits, measure, pack, noise, range(40))[0, :, 0] for pack in packs]
        assert common.std() < 0.6 * (apart[0] - apart[1]).std()
        assert common.mean() == pytest.approx(
            (apart[0] - apart[1]).mean(), abs=4 * (apart[0] - apart[1]).std() / math.sqrt(40)
        )


def test_windows_of_the_elbo_hold_all_mutations(trained: Callable[[str], Path], tmp_path: Path) -> None:
    assay = table(tmp_path, ["K2A", "V13L", "K2A:K21W", "I18V"])
    with TrainedModel.open(trained("absorbing")) as model:
        found = list(elbo_differences(model, assay, 2, 0, 8, 64, lambda number: None))
        assert len(found) == 4 and all(np.abs(values).max() > 0 for values in found)
