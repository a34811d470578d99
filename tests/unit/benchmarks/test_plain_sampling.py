"""What samplers are compared with is the walk that they make: the same proteins on average, from masks to residues."""

import pytest
import torch
from torch import Tensor

from benchmarks.plain_sampling import at_every_step, one_residue_a_step
from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.data.sequences import pack_sequences
from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.schedules import build_schedule
from d2plm_megatron.objectives.source import SOURCES
from d2plm_megatron.proteins import alphabet


@pytest.mark.parametrize("walk", [at_every_step, one_residue_a_step])
def test_plain_walks_draw_from_the_posterior(walk) -> None:
    asked = []
    path = MixturePath(build_schedule("polynomial:2"), SOURCES["mask"], 1e-3)

    def model(noisy: NoisyBatch) -> Tensor:
        asked.append(int((noisy.tokens_T == alphabet.MASK).sum()))
        assert float(noisy.times_S[0]) ** 2 == pytest.approx(1 - asked[-1] / 400)  # as many masks as there are at t
        logits_TV = torch.full((len(noisy.tokens_T), alphabet.SIZE), -1e4, dtype=torch.float64)
        logits_TV[:, 4:8] = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64).log()
        return logits_TV

    [pack] = pack_sequences([400], 402).packs
    tokens_T, evaluations = walk(pack, model, path, 10, 0)
    counts = tokens_T[1:-1].bincount(minlength=33)[4:8].double()
    expected = 400 * torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    assert counts.sum() == 400 and tokens_T[0] == alphabet.CLS
    assert float(((counts - expected) ** 2 / expected).sum()) < 16.3  # 3 degrees of freedom, p = 0.001
    assert evaluations == len(asked) == (10 if walk is at_every_step else 400)
    assert asked[0] == 400 and asked == sorted(asked, reverse=True)
