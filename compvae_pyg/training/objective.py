"""What a stage of training minimises."""

from typing import get_args

from torch import Tensor
from torch.distributions import kl_divergence
from torch_geometric.data import Data

from compvae_pyg.models import CompVAE, Elbo
from compvae_pyg.models.generator import normal_sample, standard_normal
from compvae_pyg.nn import Fields, PackedParts
from compvae_pyg.nn.checks import check_choice, check_event
from compvae_pyg.problems import Inferred, Weights

__all__ = ["objective", "squared_error", "staged_elbo"]


def staged_elbo(
    model: CompVAE,
    whole: Tensor,
    parts: PackedParts | Data | Fields,
    batch: Tensor | None = None,
    batch_size: int | None = None,
    *,
    inferred: Inferred = "all",
) -> Elbo:
    r"""Evaluate the bound with only some of the latents sampled from the posterior.

    The others are held at the mean of their prior, at no divergence.

    Args:
        model: The model.
        whole: Wholes, ``[S, *event]``.
        parts: Parts, with ``batch`` and ``batch_size``, as in :class:`~compvae_pyg.CompVAE`.
        inferred: ``"all"`` is :meth:`CompVAE.elbo <compvae_pyg.CompVAE.elbo>`. ``"parts"`` holds z
            at its prior; the parts' posterior is then conditioned on standard normal noise, so that
            it cannot learn of the whole through z. ``"none"`` holds w and z.

    Example:
        >>> import torch
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
        kl_w = kl_divergence(posterior.w, w_prior).sum(dim=-1)
    likelihood = model.generator.likelihood(w_sum, model.generator.prior_z(w_sum).mean)
    check_event(likelihood, model.event_shape)
    return Elbo(likelihood.log_prob(whole), kl_w, zero, likelihood)


def squared_error(terms: Elbo, whole: Tensor) -> Tensor:
    r"""Return :math:`\lVert x - \mathbb{E}[x \mid z, \tilde w] \rVert^2` of each whole, ``[S]``.

    Args:
        terms: Terms of the bound at these wholes.
        whole: Wholes, ``[S, *event]``.
    """
    return (whole - terms.likelihood.mean).square().flatten(start_dim=1).sum(dim=1)


def objective(terms: Elbo, whole: Tensor, weights: Weights) -> Tensor:
    r"""Return the loss of each whole, ``[S]``.

    .. math::
        -\log p(x \mid z, \tilde w) + \beta_w \mathrm{KL}_w + \beta_z \mathrm{KL}_z

    or, in a stage of ``loss="squared_error"``, :math:`\lVert x - \mathbb{E}[x \mid z, \tilde w]
    \rVert^2` in place of the first term. With both weights at 1 the former is the negative bound.

    Args:
        terms: Terms of the bound at these wholes, in nats.
        whole: Wholes, ``[S, *event]``.
        weights: Stage and weights :math:`\beta` of the step.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> from compvae_pyg.problems import Stage
        >>> whole = torch.tensor([[1.0, 0.0]])
        >>> likelihood = Independent(Normal(torch.zeros(1, 2), torch.ones(1, 2)), 1)
        >>> one = torch.ones(1)
        >>> terms = Elbo(likelihood.log_prob(whole), 2 * one, 3 * one, likelihood)
        >>> bool(objective(terms, whole, Weights(Stage("whole", 1.0), 1.0, 1.0)) == -terms.elbo)
        True
        >>> objective(terms, whole, Weights(Stage("x", 1.0, loss="squared_error"), 10.0, 0.5))
        tensor([22.5000])
    """
    if weights.stage.loss == "squared_error":
        reconstruction = squared_error(terms, whole)
    else:
        reconstruction = -terms.log_likelihood
    return reconstruction + weights.beta_w * terms.kl_w + weights.beta_z * terms.kl_z
