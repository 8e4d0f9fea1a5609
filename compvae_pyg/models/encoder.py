"""The inference network: from a whole and its parts to the latents of both."""

import copy
import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.nn.inits import reset

from compvae_pyg.distributions import (
    Coupling,
    LogVarianceNormal,
    ResidualSumControlledNormal,
    SumControlledNormal,
)
from compvae_pyg.distributions.normal import standard_normal
from compvae_pyg.nn import GraphBlock, PackedParts, Residual, checks
from compvae_pyg.nn.packed import sets_of
from compvae_pyg.nn.rows import at_least_float32

__all__ = ["CompVAEEncoder", "Posterior", "PosteriorInit"]

PosteriorInit = Literal["linear", "prior", "low_variance"]


class Posterior(NamedTuple):
    r"""Approximate posterior :math:`q(z \mid x)\, q(\{w_i\} \mid x, z, \{\ell_i\})`.

    Attributes:
        z: Distribution of the whole's latent, over ``[S, z_channels]``.
        z_sample: The draw of it on which ``w`` is conditioned, ``[S, z_channels]``.
        w: Distribution of the parts' latents, over ``[N, w_channels]``.

    Example:
        >>> encoder = CompVAEEncoder(16, 8, hidden_channels=32, w_channels=6, z_channels=4)
        >>> posterior = encoder(torch.randn(2, 16), torch.randn(3, 8), torch.tensor([0, 0, 1]))
        >>> posterior.w_sum().mean.shape
        torch.Size([2, 6])
    """

    z: Normal
    z_sample: Tensor
    w: SumControlledNormal

    def w_sum(self, weight: Tensor | None = None) -> Normal:
        r"""Return the distribution of :math:`\sum_i a_i w_i`, over ``[S, w_channels]``."""
        return self.w.sum_distribution if weight is None else self.w.weighted_sum(weight)

    def kl_w(self, w_prior: Normal) -> Tensor:
        """Return the divergence of the parts' latents from the prior that they are inferred by."""
        if isinstance(self.w, ResidualSumControlledNormal):  # its units are those of the prior
            return self.w.kl_to_prior().sum(dim=-1)
        return kl_divergence(self.w, w_prior).sum(dim=-1)


