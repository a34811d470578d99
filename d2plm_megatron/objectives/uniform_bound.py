r"""The likelihood of a model on the path from random residues: the bound of continuous-time Markov chains.

Noising, seen from the data, replaces a residue at rate kappa' / kappa by one of the V canonical residues. Its reverse
jumps from x to y at the rate kappa' / (kappa V) times p_t(y) / p_t(x). With the truth rho_y = p_t(y | x1) / p_t(x | x1)
and the model's S_y = E_{x1 ~ p(x1 | x_t)} rho_y the negative ELBO is (arXiv:2310.16834, arXiv:2412.10193)

    E_t  kappa' / (kappa V)  sum_{y != x_t}  S_y - rho_y + rho_y log(rho_y / S_y)

For the exact posterior it is the likelihood itself. The generalised KL bounds the likelihood too, but of another
process with the same marginals, and is looser: for four letters of entropy 1.28 nats it is more than 0.1 nats above.
"""

import torch
from torch import Tensor

EARLIEST_KAPPA = 1e-6
"""The least kappa that is divided by. The integrand falls with kappa, so that nothing but rounding is left below."""


def markov_bound(log_posterior: Tensor, x1: Tensor, xt: Tensor, kappa: Tensor, derivative: Tensor) -> Tensor:
    """The integrand of the bound for each token, of the shape of x1, float64.

    Args:
        log_posterior: log p(x1 | x_t) over the V residues that noise is drawn from, [..., V].
        x1: clean residues, 0 to V - 1, [...].
        xt: noisy residues, 0 to V - 1, [...].
        kappa: share of data at the time of each token, below 1, broadcastable to [...].
        derivative: of kappa by the time.
    """
    posterior = log_posterior.double().exp()
    size = posterior.shape[-1]
    kappa = kappa.clamp(min=EARLIEST_KAPPA).expand(x1.shape)[..., None]
    others = (1 - kappa) / size
    up = (kappa + others) / others  # from a residue to what it was at first
    is_x1, is_xt = (torch.nn.functional.one_hot(ids, size).bool() for ids in (x1, xt))
    p_of_xt = posterior.gather(-1, xt[..., None])
    ratio = 1 + p_of_xt * (1 / up - 1) + posterior * (up - 1)
    truth = torch.where((x1 == xt)[..., None], 1 / up, torch.where(is_x1, up, 1.0))
    terms = ratio - truth + truth * (truth / ratio).log()
    return derivative / (kappa[..., 0] * size) * terms.masked_fill(is_xt, 0.0).sum(-1)
