"""The generative network: from parts to the whole."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from compvae_pyg.models.parts import Parts, check_parts
from compvae_pyg.models.weights import check_amounts, check_weight, weighted
from compvae_pyg.nn import resolve_batch, set_sum
from compvae_pyg.nn.checks import check_generator, check_real, check_shape
from compvae_pyg.nn.variance import root

__all__ = ["CompVAEGenerator", "normal_sample", "sample_law", "standard_normal"]


def standard_normal(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw standard normal noise of the shape and type of a tensor, from an explicit source.

    Example:
        >>> standard_normal(torch.zeros(2)).shape
        torch.Size([2])
    """
    check_generator(generator, like.device)
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)


def normal_sample(normal: Normal, generator: torch.Generator | None = None) -> Tensor:
    """Draw from a Gaussian with gradients, from an explicit source of randomness.

    Example:
        >>> normal = Normal(torch.zeros(2), torch.ones(2))
        >>> normal_sample(normal, torch.Generator().manual_seed(0)).shape
        torch.Size([2])
    """
    return normal.mean + normal.stddev * standard_normal(normal.mean, generator)


def sample_law(law: Distribution, generator: torch.Generator | None = None) -> Tensor:
    """Draw from any distribution, without gradients, from an explicit source of randomness.

    Example:
        >>> law = Normal(torch.zeros(2), torch.ones(2))
        >>> sample_law(law, torch.Generator().manual_seed(0)).shape
        torch.Size([2])
    """
    check_generator(generator)
    if generator is None:
        return law.sample()
    # A distribution draws from the global source alone, which is lent a seed for it.
    seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
    device = law.mean.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        return law.sample()


