r"""How residues move along a metric-induced path, and what a model that moves them so makes of proteins.

Of the chances p_b(x | x1) ~ exp(-b d(x, x1)) the logarithm changes with b at the rate D(x) = E_{p_b(. | x1)} d -
d(x, x1). Rates u(y | x, x1) from x to y keep to the path where they solve Kolmogorov's forward equation, as these do
(arXiv:2412.03487), which move towards x1 alone and with the least kinetic energy:

    u(y | x, x1) = p(y | x1) [D(y) - D(x)]_+ = p(y | x1) [d(x, x1) - d(y, x1)]_+

So do, for any noising rates R(y -> x) >= 0 that do not know x1, the reversed noising and such jumps for what is left:

    u(y | x, x1) = R(y -> x) p(y | x1) / p(x | x1)  +  p(y | x1) [G(y) - G(x)]_+
    G(x) = D(x) + sum_z p(z | x1) R(z -> x) / p(x | x1) - sum_z R(x -> z)

A model's rates are u_m(y | x_t) = E_{x1 ~ p(x1 | x_t)} u, and its negative ELBO on the way from noise to x1 is, as
between any two Markov chains that begin alike,

    E_t sum_{y != x_t}  u_m - u + u log(u / u_m)

With the exact posterior it lies above the likelihood by the Kullback-Leibler divergence of the process of all proteins
from its Markovian projection: not at all where G = 0, and by half a nat per residue where R = 0.
"""

import torch
from torch import Tensor
from torch.special import xlogy

STEEPEST = 60.0
"""Ratios of chances end at exp of it: a residue that is less likely than this is not met."""


def log_chances(beta: Tensor, distance_VV: Tensor) -> Tensor:
    """log p(x | x1) at each beta, [..., x1, x], float64."""
    return (-beta[..., None, None] * distance_VV).log_softmax(-1)


def drift(log_chances: Tensor, distance_VV: Tensor, noising: Tensor) -> Tensor:
    """G of each residue, [..., x1, x].

    Args:
        log_chances: log p(x | x1), [..., x1, x].
        distance_VV: d.
        noising: R, from the row to the column, [..., V, V], 0 on the diagonal.
    """
    chances = log_chances.exp()
    by_path = (chances * distance_VV).sum(-1, keepdim=True) - distance_VV
    arriving = (chances @ noising) / chances.clamp(min=torch.finfo(chances.dtype).tiny)
    return by_path + arriving - noising.sum(-1)[..., None, :]


def towards(log_chances: Tensor, potential: Tensor, xt: Tensor) -> Tensor:
    """The rates p(y | x1) [G(y) - G(x_t)]_+ of each token, [..., x1, y]; kinetic-optimal ones with -d in place of G.

    Args:
        log_chances: log p(x | x1), [..., x1, x].
        potential: G, broadcastable to [..., x1, x].
        xt: residues, 0 to V - 1, [...].
    """
    potential = potential.expand(*xt.shape, *potential.shape[-2:])
    return log_chances.exp() * (potential - _at(potential, xt)).clamp(min=0)


def reversed_noising(log_chances: Tensor, noising: Tensor, xt: Tensor) -> Tensor:
    """The rates R(y -> x_t) p(y | x1) / p(x_t | x1) of each token, [..., x1, y]; see `drift` and `towards`."""
    into_xt = _at(noising, xt)[..., 0]
    return into_xt[..., None, :] * (log_chances - _at(log_chances, xt)).clamp(max=STEEPEST).exp()


def rates_of_bound(log_chances: Tensor, potential: Tensor, noising: Tensor, xt: Tensor) -> Tensor:
    """The rates u of each token whose bound is reported, [..., x1, y]: reversed noising, and jumps for what is left."""
    return reversed_noising(log_chances, noising, xt) + towards(log_chances, potential, xt)


def even_bound(beta: Tensor, distance_VV: Tensor, noising_VV: Tensor) -> float:
    """What the exact posterior of evenly drawn residues loses at a beta, in nats per unit of beta."""
    log_p_VV, each = log_chances(beta, distance_VV), torch.arange(len(distance_VV))
    log_p_VVV, noising_VVV = (values_VV.expand(len(each), -1, -1) for values_VV in (log_p_VV, noising_VV))
    rates_VVV = rates_of_bound(log_p_VVV, drift(log_p_VV, distance_VV, noising_VV), noising_VVV, each)
    model_VV = (log_p_VV.softmax(0).T[:, None] @ rates_VVV)[:, 0]
    return float((log_p_VV.exp().T * divergence(model_VV[:, None], rates_VVV)).sum() / len(each))


def bound(log_posterior: Tensor, rates: Tensor, x1: Tensor) -> Tensor:
    """The integrand of the negative ELBO for each token, of the shape of x1, float64.

    Args:
        log_posterior: log p(x1 | x_t), [..., V].
        rates: u, [..., x1, y], 0 to what already stands there.
        x1: clean residues, 0 to V - 1, [...].
    """
    model = (log_posterior.double().exp()[..., None, :] @ rates)[..., 0, :]
    truth = rates.gather(-2, x1[..., None, None].expand(*x1.shape, 1, rates.shape[-1]))[..., 0, :]
    return divergence(model, truth)


def divergence(model: Tensor, truth: Tensor) -> Tensor:
    """sum_y u_m - u + u log(u / u_m) of rates [..., y]."""
    log_model = model.clamp(min=torch.finfo(model.dtype).tiny).log()
    return (model - truth + xlogy(truth, truth) - truth * log_model).sum(-1)


def _at(values: Tensor, xt: Tensor) -> Tensor:
    """What stands in the column of x_t, [..., V, 1]."""
    return values.gather(-1, xt[..., None, None].expand(*values.shape[:-1], 1))
