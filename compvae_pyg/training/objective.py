"""What a stage of training minimises."""

from torch import Tensor

from compvae_pyg.models import Elbo
from compvae_pyg.problems import Weights

__all__ = ["objective", "squared_error"]


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