class CompVAEGenerator(nn.Module):
    r"""Generative model of CompVAE (paper, eq. 1).

    .. math::
        p(x, z, \{w_i\} \mid \{\ell_i\}) = p(x \mid z, \tilde w)\, p(z \mid \tilde w)
            \prod_i p(w_i \mid \ell_i), \qquad \tilde w = \sum_i w_i

    Parts may have weights, which are not in the paper and which the networks are not told of: then
    :math:`\tilde w = \sum_i a_i w_i`. A whole without parts has :math:`\tilde w = 0`.

    Args:
        w_prior: :math:`p(w \mid \ell)`: a module from parts to a Normal over ``[N, D_w]``.
        z_prior: :math:`p(z \mid \tilde w)`: a module from ``[S, D_w]`` to a Normal over
            ``[S, D_z]``.
        decoder: :math:`p(x \mid z, \tilde w)`: a module of ``(w_sum, z)`` that returns a
            distribution of batch shape ``[S]`` over wholes ``[S, *event]``.
            :class:`NormalNetwork` makes each of the three from a plain network.

    Example:
        >>> from compvae_pyg.models import NormalNetwork
        >>> class Decoder(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.lin = nn.Linear(4 + 2, 2 * 5)
        ...     def forward(self, w_sum, z):
        ...         return self.lin(torch.cat([w_sum, z], dim=-1))
        >>> generator = CompVAEGenerator(
        ...     w_prior=NormalNetwork(nn.Linear(3, 8), min_scale=0.01),
        ...     z_prior=NormalNetwork(nn.Linear(4, 4), min_scale=0.01),
        ...     decoder=NormalNetwork(Decoder(), min_scale=0.01, event_dims=1),
        ... )
        >>> whole = generator(torch.randn(6, 3), torch.tensor([0, 0, 1, 1, 1, 2]))
        >>> whole.mean.shape
        torch.Size([3, 5])
    """

    def __init__(self, w_prior: nn.Module, z_prior: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.w_prior = w_prior
        self.z_prior = z_prior
        self.decoder = decoder

    def forward(
        self,
        parts: Parts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Distribution:
        r"""Draw the latents from the prior and return :math:`p(x \mid z, \tilde w)`.

        Args:
            parts: Parts, packed, N rows each.
            batch: Set of each part, ``[N]``, sorted; ``None`` means one set.
            batch_size: Number of sets :math:`S`; needed when sets are empty.
            weight: Weight :math:`a` of each part, ``[N]``, of any sign; by default 1.
            generator: Source of the randomness; by default the global one.

        Raises:
            ValueError: If ``batch`` or ``weight`` does not fit the parts.
        """
        num_parts, device = check_parts(parts)
        batch, batch_size = resolve_batch(num_parts, batch, batch_size, device)
        w_prior = self.w_prior(parts)
        weight = check_weight(weight, num_parts, w_prior.mean)
        w = normal_sample(w_prior, generator)
        return self.decode(set_sum(weighted(w, weight), batch, batch_size), generator)

    def decode(self, w_sum: Tensor, generator: torch.Generator | None = None) -> Distribution:
        r"""Draw :math:`z \sim p(z \mid \tilde w)` and return :math:`p(x \mid z, \tilde w)`.

        Args:
            w_sum: Latents of the aggregates, ``[S, D_w]``.
            generator: Source of the randomness; by default the global one.

        Raises:
            TypeError: If an argument is of another type.
            ValueError: If ``w_sum`` is no matrix.
        """
        check_real(w_sum, "w_sum")
        check_shape(w_sum, "w_sum", ("S", "D_w"))
        return self.decoder(w_sum, normal_sample(self.z_prior(w_sum), generator))

    def w_sum_prior(
        self,
        parts: Parts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        weight: Tensor | None = None,
    ) -> Normal:
        r"""Law of the aggregate, exact, a Normal over ``[S, D_w]``.

        .. math::
            p(\tilde w \mid \{\ell_i\}) = \mathcal{N}\Bigl(
                \sum_i a_i m_{\ell_i}, \sum_i a_i^2 s_{\ell_i}^2 \Bigr), \qquad
            p(w \mid \ell) = \mathcal{N}(m_\ell, s_\ell^2)

        Arguments and errors are those of :meth:`forward`.
        """
        num_parts, device = check_parts(parts)
        batch, batch_size = resolve_batch(num_parts, batch, batch_size, device)
        w_prior = self.w_prior(parts)
        weight = check_weight(weight, num_parts, w_prior.mean)
        mean = set_sum(weighted(w_prior.mean, weight), batch, batch_size)
        variance = set_sum(weighted(w_prior.stddev, weight).square(), batch, batch_size)
        return Normal(mean, root(variance), validate_args=False)

    def amounts_prior(
        self, amounts: Tensor, parts: Parts, *, weight: Tensor | None = None
    ) -> Normal:
        r"""Law of the aggregate of wholes described by amounts, a Normal over ``[S, D_w]``.

        .. math::
            p(\tilde w \mid n) = \mathcal{N}\Bigl(
                \sum_c n_c a_c m_c, \sum_c n_c a_c^2 s_c^2 \Bigr)

        This is the law of :meth:`w_sum_prior` with :math:`n_c` parts of each kind :math:`c`, at the
        cost of one part of each. Fractions lie between: 2.5 parts have the mean and the variance
        of one part 2.5 times.

        Args:
            amounts: How many parts of each kind a whole has, :math:`n`, ``[S, C]``: integers or
                real numbers, not negative.
            parts: Descriptions of the kinds, C rows each.
            weight: Weight :math:`a` of every part of a kind, ``[C]``, of any sign; by default 1.

        Raises:
            TypeError: If ``amounts`` is not a tensor of numbers.
            ValueError: If ``amounts`` is not ``[S, C]``, negative or not finite, or ``weight`` does
                not fit the parts.
        """
        num_kinds, _ = check_parts(parts)
        w_prior = self.w_prior(parts)
        amounts = check_amounts(amounts, num_kinds, w_prior.mean)
        weight = check_weight(weight, num_kinds, w_prior.mean)
        # In 64 bits, since amounts in the thousands survive neither autocast nor the products of
        # ten bits that GPUs are often allowed to make of 32.
        number = amounts.double()
        mean = number @ weighted(w_prior.mean, weight).double()
        variance = number @ weighted(w_prior.stddev, weight).double().square()
        dtype = w_prior.mean.dtype
        return Normal(mean.to(dtype), root(variance).to(dtype), validate_args=False)
