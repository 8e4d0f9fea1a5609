"""The generative network: from parts to the whole."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from compvae_pyg.models.parts import Parts, check_parts
from compvae_pyg.nn import resolve_batch, set_sum

__all__ = ["CompVAEGenerator", "normal_sample"]


def normal_sample(normal: Normal, generator: torch.Generator | None = None) -> Tensor:
    """Draw from a Gaussian with gradients, from an explicit source of randomness.

    Example:
        >>> normal = Normal(torch.zeros(2), torch.ones(2))
        >>> normal_sample(normal, torch.Generator().manual_seed(0)).shape
        torch.Size([2])
    """
    noise = torch.randn(
        normal.mean.shape,
        dtype=normal.mean.dtype,
        device=normal.mean.device,
        generator=generator,
    )
    return normal.mean + normal.stddev * noise


class CompVAEGenerator(nn.Module):
    r"""Generative model of CompVAE (paper, eq. 1).

    .. math::
        p(x, z, \{w_i\} \mid \{\ell_i\}) = p(x \mid z, \tilde w)\, p(z \mid \tilde w)
            \prod_i p(w_i \mid \ell_i), \qquad \tilde w = \sum_i w_i

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
        generator: torch.Generator | None = None,
    ) -> Distribution:
        r"""Draw the latents from the prior and return :math:`p(x \mid z, \tilde w)`.

        Args:
            parts: Parts, packed, N rows each.
            batch: Set of each part, ``[N]``, sorted; ``None`` means one set.
            batch_size: Number of sets :math:`S`; needed when sets are empty.
            generator: Source of the randomness; by default the global one.

        Raises:
            ValueError: If ``batch`` does not fit the parts.
        """
        num_parts, device = check_parts(parts)
        batch, batch_size = resolve_batch(num_parts, batch, batch_size, device)
        w = normal_sample(self.w_prior(parts), generator)
        w_sum = set_sum(w, batch, batch_size)
        z = normal_sample(self.z_prior(w_sum), generator)
        return self.decoder(w_sum, z)