class CompVAEEncoder(nn.Module):
    r"""Message-passing inference network of CompVAE (paper, section 3.3.1).

    .. math::
        h_i^{(0)} = (x_s, z_s, l_i + \varepsilon_i), \quad
        h_i^{(k)} = \mathrm{ELU}\bigl(\mathrm{GraphBlock}(h^{(k-1)})_i\bigr), \quad
        (\mu_i, \nu_i, \tilde\rho_i) = W h_i^{(n)} + b

    where :math:`x_s` are features of the whole and :math:`l_i` features of the part, of any origin;
    :math:`z_s` is drawn from :math:`q(z \mid x)`, and :math:`\varepsilon_i \sim \mathcal{N}(0, I)`
    makes equal parts of a set differ.

    Args:
        whole_channels: Size of the features of a whole.
        part_channels: Size of the features of a part.
        hidden_channels: Width of the graph blocks.
        w_channels: Size :math:`D_w` of the latent of a part.
        z_channels: Size :math:`D_z` of the latent of a whole.
        num_blocks: Number of graph blocks.
        coupling: Form of the coupled posterior, see
            :class:`~compvae_pyg.distributions.SumControlledNormal`.
        part_noise: Whether to add :math:`\varepsilon_i` to the features of the parts. Only parts
            that differ otherwise, by a position for instance, can do without.
        z_head: Network from the features of a whole to the mean and the log-variance of
            :math:`q(z \mid x)`, ``[S, 2 * z_channels]``; by default Residual, ELU, Linear.
        w_head: Network of the states :math:`h^{(n)}` and the features of the parts, which it may
            need to know where a part is, to means, log-variances and coupling logits, row by row,
            ``[N, 3 * w_channels]``; by default a Linear of the states alone.
        prior_coupling: Whether the coupling logits of a residual posterior are offset by the
            logarithms of the prior's variances, :math:`\tilde\rho_i = \hat\rho_i + \log s_i^2`:
            given their sum alone, independent Gaussians have the ``"scaled"`` coupling with
            :math:`\rho_i = s_i^2 / \sum_j s_j^2`.
        aggr: How the graph blocks aggregate messages, see :class:`~compvae_pyg.nn.GraphBlock`; each
            gets a copy of its own.
        posterior_init: How the default ``w_head`` is initialised. ``"linear"``: as any Linear. The
            others are meant for residual posteriors: ``"prior"`` starts near the prior, with little
            coupling; ``"low_variance"`` with means spread like the prior and a tenth of its
            standard deviations, so that the decoder does not learn to ignore the latents.

    Shapes:
        - **input:** whole :math:`(S, C_x)`, parts :math:`(N, C_l)`, batch :math:`(N)`
        - **output:** a :class:`Posterior` over :math:`(S, D_z)` and :math:`(N, D_w)`

    Raises:
        TypeError, ValueError: If an argument is of another type or out of range, or
            ``posterior_init`` goes with a ``w_head``.

    Example:
        >>> encoder = CompVAEEncoder(16, 8, hidden_channels=32, w_channels=6, z_channels=4)
        >>> batch = torch.tensor([0, 0, 1])
        >>> posterior = encoder(torch.randn(2, 16), torch.randn(3, 8), batch)
        >>> posterior.w.rsample().shape, posterior.z_sample.shape
        (torch.Size([3, 6]), torch.Size([2, 4]))
    """

    @checks.check_arguments()
    def __init__(
        self,
        whole_channels: int,
        part_channels: int,
        hidden_channels: int,
        w_channels: int,
        z_channels: int,
        num_blocks: int = 3,
        coupling: Coupling = "paper",
        part_noise: bool = True,
        z_head: nn.Module | None = None,
        prior_coupling: bool = False,
        aggr: str | Aggregation = "sum",
        w_head: nn.Module | None = None,
        posterior_init: PosteriorInit = "linear",
    ) -> None:
        super().__init__()
        if w_head is not None and posterior_init != "linear":
            got = f"got {posterior_init!r}"
            raise ValueError(f"posterior_init must be 'linear' with a w_head ({got})")
        self.whole_channels, self.part_channels = whole_channels, part_channels
        self.hidden_channels = hidden_channels
        self.w_channels, self.z_channels = w_channels, z_channels
        self.coupling: Coupling = coupling
        self.part_noise = part_noise
        self.prior_coupling = prior_coupling
        self.posterior_init = posterior_init
        self.z_head = z_head or nn.Sequential(
            Residual(whole_channels), nn.ELU(), nn.Linear(whole_channels, 2 * z_channels)
        )
        self.blocks = nn.ModuleList()
        sizes = part_channels, hidden_channels, whole_channels + z_channels
        for _ in range(num_blocks):
            self.blocks.append(GraphBlock(*sizes, aggr=copy.deepcopy(aggr)))
            sizes = hidden_channels, hidden_channels, 0
        self.act = nn.ELU()
        self.w_head = w_head or _Head(hidden_channels, 3 * w_channels, posterior_init)

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        for network in (self.z_head, self.blocks, self.w_head):
            reset(network)

    def forward(
        self,
        whole: Tensor,
        parts: Tensor,
        batch: Tensor | PackedParts | None = None,
        batch_size: int | None = None,
        edge_index: Tensor | None = None,
        *,
        w_prior: Normal | None = None,
        z: Tensor | None = None,
        z_eps: Tensor | None = None,
        part_eps: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Posterior:
        r"""Infer the latents.

        Args:
            whole: Features of the wholes, ``[S, whole_channels]``.
            parts: Features of the parts, ``[N, part_channels]``.
            batch: Set of each part, ``[N]``, sorted; ``None`` means one set. Or parts that were
                checked when they were packed, whose sets are taken on trust.
            batch_size: Number of sets :math:`S`; needed when sets are empty.
            edge_index: Edges between parts; ``None`` means the complete graph of each set, for the
                sum and the mean.
            w_prior: If given, the posterior of ``w`` is parametrised relative to this prior
                :math:`\mathcal{N}(m, s^2)`: :math:`\mu_i = m_i + s_i \hat\mu_i`,
                :math:`\sigma_i = s_i \hat\sigma_i` (residual posterior, as in NVAE).
            z: The latent of the wholes to condition on, ``[S, z_channels]``; by default it is
                drawn from :math:`q(z \mid x)`.
            z_eps: The standard normal noise that :math:`z` is drawn with, ``[S, z_channels]``.
            part_eps: :math:`\varepsilon`, ``[N, part_channels]``; by default it is drawn.
            generator: Source of the randomness; by default the global one.

        Raises:
            TypeError, ValueError: If an argument does not fit, or ``edge_index`` is needed.
            IndexError: If ``edge_index`` names a part that is not there.
        """
        sets = sets_of(parts, "parts", batch, batch_size)
        checks.check_encoder_input(self, whole, parts, sets.batch_size, w_prior, z, z_eps, part_eps)
        if edge_index is None:
            checks.check_complete(self.blocks[0], GraphBlock.message)  # before anything is drawn
        z_posterior = self._z_posterior(whole)
        if z is None:
            z_eps = standard_normal(z_posterior.loc, generator) if z_eps is None else z_eps
            z = z_posterior.loc + z_posterior.scale * z_eps
        if self.part_noise:
            parts = parts + (standard_normal(parts, generator) if part_eps is None else part_eps)
        states = self._states(whole, z, parts, sets, edge_index)
        return Posterior(z_posterior, z, self._w_posterior(states, parts, sets, w_prior))

    def _z_posterior(self, whole: Tensor) -> Normal:
        r"""Return :math:`q(z \mid x)`: the first step of :meth:`forward`, without its checks."""
        of_z = checks.call_network(self.z_head, "z_head", whole=whole)
        checks.check_shape(of_z, "z_head's result", (whole.shape[0], 2 * self.z_channels))
        loc, log_variance = at_least_float32(of_z).chunk(2, dim=-1)
        return LogVarianceNormal(loc, log_variance, validate_args=False)

    def _states(
        self, whole: Tensor, z: Tensor, h: Tensor, sets: PackedParts, edge_index: Any = None
    ) -> Tensor:
        r"""Return :math:`h^{(n)}` of parts whose features h have their noise: the second step."""
        context: Tensor | None = torch.cat([whole, z.to(whole.dtype)], dim=-1)
        for block in self.blocks:
            h = self.act(block(h, edge_index, sets, context=context))
            context = None
        return h

    def _w_posterior(
        self, states: Tensor, parts: Tensor, sets: PackedParts, w_prior: Normal | None
    ) -> SumControlledNormal:
        r"""Return :math:`q(\{w_i\} \mid x, z, \{\ell_i\})` of the states: the last step."""
        of_w = checks.call_network(self.w_head, "w_head", states=states, parts=parts)
        checks.check_shape(of_w, "w_head's result", (parts.shape[0], 3 * self.w_channels))
        loc, log_variance, logits = at_least_float32(of_w).chunk(3, dim=-1)
        where = (sets, None, self.coupling, False)
        if w_prior is None:
            return SumControlledNormal(loc, torch.exp(0.5 * log_variance), logits, *where)
        if self.prior_coupling:
            logits = logits + 2.0 * w_prior.stddev.log()
        return ResidualSumControlledNormal(w_prior, loc, log_variance, logits, *where)

    def __repr__(self) -> str:
        names = ("hidden_channels", "w_channels", "z_channels", "coupling")
        options = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        sizes = f"{self.whole_channels}, {self.part_channels}, num_blocks={len(self.blocks)}"
        return f"{self.__class__.__name__}({sizes}, {options})"


class _Head(nn.Linear):
    """A Linear of the states to means, log-variances and coupling logits of a residual posterior.

    Args:
        in_channels: Size of each state.
        out_channels: Three times that of each latent.
        init: How it is initialised, see :class:`~compvae_pyg.CompVAEEncoder`.
    """

    def __init__(self, in_channels: int, out_channels: int, init: PosteriorInit) -> None:
        self.init = init
        super().__init__(in_channels, out_channels)

    def forward(self, states: Tensor, parts: Tensor | None = None) -> Tensor:
        """Return ``[N, out_channels]``."""
        return super().forward(states)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        super().reset_parameters()
        if self.init == "linear":
            return
        low = self.init == "low_variance"
        gains = (1.5 if low else 0.1, 0.1, 0.1)  # of means, log-variances and logits
        biases = (0.0, 2.0 * math.log(0.1) if low else 0.0, -3.0)
        for k in range(3):
            self.weight.chunk(3)[k].mul_(gains[k])
            self.bias.chunk(3)[k].fill_(biases[k])
