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
        m_\ell \leftarrow (1 - r)\, m_\ell + r\, \mathbb{E}[w \mid \ell], \qquad
        s_\ell^2 \leftarrow (1 - r)\, s_\ell^2 + r\, \mathbb{E}[(w - m_\ell)^2 \mid \ell]

    These moments of the aggregate posterior minimise :math:`\mathrm{KL}(q \| p)` given the
    posterior; gradients of single batches reach them slowly. The moments are those of parts that
    are alone of their category in a whole: equal parts share what is inferred of them.

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
        mean, variance = w.mean, w.variance
        alone = alone & torch.isfinite(mean + variance).all(dim=1)
        weight = alone.to(mean.dtype).unsqueeze(1)
        first = torch.cat([weight, weight * torch.where(alone.unsqueeze(1), mean, 0.0)], dim=1)
        total = first.new_zeros(number, first.shape[1]).index_add_(0, category, first)
        count = total[:, :1]
        share = rate * (count >= 4.0)  # of fewer, the moments say little
        found = total[:, 1:] / count.clamp(min=1.0)
        loc = self.loc + share * (found - self.loc)
        square = torch.where(alone.unsqueeze(1), (mean - loc[category]).square() + variance, 0.0)
        second = torch.zeros_like(loc).index_add_(0, category, square) / count.clamp(min=1.0)
        log_variance = torch.lerp(self.log_variance.exp(), second, share).log()
        self.loc[:, :-1] = loc[:, :-1]
        least = 2.0 * math.log(_MIN_SCALE) + 1.0
        self.log_variance[:, :-1] = log_variance[:, :-1].clamp(min=least)


def follow_posterior(model: nn.Module, w: Distribution, parts: PackedParts, rate: float) -> None:
    """Move all priors of a model that follow the posterior, see :meth:`CategoryNormal.follow`."""
    for module in model.modules():
        if isinstance(module, CategoryNormal):
            module.follow(w, parts, rate)
