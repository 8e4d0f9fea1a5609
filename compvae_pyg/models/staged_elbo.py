"""The ELBO with some of the latents held at the mean of their prior."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from compvae_pyg.distributions.normal import normal_sample, standard_normal
from compvae_pyg.models.compvae import CompVAE, Elbo
from compvae_pyg.nn import AnyParts
from compvae_pyg.nn.checks import check_choice, check_event

__all__ = ["Inferred", "staged_elbo"]

Inferred = Literal["none", "parts", "whole", "all"]


def staged_elbo(
    model: CompVAE,
    whole: Tensor,
    parts: AnyParts,
    batch: Tensor | None = None,
    batch_size: int | None = None,
    *,
    inferred: Inferred = "all",
) -> Elbo:
    r"""Evaluate the ELBO with only some of the latents sampled from the posterior.

    The others are held at the mean of their prior, at no divergence: with ``"parts"`` z, with
    ``"whole"`` w, with ``"none"`` w and z; ``"all"`` is
    :meth:`CompVAE.elbo <compvae_pyg.CompVAE.elbo>`, whose other arguments these are. Where z is
    held, the parts' posterior is conditioned on standard normal noise, so that it cannot learn of
    the whole through z.

    Raises:
        TypeError, ValueError: As :meth:`CompVAE.elbo <compvae_pyg.CompVAE.elbo>`, or if
            ``inferred`` is unknown.

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
    w_prior, posterior = model.generator.prior_w(parts), None
    if inferred in ("none", "whole"):
        w_sum, kl_w = parts.weighted_sum(w_prior.mean), zero
        if inferred == "whole":
            posterior = model.posterior(whole, parts, w_prior=w_prior)
            return model.bound(whole, posterior, w_sum, kl_w, parts.context)
    else:
        noise = standard_normal(whole.new_empty(parts.batch_size, model.encoder.z_channels))
        posterior = model.posterior(whole, parts, w_prior=w_prior, z=noise)
        w_sum = normal_sample(posterior.w_sum(parts.weight))
        kl_w = posterior.kl_w(w_prior)
    z = model.generator.prior_z(w_sum, parts.context).mean
    likelihood = model.generator.likelihood(w_sum, z, parts.context)
    check_event(likelihood, model.event_shape)
    return Elbo(likelihood.log_prob(whole), kl_w, zero, likelihood, posterior)
