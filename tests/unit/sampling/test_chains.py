"""Every sampler of masks against its chain, carried along exactly: three residues of three letters, 64 states.

The chains are written here from the papers' formulas, state by state, for a correlated joint and its exact posterior.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, reduce
from itertools import product

import pytest
import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.proteins import alphabet

LETTERS, LENGTH, NUMBER = 3, 3, 8_000
M = LETTERS  # the mask, as a state of a place
STATES = list(product(range(LETTERS + 1), repeat=LENGTH))
FULL = [number for number, state in enumerate(STATES) if M not in state]


def _joint() -> Tensor:
    weights = torch.rand((LETTERS,) * LENGTH, generator=torch.Generator().manual_seed(8), dtype=torch.float64) ** 3
    weights += 0.3 * torch.eye(LETTERS)[:, :, None] + 0.02
    return weights / weights.sum()


JOINT = _joint()


@cache
def posterior(state: tuple[int, ...]) -> Tensor:
    """p of each letter at each place given the visible others, [place, letter]."""
    rows = []
    for place in range(LENGTH):
        seen = tuple(slice(None) if i == place or x == M else slice(x, x + 1) for i, x in enumerate(state))
        row = JOINT[seen].sum(tuple(i for i in range(LENGTH) if i != place))
        rows.append(row / row.sum())
    return torch.stack(rows)


def together(rows: Sequence[Tensor]) -> Tensor:
    """Places that move apart: over all states."""
    return reduce(lambda one, other: (one[:, None] * other).flatten(), rows)


def visible(letter: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(letter), LETTERS + 1).double()


def filled(row: Tensor, chance: float) -> Tensor:
    """A mask that is filled with this chance."""
    return torch.cat([chance * row, torch.tensor([1 - chance], dtype=torch.float64)])


def jumping(chance: Callable[[float, float], float]) -> Callable:
    def step(state: tuple[int, ...], t: float, s: float, left: int) -> Tensor:
        rows = zip(state, posterior(state), strict=True)
        return together([filled(row, chance(t, s)) if x == M else visible(x) for x, row in rows])

    return step


exact = jumping(lambda t, s: (s - t) / (1 - t))
euler = jumping(lambda t, s: 1.0 if s == 1 else 1 - math.exp(-(s - t) / (1 - t)))


def remdm(sigma: Callable[[float], float]) -> Callable:
    """Equation 5 of arXiv:2503.00307 with alpha = t."""

    def step(state: tuple[int, ...], t: float, s: float, left: int) -> Tensor:
        now = sigma(min(1.0, (1 - s) / t) if t else 1.0)
        rows = []
        for x, row in zip(state, posterior(state), strict=True):
            fill = (s - (1 - now) * t) / (1 - t)
            rows.append(filled(row, fill) if x == M else (1 - now) * visible(x) + now * visible(M))
        return together(rows)

    return step


def corrector(strength: float) -> Callable:
    def step(state: tuple[int, ...], t: float, s: float, left: int) -> Tensor:
        middle = (t + s) / 2
        u = min(1.0, s + strength * (middle * (1 - middle)) ** 0.25 * (s - t))
        gone = 0.0 if s == 1 else 1 - s / u
        rows = []
        for x, row in zip(state, posterior(state), strict=True):
            ahead = filled(row, (u - t) / (1 - t)) if x == M else visible(x)
            rows.append((1 - gone) * ahead + (ahead[:M].sum() * gone + ahead[M] * gone) * visible(M))
        return together(rows)

    return step


def filling(chosen: Callable[[tuple[int, ...], list[int], int], set[int]]) -> Callable:
    """Some masks are filled for certain: those that are chosen by (state, masks, how many may be left)."""

    def step(state: tuple[int, ...], t: float, s: float, left: int) -> Tensor:
        fills = chosen(state, [i for i, x in enumerate(state) if x == M], left)
        rows = enumerate(zip(state, posterior(state), strict=True))
        return together([filled(row, 1.0) if i in fills else visible(x) for i, (x, row) in rows])

    return step


def by_certainty(certainty: Callable[[Tensor], float]) -> Callable:
    def chosen(state: tuple[int, ...], masks: list[int], left: int) -> set[int]:
        order = sorted(masks, key=lambda i: -certainty(posterior(state)[i]))
        return set(order[: max(0, len(masks) - left)])

    return filling(chosen)


def entropy(row: Tensor) -> float:
    return -float((row * row.log()).sum())


def margin(row: Tensor) -> float:
    _, middle, most = sorted(row.tolist())
    return most - middle


def adaptive(doubt: Callable[[Tensor], float], bound: float, joint: bool, forced: Callable[[int], int]) -> Callable:
    """Those that are allowed, and as many as must be: the sum of the doubts before, or each doubt, within the bound."""

    def chosen(state: tuple[int, ...], masks: list[int], left: int) -> set[int]:
        order = sorted(masks, key=lambda i: doubt(posterior(state)[i]))
        doubts = [doubt(posterior(state)[i]) for i in order]
        within = [(sum(doubts[:n]) if joint else doubts[n]) <= bound for n in range(len(order))]
        return {i for n, i in enumerate(order) if within[n] or n < forced(len(masks))}

    return filling(chosen)


def p2(eta: float, given: frozenset[int] | set[int] = frozenset()) -> Callable:
    """Algorithm 1 of arXiv:2502.03540 with the model as planner: over all draws for the masks."""

    def step(state: tuple[int, ...], t: float, s: float, left: int) -> Tensor:
        found, rows = torch.zeros(len(STATES), dtype=torch.float64), posterior(state)
        if M not in state:
            found[STATES.index(state)] = 1
            return found
        for draws in product(*(range(LETTERS) if x == M else [x] for x in state)):
            chance = math.prod(float(rows[i, x]) for i, x in enumerate(draws) if state[i] == M)
            logs = [math.log(rows[i, x]) for i, x in enumerate(draws)]
            score = [log if state[i] == M else eta * log for i, log in enumerate(logs)]
            masked = sorted(set(range(LENGTH)) - given, key=lambda i: score[i])[:left]
            found[STATES.index(tuple(M if i in masked else x for i, x in enumerate(draws)))] += chance
        return found

    return step


def carried(chain: Callable, num_steps: int, begin: float = 0.0, given: Sequence[tuple[int, int]] = ()) -> Tensor:
    """What the chain ends in, over all states: of a template, or of a protein of which a share is noised first."""
    now = torch.zeros(len(STATES), dtype=torch.float64)
    now[STATES.index(tuple(dict(given).get(i, M) for i in range(LENGTH)))] = 1
    if begin:
        now = together([begin * visible(x) + (1 - begin) * visible(M) for x in START])
    for k in range(num_steps):
        t, s = begin + (1 - begin) * k / num_steps, begin + (1 - begin) * (k + 1) / num_steps
        s = 1.0 if k + 1 == num_steps else s
        left = round((LENGTH - len(given)) * (1 - s))
        moved = torch.zeros_like(now)
        for number in now.nonzero()[:, 0].tolist():
            moved += now[number] * chain(STATES[number], t, s, left)
        now = moved
    return now


def model(noisy: NoisyBatch) -> Tensor:
    """The exact posterior, as logits."""
    table = torch.stack([posterior(state) for state in STATES])
    places = torch.where(noisy.tokens_T == alphabet.MASK, M, noisy.tokens_T - alphabet.FIRST_CANONICAL)
    numbers = (places.view(-1, LENGTH) * (LETTERS + 1) ** torch.arange(LENGTH - 1, -1, -1)).sum(-1)
    logits_TV = torch.full((len(noisy.tokens_T), alphabet.SIZE), -1e4, dtype=torch.float64)
    logits_TV[:, 4 : 4 + LETTERS] = table[numbers].flatten(0, 1).log()
    return logits_TV


CHAINS: dict[str, Callable] = {
    "exact": exact,
    "euler": euler,
    "confidence": by_certainty(lambda row: float(row.max())),
    "margin": by_certainty(margin),
    "entropy": by_certainty(lambda row: -entropy(row)),
    "p2": p2(1.0),
    "p2 eta=0": p2(0.0),
    "p2 eta=2": p2(2.0),
    "remdm strategy=cap eta=0.2": remdm(lambda most: min(0.2, most)),
    "remdm strategy=rescale eta=0.5": remdm(lambda most: 0.5 * most),
    "corrector strength=3": corrector(3.0),
}


def overrides_of(text: str) -> list[str]:
    name, *options = text.split()
    return [f"sampler={name}", *(f"sampler.{option}" for option in options)]


def check(tokens_T: Tensor, expected: Tensor) -> None:
    """Chi-square over the 27 proteins, of which none is unlikely: 26 degrees of freedom, p = 0.001."""
    numbers = ((tokens_T.view(-1, LENGTH) - 4) * LETTERS ** torch.arange(LENGTH - 1, -1, -1)).sum(-1)
    counts, expected = numbers.bincount(minlength=LETTERS**LENGTH).double(), NUMBER * expected
    assert int(counts[expected == 0].sum()) == 0
    counts, expected = counts[expected > 0], expected[expected > 0]
    assert float(((counts - expected) ** 2 / expected).sum()) < 54.1


@pytest.mark.parametrize("num_steps", [1, 3, 7])
@pytest.mark.parametrize("text", CHAINS)
def test_walk_is_the_chain(text, num_steps, walks, bare_pack):
    tokens_T, _ = walks(bare_pack(NUMBER, LENGTH), model, num_steps, *overrides_of(text))
    check(tokens_T, carried(CHAINS[text], num_steps)[FULL])


STARTED = ["exact", "confidence", "p2", "remdm strategy=cap eta=0.2", "corrector strength=3"]
START = (2, 0, 1)


@pytest.mark.parametrize("text", STARTED)
def test_walk_from_a_given_protein_is_the_chain(text, walks, bare_pack):
    """At t = 0.4 four in ten residues are still there; those that are, orders and P2 count as the path expects them."""
    pack = bare_pack(NUMBER, LENGTH)
    pack = replace(pack, tokens_T=4 + torch.tensor(START).repeat(NUMBER))
    tokens_T, _ = walks(pack, model, 3, *overrides_of(text), begin=0.4)
    check(tokens_T, carried(CHAINS[text], 3, begin=0.4)[FULL])


@pytest.mark.parametrize("text", [text for text in STARTED if text[:5] not in ("remdm", "corre")])
def test_walk_of_a_template_is_the_chain(text, walks, bare_pack):
    """The middle residue is given: masks are counted of the others."""
    pack = bare_pack(NUMBER, LENGTH)
    given_T = torch.tensor([False, True, False]).repeat(NUMBER)
    pack = replace(pack, tokens_T=torch.where(given_T, 5, pack.tokens_T), scored_T=~given_T)
    chain = CHAINS[text] if text != "p2" else p2(1.0, given={1})
    tokens_T, _ = walks(pack, model, 2, *overrides_of(text))
    check(tokens_T, carried(chain, 2, given=[(1, 1)])[FULL])


@pytest.mark.parametrize("criterion", ["entropy", "confidence"])
@pytest.mark.parametrize("bound", [0.0, 0.5, 1.0, 100.0])
def test_adaptive_fills_what_its_bound_allows(criterion, bound, walks, bare_pack):
    """With steps enough, so that none is forced but the first."""
    doubt = entropy if criterion == "entropy" else lambda row: 1 - float(row.max())
    chain = adaptive(doubt, bound, joint=criterion == "entropy", forced=lambda masks: 1)
    sampler = ["sampler=adaptive", f"sampler.criterion={criterion}", f"sampler.bound={bound}"]
    tokens_T, evaluations = walks(bare_pack(NUMBER, LENGTH), model, 9, *sampler)
    check(tokens_T, carried(chain, 9)[FULL])
    assert 1 <= evaluations <= 3
    assert {0.0: 3.0, 100.0: 1.0}.get(bound, evaluations) == evaluations


@pytest.mark.parametrize(("num_steps", "most"), [(1, 3), (2, 2)])
def test_adaptive_is_done_in_the_steps_that_it_has(num_steps, most, walks, bare_pack):
    chain = adaptive(entropy, 0.0, joint=True, forced=lambda masks: {3: most, 2: 2, 1: 1, 0: 0}[masks])
    tokens_T, evaluations = walks(bare_pack(NUMBER, LENGTH), model, num_steps, "sampler=adaptive", "sampler.bound=0")
    check(tokens_T, carried(chain, num_steps)[FULL])
    assert evaluations == num_steps


@pytest.mark.parametrize("name", ["confidence", "margin", "entropy", "adaptive"])
def test_one_at_a_time_is_exact_in_any_order(name, walks, bare_pack):
    """As the order is a function of what is seen, and not of what is drawn: the walk gives the joint itself."""
    tokens_T, _ = walks(
        bare_pack(NUMBER, LENGTH), model, 3, f"sampler={name}", *(["sampler.bound=0"] * (name == "adaptive"))
    )
    check(tokens_T, JOINT.flatten())


def test_much_noise_is_a_random_order(walks, bare_pack):
    seen = []

    def denoiser(noisy: NoisyBatch) -> Tensor:
        seen.append(noisy.tokens_T.view(-1, LENGTH))
        return model(noisy)

    walks(bare_pack(6000, LENGTH), denoiser, 3, "sampler=confidence", "sampler.noise=1e5")
    first = (seen[1] != alphabet.MASK).sum(0)
    assert first.sum() == 6000 and ((first - 2000).abs() < 4 * (6000 * 2 / 9) ** 0.5).all()


def far(chain: Callable, num_steps: int) -> float:
    """Total variation between what the chain ends in and the joint."""
    return float((carried(chain, num_steps)[FULL] - JOINT.flatten()).abs().sum()) / 2


@pytest.mark.parametrize("chain", [exact, euler, corrector(1.0)], ids=["exact", "euler", "corrector"])
def test_error_is_of_first_order(chain):
    assert far(chain, 32) < 0.03 and 3.2 < far(chain, 8) / far(chain, 32) < 4.8


@pytest.mark.parametrize("most", [lambda most: min(0.3, most), lambda most: 0.5 * most], ids=["cap", "rescale"])
def test_masking_again_at_every_step_is_of_order_one_half(most):
    """With sigma the same in any number of steps, as many residues are drawn apart near the end."""
    assert 1.6 < far(remdm(most), 8) / far(remdm(most), 32) < 2.7


def test_corrections_mend_nothing_of_an_exact_posterior():
    """What is drawn apart is all that is wrong then, and whoever masks again draws more apart."""
    walked = far(exact, 16)
    assert walked < far(corrector(1.0), 16) < far(corrector(4.0), 16)
    assert walked < far(remdm(lambda most: min(0.1, most)), 16)


@pytest.mark.parametrize(
    ("chain", "at_4", "at_16"),
    [(exact, 0.071, 0.018), (corrector(1.0), 0.079, 0.022), (remdm(lambda most: min(0.02, most)), 0.071, 0.019),
     (remdm(lambda most: min(0.3, most)), 0.085, 0.041), (remdm(lambda most: 0.05 * most), 0.072, 0.019)],
    ids=["exact", "corrector", "remdm cap .02", "remdm cap .3", "remdm rescale .05"],
)  # fmt: skip
def test_table_of_errors_in_the_docs(chain, at_4, at_16):
    """docs/samplers.md, but for the last column."""
    assert far(chain, 4) == pytest.approx(at_4, abs=5.1e-4) and far(chain, 16) == pytest.approx(at_16, abs=5.1e-4)


def test_confidence_of_remdm_keeps_the_share_of_masks(walks, blank_pack, context):
    """What is less certain is masked more readily, and as many are filled for it: L (1 - kappa) are left on average."""
    seen, steps, pack = [], 8, blank_pack([400] * 10)

    def denoiser(noisy: NoisyBatch) -> Tensor:
        seen.append(float((noisy.tokens_T == alphabet.MASK).double().sum()) / 4000)
        return context(noisy)

    walks(pack, denoiser, steps, "sampler=remdm", "sampler.strategy=confidence", "sampler.eta=0.5")
    assert len(seen) == steps
    for k, share in enumerate(seen):
        assert share == pytest.approx(1 - k / steps, abs=4 * (0.25 / 4000) ** 0.5)


def test_share_of_masks_follows_the_path_in_every_chain():
    for text in ("exact", "remdm strategy=cap eta=0.2", "remdm strategy=rescale eta=0.5", "corrector strength=3"):
        now = torch.zeros(len(STATES), dtype=torch.float64)
        now[-1] = 1
        for k in range(8):
            now = sum(p * CHAINS[text](state, k / 8, (k + 1) / 8, 0) for p, state in zip(now, STATES, strict=True))
            masks = sum(float(p) * state.count(M) for p, state in zip(now, STATES, strict=True))
            assert masks == pytest.approx(LENGTH * (1 - (k + 1) / 8), abs=1e-9)
