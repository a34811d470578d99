"""Each protein of a pack is encoded as if it were alone, from both sides."""

from dataclasses import replace

import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.proteins import alphabet

LENGTHS = [9, 1, 30, 17]


def with_token(pack: TokenBatch, place: int) -> TokenBatch:
    """The pack with another residue at a place."""
    tokens_T = pack.tokens_T.clone()
    tokens_T[place] = alphabet.CANONICAL.start + (tokens_T[place] - alphabet.CANONICAL.start + 1) % 20
    return replace(pack, tokens_T=tokens_T)


def proteins_of(pack: TokenBatch, make_pack) -> list[TokenBatch]:
    """Each protein of the pack in a pack of its own."""
    parts = pack.tokens_T.split(pack.lengths_S)
    return [replace(make_pack([len(tokens)]), tokens_T=tokens) for tokens in parts]


def perturb(encoder) -> None:
    """Makes every weight matter: those that begin as zeros and ones too."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def test_packed_proteins_are_as_alone(build, make_pack, logits_of, kind: str) -> None:
    encoder, pack = build(kind), make_pack(LENGTHS)
    perturb(encoder)
    times = [0.1, 0.4, 0.7, 0.9]
    alone = [
        logits_of(encoder, protein, [time]) for protein, time in zip(proteins_of(pack, make_pack), times, strict=True)
    ]
    together = logits_of(encoder, pack, times)
    assert together.shape == (sum(LENGTHS), alphabet.SIZE)
    assert together.std() > 0.1
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)


def test_gradients_of_packed_proteins_are_the_sum_of_those_alone(build, make_pack, logits_of, kind: str) -> None:
    pack, encoders = make_pack(LENGTHS), [build(kind), build(kind)]
    for encoder in encoders:
        perturb(encoder)
    logits_of(encoders[0], pack).logsumexp(-1).sum().backward()
    for protein in proteins_of(pack, make_pack):
        logits_of(encoders[1], protein).logsumexp(-1).sum().backward()
    for (name, together), alone in zip(encoders[0].named_parameters(), encoders[1].parameters(), strict=True):
        assert (together.grad - alone.grad).norm() < 1e-5 * alone.grad.norm().clamp(min=1e-2), name


def test_a_residue_is_seen_by_all_of_its_protein_and_by_no_other(build, make_pack, logits_of, kind: str) -> None:
    encoder, pack = build(kind), make_pack(LENGTHS)
    perturb(encoder)
    last_of_third = sum(LENGTHS[:3]) - 1
    before, after = logits_of(encoder, pack), logits_of(encoder, with_token(pack, last_of_third))
    changed_T = (before != after).any(-1)
    assert torch.equal(changed_T, pack.sequence_T == 2)


def test_place_in_the_pack_does_not_matter(build, make_pack, logits_of) -> None:
    encoder, pack = build("swiglu"), make_pack([12, 12, 12])
    perturb(encoder)
    same = replace(pack, tokens_T=pack.tokens_T[:12].repeat(3))
    first, *others = logits_of(encoder, same).split(12)
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-5, atol=1e-5)


def test_order_of_the_residues_matters(build, make_pack, logits_of) -> None:
    encoder, pack = build("swiglu"), make_pack([12])
    perturb(encoder)
    forward, backward = logits_of(encoder, pack), logits_of(encoder, replace(pack, tokens_T=pack.tokens_T.flip(0)))
    assert (forward - backward.flip(0)).abs().max() > 1e-2  # without positions the two would be the same


def test_bf16_is_close_to_fp32(build, make_pack, logits_of, kind: str) -> None:
    pack, encoders = make_pack(LENGTHS), [build(kind), build(kind, precision="bf16")]
    for encoder in encoders:
        perturb(encoder)
    exact, rounded = (logits_of(encoder, pack) for encoder in encoders)
    assert rounded.dtype == torch.float32
    difference = (rounded - exact).norm() / exact.norm()
    assert 1e-4 < difference < 2e-2  # eight bits of mantissa, some dozen operations in a row
