import math
import statistics
from dataclasses import dataclass

import pytest
import torch

from d2plm_megatron import config
from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.loader import validation_packs
from d2plm_megatron.evaluation.likelihood import Estimate, estimate, unigram_perplexity
from d2plm_megatron.objectives import build_process
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng

OPTIONS = config.Data(max_length_residues=100, tokens_per_pack=8000)


def nothing(number: int) -> None:
    pass


def logits_of(shares_20: torch.Tensor):
    """A model without context: everywhere these shares of the canonical residues."""
    logits_V = torch.zeros(alphabet.SIZE)
    logits_V[alphabet.CANONICAL] = shares_20.log().float()
    return lambda noisy: logits_V.expand(len(noisy.tokens_T), -1)


@dataclass(frozen=True)
class Told:
    """A likelihood whose sums are given: by draw, and for each pack in turn."""

    sums: list[list[float]]

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        times_S = torch.full(batch.stream_index_S.shape, float(rng.epoch), dtype=torch.float64)
        return NoisyBatch(clean=batch, tokens_T=batch.tokens_T, times_S=times_S, predicted_T=batch.scored_T)

    def loss(self, logits_TV: torch.Tensor, noisy: NoisyBatch) -> LossTerms:
        total = self.sums[int(noisy.times_S[0])][int(noisy.clean.sample_ids_S[0])]
        number = noisy.clean.scored_T.sum()
        return LossTerms(total=torch.tensor(0.0), count=number, metrics={"nll": (torch.tensor(total), number)})


def test_sums_over_packs_are_divided_once_and_draws_averaged(make_pack):
    packs, advanced = [make_pack([3], first_sample=0), make_pack([9], first_sample=1)], []
    likelihood = Told([[6.0, 6.0], [3.0, 21.0], [12.0, 18.0]])  # 12/12, 24/12 and 30/12 nats per residue
    found = estimate(lambda noisy: torch.zeros(1, 33), likelihood, packs, 3, advanced.append)
    assert found.nats == pytest.approx((1 + 2 + 2.5) / 3)
    assert found.standard_error == pytest.approx(statistics.stdev([1, 2, 2.5]) / math.sqrt(3))
    assert found.perplexity == pytest.approx(math.exp(5.5 / 3))
    assert found.perplexity_error == pytest.approx(found.perplexity * found.standard_error)
    assert advanced == [1] * 6


def test_one_draw_has_no_error_and_a_hopeless_model_an_infinite_perplexity(make_pack):
    found = estimate(lambda noisy: torch.zeros(1, 33), Told([[6.0]]), [make_pack([3])], 1, nothing)
    assert (found.nats, found.standard_error, found.perplexity_error) == (2.0, None, None)
    assert Estimate(1e4, 1.0).perplexity == math.inf


def test_a_draw_that_chooses_no_residue_is_refused(make_pack):
    """As masked language modelling does now and then with a handful of residues."""
    likelihood = build_process(config.MaskedLM(mask_probability=0.001)).likelihoods()["masked"]
    with pytest.raises(ValueError, match="in draw 1 none of the residues was chosen: evaluate more proteins"):
        estimate(lambda noisy: torch.zeros(3, 33), likelihood, [make_pack([3])], 2, nothing)


@pytest.mark.parametrize(
    "objective",
    [config.Absorbing(), config.Absorbing(schedule="cosine", weight="linear"), config.FlowMatching(),
     config.FlowMatching(schedule="polynomial:2", loss="generalised_kl"), config.MaskedLM()],
    ids=["absorbing", "absorbing cosine", "flow matching", "flow matching quadratic", "mlm"],
)  # fmt: skip
def test_without_context_the_perplexity_is_that_of_the_unigrams(write_proteins, objective):
    lengths = [20 + 7 * (i % 30) for i in range(300)]
    proteins = IndexedProteins(write_proteins(lengths))
    packs = validation_packs(proteins, OPTIONS, 300, rank=0, num_ranks=1)
    counts = sum(pack.tokens_T[pack.scored_T].bincount(minlength=33)[4:24] for pack in packs).double()
    shares = counts / counts.sum()
    guess = torch.arange(1, 21, dtype=torch.float64) / 210
    likelihood = build_process(objective).likelihoods()["elbo"]
    for model, expected in ((shares, shares), (guess, guess)):
        cross_entropy = -float((shares * expected.log()).sum())
        found = estimate(logits_of(model), likelihood, packs, 16, nothing)
        assert found.standard_error < 0.03
        assert found.nats == pytest.approx(cross_entropy, abs=4 * found.standard_error)
    assert unigram_perplexity(packs) == pytest.approx(math.exp(-float((shares * shares.log()).sum())))


def test_masked_perplexity_of_mlm(make_pack):
    """Over all 33 letters: of a model that holds all of them alike it is 33."""
    likelihood = build_process(config.MaskedLM()).likelihoods()["masked"]
    found = estimate(lambda noisy: torch.zeros(4000, 33), likelihood, [make_pack([4000])], 2, nothing)
    assert found.perplexity == pytest.approx(33, rel=1e-5)


def test_the_estimate_does_not_depend_on_how_proteins_are_packed(make_pack):
    whole = make_pack([40, 60])
    halves = []
    for number, (begin, end) in enumerate(((0, 40), (40, 100))):
        halves.append(
            TokenBatch(
                tokens_T=whole.tokens_T[begin:end],
                positions_T=whole.positions_T[begin:end],
                sequence_T=torch.zeros(end - begin, dtype=torch.int64),
                scored_T=whole.scored_T[begin:end],
                sample_ids_S=whole.sample_ids_S[number : number + 1],
                stream_index_S=whole.stream_index_S[number : number + 1],
                lengths_S=(end - begin,),
                epoch=0,
            )
        )
    likelihood, model = build_process(config.Absorbing()).likelihoods()["elbo"], logits_of(torch.arange(1, 21) / 210)
    found = [estimate(model, likelihood, packs, 3, nothing).nats for packs in ([whole], halves, halves[::-1])]
    assert found == pytest.approx([found[0]] * 3, rel=1e-12)


def test_unigram_perplexity_by_hand(pack_of):
    packs = [pack_of("LLAX", ends=True), pack_of("LB")]  # L three times, A once; X and B do not count
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert unigram_perplexity(packs) == pytest.approx(expected)
    assert unigram_perplexity([pack_of(alphabet.CANONICAL_LETTERS)]) == pytest.approx(20)
