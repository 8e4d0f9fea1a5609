"""The generative network: from parts to the whole."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch_geometric.nn.inits import reset
from typing_extensions import Unpack

from compvae_pyg.distributions.normal import normal_sample, root
from compvae_pyg.nn import AnyParts, Fields, PackedParts, checks
from compvae_pyg.nn.packed import PartOptions

__all__ = ["CompVAEGenerator"]


@checks.check_methods
class CompVAEGenerator(nn.Module):
    r"""Generative model of CompVAE (paper, eq. 1).

    .. math::
        p(x, z, \{w_i\} \mid \{\ell_i\}) = p(x \mid z, \tilde w)\, p(z \mid \tilde w)
            \prod_i p(w_i \mid \ell_i), \qquad \tilde w = \sum_i a_i w_i

    with the weights :math:`a_i` of the parts, 1 in the paper. The latent of a row that stands for
    :math:`n` parts (see :class:`~compvae_pyg.nn.PackedParts`) is the sum of theirs,
    :math:`\mathcal{N}(n m_\ell, n s_\ell^2)`. A whole without parts has :math:`\tilde w = 0`.

    Each of the three networks may read the ``context`` of the wholes beside all else,
    :math:`p(w \mid \ell, c)`, :math:`p(z \mid \tilde w, c)`, :math:`p(x \mid z, \tilde w, c)`: one
    whose ``forward`` has an argument of that name is given it, a row for each of the other inputs.

    What the networks return is checked in the three methods that call them: :meth:`prior_w`,
    :meth:`prior_z`, :meth:`likelihood`.

    Args:
        w_prior: :math:`p(w \mid \ell)`: a module from the fields of the parts to a Normal over
            ``[N, D_w]``.
        z_prior: :math:`p(z \mid \tilde w)`: a module from ``[S, D_w]`` to a Normal over
            ``[S, D_z]``.
        decoder: :math:`p(x \mid z, \tilde w)`: a module of ``(w_sum, z)`` that returns a
            distribution of batch shape ``[S]`` over wholes ``[S, *event]``.
            :class:`~compvae_pyg.NormalNetwork` makes each of the three from a plain network.

    Raises:
        TypeError, ValueError: By all methods, if an argument is of another type or does not fit, or
            a network returns anything but the above.

    Example:
        >>> from compvae_pyg import NormalNetwork
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
        >>> generator(torch.randn(6, 3), torch.tensor([0, 0, 1, 1, 1, 2])).mean.shape
        torch.Size([3, 5])
    """

    @checks.check_arguments()
    def __init__(self, w_prior: nn.Module, z_prior: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.w_prior = w_prior
        self.z_prior = z_prior
        self.decoder = decoder

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        numbers = chain(self.parameters(), self.buffers())
        dtypes = (value.dtype for value in numbers if value.is_floating_point())
        return next(dtypes, torch.get_default_dtype())

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        for network in (self.w_prior, self.z_prior, self.decoder):
            reset(network)

    def pack(self, parts: AnyParts, *args: Any, **options: Any) -> PackedParts:
        """Return parts as they come in as one value, real fields in the type of the weights.

        Arguments and errors are those of :meth:`PackedParts.of`.
        """
        packed = PackedParts.of(parts, *args, **options).to(dtype=self.dtype)
        if packed.context is not None:
            checks.check_reads(self, self.w_prior, self.z_prior, self.decoder)
        return packed

    def prior_w(self, parts: PackedParts) -> Normal:
        r"""Return :math:`p(w_i \mid \ell_i)` of each row, a Normal over ``[N, D_w]``."""
        context = parts.part_context
        prior = checks.call_network(self.w_prior, "w_prior", context, fields=parts.fields)
        checks.check_normal(prior, "w_prior's result", parts.num_parts)
        if parts.count is None:
            return prior
        count = parts.count.to(prior.loc.dtype).unsqueeze(-1)
        return Normal(count * prior.loc, root(count) * prior.scale, validate_args=False)

    def prior_z(self, w_sum: Tensor, context: Fields | None = None) -> Normal:
        r"""Return :math:`p(z \mid \tilde w)`, a Normal over ``[S, D_z]``."""
        prior = checks.call_network(self.z_prior, "z_prior", context, w_sum=self._cast(w_sum))
        checks.check_normal(prior, "z_prior's result", w_sum.shape[0])
        return prior

    def likelihood(self, w_sum: Tensor, z: Tensor, context: Fields | None = None) -> Distribution:
        r"""Return :math:`p(x \mid z, \tilde w)`, of batch shape ``[S]``."""
        latents = {"w_sum": self._cast(w_sum), "z": self._cast(z)}
        likelihood = checks.call_network(self.decoder, "decoder", context, **latents)
        return checks.check_likelihood(likelihood, w_sum.shape[0])

    def forward(
        self,
        parts: AnyParts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        generator: torch.Generator | None = None,
        **options: Unpack[PartOptions],
    ) -> Distribution:
        r"""Draw the latents from the prior and return :math:`p(x \mid z, \tilde w)`.

        Args:
            parts: Fields of the parts, N rows each; or packed parts, or a PyG ``Batch``. What goes
                with them (``batch``, ``batch_size``, ``count``, ``weight``, ``context``), and what
                is raised, is that of :class:`~compvae_pyg.nn.PackedParts`.
            generator: Source of the randomness; by default the global one.
        """
        parts = self.pack(parts, batch, batch_size, **options)
        w = normal_sample(self.prior_w(parts), generator)
        return self.decode(parts.weighted_sum(w), generator, parts.context)

    def decode(
        self, w_sum: Tensor, generator: torch.Generator | None = None, context: Fields | None = None
    ) -> Distribution:
        r"""Draw :math:`z \sim p(z \mid \tilde w)` and return :math:`p(x \mid z, \tilde w)`.

        Args:
            w_sum: Latents of the aggregates, ``[S, D_w]``.
            generator: Source of the randomness; by default the global one.
            context: Conditions of the wholes, ``S`` rows.
        """
        checks.check_real(w_sum, "w_sum")
        checks.check_shape(w_sum, "w_sum", ("S", "D_w"))
        z = normal_sample(self.prior_z(w_sum, context), generator)
        return self.likelihood(w_sum, z, context)

    def w_sum_prior(
        self,
        parts: AnyParts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        **options: Unpack[PartOptions],
    ) -> Normal:
        r"""Return the exact distribution of the aggregate, a Normal over ``[S, D_w]``.

        .. math::
            p(\tilde w \mid \{\ell_i\}) = \mathcal{N}\Bigl(
                \sum_i n_i a_i m_{\ell_i}, \sum_i n_i a_i^2 s_{\ell_i}^2 \Bigr), \qquad
            p(w \mid \ell) = \mathcal{N}(m_\ell, s_\ell^2)

        Arguments and errors are those of :meth:`forward`.
        """
        parts = self.pack(parts, batch, batch_size, **options)
        prior = self.prior_w(parts)
        variance = parts.sum(parts.weighted(prior.stddev).square())
        return Normal(parts.weighted_sum(prior.mean), root(variance), validate_args=False)

    def counts_prior(
        self, counts: Tensor, parts: PackedParts | Fields, *, weight: Tensor | None = None
    ) -> Normal:
        r"""Return the distribution of aggregates with counts of the same kinds, ``[S, D_w]``.

        That of :meth:`w_sum_prior`, of a dense matrix of counts.

        Args:
            counts: How many parts of each kind a whole has, ``[S, C]``: integers or real numbers,
                not negative.
            parts: Fields of the kinds, C rows each.
            weight: Weight :math:`a` of every part of a kind, ``[C]``, of any sign; by default 1.

        Raises:
            TypeError, ValueError: If ``counts`` or ``weight`` is not as above.
        """
        parts = self.pack(parts, weight=weight)
        checks.check_counts_matrix(counts, parts.num_parts, parts.device)
        prior = self.prior_w(parts)
        # In 64 bits: counts in the thousands survive neither autocast nor the products of ten bits
        # that GPUs are often allowed to make of 32.
        number = counts.double()
        mean = number @ parts.weighted(prior.mean).double()
        variance = number @ parts.weighted(prior.stddev).double().square()
        dtype = prior.mean.dtype
        return Normal(mean.to(dtype), root(variance).to(dtype), validate_args=False)

    def _cast(self, latent: Tensor) -> Tensor:
        # Latents have at least 32 bits; networks of half precision take their own.
        return latent.to(self.dtype)
