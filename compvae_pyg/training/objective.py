"""What a stage of training minimises, and what is measured of it."""

import math
from typing import Any

import torch
from torch import Tensor

from compvae_pyg.distributions.normal import widened
from compvae_pyg.models import Elbo
from compvae_pyg.training.schedule import Coefficients

__all__ = ["measured", "named", "objective", "squared_error"]


def squared_error(terms: Elbo, whole: Tensor) -> Tensor:
    r"""Return :math:`\lVert x - \mathbb{E}[x \mid z, \tilde w] \rVert^2` of each whole, ``[S]``."""
    return (whole - terms.likelihood.mean).square().flatten(start_dim=1).sum(dim=1)


def objective(terms: Elbo, whole: Tensor, coefficients: Coefficients) -> Tensor:
    r"""Return the loss of each whole, ``[S]``.

    .. math::
        -\log p(x \mid z, \tilde w) + \beta_w \mathrm{KL}_w + \beta_z \mathrm{KL}_z

    or, in a stage of ``loss="squared_error"``, ``squared_error`` in place of the first term.
    With both coefficients at 1 the former is the negative ELBO, in nats. With ``noise`` :math:`f`,
    the standard deviation of :math:`p` is :math:`f` times as large.

    Raises:
        TypeError: If ``noise`` is not 1, and the likelihood is no Normal.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> from compvae_pyg.training import Stage
        >>> likelihood = Independent(Normal(torch.zeros(1, 2), torch.ones(1, 2)), 1)
        >>> whole, one = torch.tensor([[1.0, 0.0]]), torch.ones(1)
        >>> terms = Elbo(likelihood.log_prob(whole), 2 * one, 3 * one, likelihood)
        >>> objective(terms, whole, Coefficients(Stage("x", 1.0, loss="squared_error"), 10.0, 0.5))
        tensor([22.5000])
    """
    if coefficients.stage.loss == "squared_error":
        reconstruction = squared_error(terms, whole)
    elif coefficients.noise == 1.0:
        reconstruction = -terms.log_likelihood
    else:
        reconstruction = -widened(terms.likelihood, coefficients.noise).log_prob(whole)
    return reconstruction + coefficients.beta_w * terms.kl_w + coefficients.beta_z * terms.kl_z


@torch.no_grad()
def measured(terms: Elbo, whole: Tensor) -> Tensor:
    """Return kl_w, kl_z, log-likelihood and mean squared error of each whole, ``[4, S]``."""
    mse = squared_error(terms, whole) / math.prod(whole.shape[1:])
    return torch.stack([terms.kl_w, terms.kl_z, terms.log_likelihood, mse])


def named(kl_w: Any, kl_z: Any, log_likelihood: Any, mse: Any) -> dict[str, Any]:
    """Return averages of :func:`measured` as they are logged, the first in nats and in bits."""
    elbo = log_likelihood - kl_w - kl_z
    nats = {"elbo": elbo, "kl_w": kl_w, "kl_z": kl_z, "reconstruction": -log_likelihood}
    return {**nats, **{f"{n}_bits": v / math.log(2.0) for n, v in nats.items()}, "mse": mse}
