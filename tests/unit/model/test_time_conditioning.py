"""adaLN-zero: at first the layers do nothing; then each protein answers to its own time."""

import pytest
import torch
import torch.nn.functional as F

from d2plm_megatron.config.parameters import TIME_FEATURES
from d2plm_megatron.model.time_conditioning import modulate, time_features
from d2plm_megatron.proteins import alphabet


def test_layers_are_the_identity_at_first(build, make_pack, logits_of) -> None:
    encoder, pack = build("time"), make_pack([8, 5])
    embedded = encoder.embedding.word_embeddings.weight[pack.tokens_T]
    normed = F.rms_norm(embedded, embedded.shape[-1:], eps=1e-5)
    expected = normed @ encoder.output_layer.weight[: alphabet.SIZE].T
    for times in ([0.0, 0.0], [0.3, 0.9]):
        torch.testing.assert_close(logits_of(encoder, pack, times), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("where", ["decoder.layers.0.modulation", "decoder.layers.1.modulation", "final_modulation"])
def test_each_protein_answers_to_its_own_time(build, make_pack, logits_of, where: str) -> None:
    encoder, pack = build("time"), make_pack([8, 5, 1])
    with torch.no_grad():
        encoder.get_submodule(where).linear.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    before, after = logits_of(encoder, pack, [0.2, 0.5, 0.8]), logits_of(encoder, pack, [0.2, 0.6, 0.8])
    changed_T = (before - after).abs().amax(-1) > 1e-4
    assert torch.equal(changed_T, pack.sequence_T == 1)
    assert torch.equal(before[pack.sequence_T != 1], after[pack.sequence_T != 1])


def test_every_layer_learns_from_the_time(build, make_pack, logits_of) -> None:
    """The gates are zero at first, but their gradients are not; shifts and scales follow once gates have moved."""
    encoder, pack = build("time"), make_pack([8, 5])
    logits_of(encoder, pack, [0.2, 0.8]).square().sum().backward()
    for layer in encoder.decoder.layers:
        by_vector = layer.modulation.linear.weight.grad.unflatten(0, (6, -1)).abs().amax((1, 2))
        assert (by_vector > 0).tolist() == [False, False, True, False, False, True]


def test_features_tell_near_times_apart() -> None:
    times = torch.linspace(0, 1, 1001, dtype=torch.float64)
    features = time_features(times)
    assert features.shape == (1001, TIME_FEATURES) and features.dtype == torch.float32
    assert (features[1:] - features[:-1]).norm(dim=-1).min() > 1
    assert torch.cdist(features, features).fill_diagonal_(9).min() > 0.5


def test_modulation_scales_around_one() -> None:
    hidden, shift, scale = torch.randn(3, 4, 1, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(modulate(hidden, shift, scale), hidden * (1 + scale) + shift)
