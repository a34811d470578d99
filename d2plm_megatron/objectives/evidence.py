r"""The posterior p(x1 | x_t) of an encoder's logits, and what of it the path knows without being told: the evidence.

Residues are noised one by one, so that by Bayes' rule, of residue i,

    p(x1_i | x_t)  ~  p(x1_i | x_t without i)  q(x_t_i | x1_i)

The first factor, the leave-one-out posterior, is what the other residues say. The second, the evidence of the residue
itself, is the path's. Two ways to have both (`objective.posterior`):

    direct    the logits are those of the product, as for masks, of which the evidence is the same for all x1
    bayes     the logits are those of the first factor, and log q is added to them

Directly, an encoder has to write log q, up to 17 nats for random residues, as an exact function of the time, and what
it is off by there costs as much as what it does not know of proteins. With bayes an encoder that knows nothing says
just what x_t says. It still sees residue i, so that what it adds is the first factor only as far as it learns to.
"""

import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.objectives.objective import canonical_log_posterior
from d2plm_megatron.objectives.path import Path
from d2plm_megatron.proteins import alphabet

TRUSTED = 10.0
"""Nats of evidence that are taken out of the logits of an encoder which has learnt it: the most that it is trained to
tell of random residues at the usual time_epsilon. On a metric path there are hundreds, and no encoder writes those."""


def log_posterior(path: Path, logits_TV: Tensor, noisy: NoisyBatch) -> Tensor:
    """log p(x1 | x_t) with all probability on the 20 canonical residues, [T, V], float32, -inf elsewhere.

    Args:
        path: that the encoder was trained along.
        logits_TV: of the encoder.
        noisy: what it was shown.
    """
    if path.by_bayes:
        evidence_TV = path.log_evidence(noisy).float()
        beside = alphabet.CANONICAL.start, alphabet.SIZE - alphabet.CANONICAL.stop
        logits_TV = logits_TV.float() + torch.nn.functional.pad(evidence_TV, beside)
    return canonical_log_posterior(logits_TV)


def apart(path: Path, logits_TV: Tensor, noisy: NoisyBatch) -> tuple[Tensor, Tensor]:
    """(log p(x1 | x_t without i), log q(x_t | x1)), both [T, 20], up to what is the same for all x1.

    The sum of both is log p(x1 | x_t). What an encoder has learnt of the evidence is taken out of its logits, up to
    TRUSTED nats.

    Args:
        path: that the encoder was trained along.
        logits_TV: of the encoder for the canonical residues, [T, 20].
        noisy: what it was shown.
    """
    evidence_TV = path.log_evidence(noisy).to(logits_TV.dtype)
    if path.by_bayes:
        return logits_TV, evidence_TV
    evidence_TV = evidence_TV - evidence_TV.amax(-1, keepdim=True)
    evidence_TV = evidence_TV.clamp(min=-TRUSTED)
    return logits_TV - evidence_TV, evidence_TV
