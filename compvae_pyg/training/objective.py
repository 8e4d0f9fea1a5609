"""What a stage of training minimises, and what is measured of it."""

from __future__ import annotations

import math
from typing import TypeVar, get_args

import torch
from torch import Tensor

from compvae_pyg.distributions.normal import normal_sample, standard_normal
from compvae_pyg.models import CompVAE, Elbo
from compvae_pyg.nn import AnyParts
from compvae_pyg.nn.checks import check_choice, check_event
from compvae_pyg.training.schedule import Coefficients, Inferred

__all__ = ["measured", "named", "objective", "squared_error", "staged_elbo"]

Number = TypeVar("Number", float, Tensor)


def staged_elbo(
    model: CompVAE,
    whole: Tensor,
    parts: AnyParts,
    batch: Tensor | None = None,
    batch_size: int | None = None,
    *,
    inferred: Inferred = "all",
) -> Elbo:
    r"""Evaluate the bound with only some of the latents sampled from the posterior.

    The others are held at the mean of their prior, at no divergence: with ``"parts"`` z, with
    ``"none"`` w and z; ``"all"`` is :meth:`CompVAE.elbo <compvae_pyg.CompVAE.elbo>`, whose other
    arguments these are. Where z is held, the parts' posterior is conditioned on standard normal
    noise, so that it cannot learn of the whole through z.

    Example:
        >>> from compvae_pyg import Dots
        >>> data = Dots().sample(torch.tensor([2, 3]))
        >>> staged_elbo(Dots().build("small"), data.whole, data, inferred="none").kl_w
        tensor([0., 0.])
    """
    check_choice(inferred, "inferred", get_args(Inferred))
    if inferred == "all":
        return model.elbo(whole, parts, batch, batch_size)
    whole, parts = model._enter(whole, parts, batch, batch_size)
    zero = whole.new_zeros(parts.batch_size)
    w_prior = model.generator.prior_w(parts)
    if inferred == "none":
        w_sum, kl_w = parts.weighted_sum(w_prior.mean), zero
    else:
        noise = standard_normal(whole.new_empty(parts.batch_size, model.encoder.z_channels))
        posterior = model.posterior(whole, parts, w_prior=w_prior, z=noise)
        w_sum = normal_sample(posterior.w_sum(parts.weight))
        kl_w = posterior.kl_w(w_prior)
    likelihood = model.generator.likelihood(w_sum, model.generator.prior_z(w_sum).mean)
    check_event(likelihood, model.event_shape)
    return Elbo(likelihood.log_prob(whole), kl_w, zero, likelihood)


def squared_error(terms: Elbo, whole: Tensor) -> Tensor:
    r"""Return :math:`\lVert x - \mathbb{E}[x \mid z, \tilde w] \rVert^2` of each whole, ``[S]``."""
    return (whole - terms.likelihood.mean).square().flatten(start_dim=1).sum(dim=1)


def objective(terms: Elbo, whole: Tensor, coefficients: Coefficients) -> Tensor:
    r"""Return the loss of each whole, ``[S]``.

    .. math::
        -\log p(x \mid z, \tilde w) + \beta_w \mathrm{KL}_w + \beta_z \mathrm{KL}_z

    or, in a stage of ``loss="squared_error"``, ``squared_error`` in place of the first term.
    With both coefficients at 1 the former is the negative ELBO, in nats.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> from compvae_pyg.training import Stage
        >>> likelihood = Independent(Normal(torch.zeros(1, 2), torch.ones(1, 2)), 1)
        >>> whole, one = torch.tensor([[1.0, 0.0]]), torch.ones(1)
        >>> terms = Elbo(likelihood.log_prob(whole), 2 * one, 3 * one, likelihood)
        >>> objective(terms, whole, Coefficients(Stage("x", 1.0, loss="squared_error"), 10.0, 0.5))
        tensor([22.5000])
    """
    squared = coefficients.stage.loss == "squared_error"
    reconstruction = squared_error(terms, whole) if squared else -terms.log_likelihood
    return reconstruction + coefficients.beta_w * terms.kl_w + coefficients.beta_z * terms.kl_z


@torch.no_grad()
def measured(terms: Elbo, whole: Tensor) -> Tensor:
    """Return kl_w, kl_z, log-likelihood and mean squared error of each whole, ``[4, S]``."""
    mse = squared_error(terms, whole) / math.prod(whole.shape[1:])
    return torch.stack([terms.kl_w, terms.kl_z, terms.log_likelihood, mse])


def named(kl_w: Number, kl_z: Number, log_likelihood: Number, mse: Number) -> dict[str, Number]:
    """Return averages of :func:`measured` as they are logged, the first in nats and in bits."""
    elbo = log_likelihood - kl_w - kl_z
    nats = {"elbo": elbo, "kl_w": kl_w, "kl_z": kl_z, "reconstruction": -log_likelihood}
    return {**nats, **{f"{n}_bits": v / math.log(2.0) for n, v in nats.items()}, "mse": mse}
