"""The prior of the latents of parts of a few categories, fitted to what is inferred of them."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from compvae_pyg.nn import Fields, PackedParts
from compvae_pyg.nn.checks import check_categories

__all__ = ["CategoryNormal", "follow_posterior"]

_MIN_SCALE = 1e-3


class CategoryNormal(nn.Module):
    r"""Mean and log-variance of p(w | category), a table that follows the posterior's moments.

    .. math::
        m_\ell \leftarrow (1 - r_\ell)\, m_\ell + r_\ell\, \mathbb{E}[w \mid \ell], \qquad
        s_\ell^2 \leftarrow (1 - r_\ell)\, s_\ell^2
            + r_\ell\, \mathbb{E}[(w - m_\ell)^2 \mid \ell], \qquad
        r_\ell = r \bigl[1 - \mathbb{E}[\sigma^2 \mid \ell] / s_\ell^2 \bigr]_{[0, 1]}

    with variances :math:`\sigma^2` of the posterior. These moments of the aggregate posterior
    minimise :math:`\mathrm{KL}(q \| p)` given the posterior; gradients of single batches reach
    them slowly. A number follows as far as the posterior says something of it: where it says
    nothing its moments are the prior's, more or less, and would drift. Then all
    :math:`s_\ell` are scaled so that the sum of their squares stays: the unit of a latent is free,
    and a prior that follows shrinks before the codes are learned. The moments are those of parts
    that are alone of their category in a whole: equal parts share what is inferred of them.

    A latent is ``num_groups`` groups of ``channels`` numbers, and a last one that is 1: the sum
    over the parts counts them. At first each category is standard normal in one group, drawn at
    random, but for the group's first number, which is 1, and next to constant in all others.

    Raises:
        TypeError, ValueError: When called, if parts have no ``category``, or one is out of range.

    Example:
        >>> prior = CategoryNormal(num_categories=3, num_groups=2, channels=4)
        >>> prior({"category": torch.tensor([0, 2])}).shape
        torch.Size([2, 18])
    """

    loc: Tensor
    log_variance: Tensor

    def __init__(
        self, num_categories: int, num_groups: int, channels: int, narrow: float = 2e-3
    ) -> None:
        super().__init__()
        self.shape = num_categories, num_groups, channels
        self.narrow = narrow
        for name in ("loc", "log_variance"):
            zero = torch.zeros(num_categories, num_groups * channels + 1)
            self.register_buffer(name, zero)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the groups anew."""
        categories, groups, _ = self.shape
        loc = torch.zeros(self.shape)
        log_variance = torch.full(self.shape, 2.0 * math.log(self.narrow))
        each = torch.arange(categories)
        own = torch.randperm(max(groups, categories))[:categories] % groups
        loc[each, own, 0] = 1.0
        log_variance[each, own, 1:] = 0.0
        self.loc[:, :-1] = loc.flatten(1)
        self.log_variance[:, :-1] = log_variance.flatten(1)
        self.loc[:, -1] = 1.0
        self.log_variance[:, -1] = 2.0 * math.log(_MIN_SCALE)

    def forward(self, parts: Fields) -> Tensor:
        """Return means and log-variances, ``[N, 2 D_w]``."""
        category = check_categories(parts, self.shape[0])
        return torch.cat([self.loc, self.log_variance], dim=1).index_select(0, category)

    @torch.no_grad()
    def follow(self, w: Distribution, parts: PackedParts, rate: float) -> None:
        """Move the moments by a share ``rate`` of the way to those of a posterior ``w``."""
        number = self.shape[0]
        category = check_categories(parts.fields, number)
        row = parts.batch * number + category
        alone = torch.bincount(row, minlength=parts.batch_size * number)[row] == 1
        mean, prior = w.mean, self.log_variance.exp()
        alone = (alone & torch.isfinite(mean + w.variance).all(dim=1)).unsqueeze(1)
        count = self._total(alone.to(mean.dtype), category)
        weight = torch.where(alone, 1.0 / count.clamp(min=1.0)[category], 0.0)

        def average(x: Tensor) -> Tensor:
            return self._total(torch.where(alone, weight * x, 0.0), category)

        said = (1.0 - average(w.variance) / prior).clamp(0.0, 1.0)
        share = rate * (count >= 4.0) * said  # of fewer parts, the moments say little
        loc = self.loc + share * (average(mean) - self.loc)
        square = average((mean - loc[category]).square() + w.variance)
        second = torch.lerp(prior, square, share)[:, :-1]
        second = second * (prior[:, :-1].sum(dim=1, keepdim=True) / second.sum(dim=1, keepdim=True))
        self.loc[:, :-1] = loc[:, :-1]
        least = 2.0 * math.log(_MIN_SCALE) + 1.0
        self.log_variance[:, :-1] = second.log().clamp(min=least)

    def _total(self, x: Tensor, category: Tensor) -> Tensor:
        return x.new_zeros(self.shape[0], x.shape[1]).index_add_(0, category, x)


def follow_posterior(model: nn.Module, w: Distribution, parts: PackedParts, rate: float) -> None:
    """Move all priors of a model that follow the posterior, see :meth:`CategoryNormal.follow`."""
    for module in model.modules():
        if isinstance(module, CategoryNormal):
            module.follow(w, parts, rate)
