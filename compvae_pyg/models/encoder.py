"""The inference network: from a whole and its parts to the latents of both."""

import copy
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch_geometric.nn.aggr import Aggregation

from compvae_pyg.distributions import Coupling, LogVarianceNormal, SumControlledNormal
from compvae_pyg.nn import GraphBlock, Residual, at_least_float32, resolve_batch
from compvae_pyg.nn.checks import check_count, check_fits, check_real, check_shape

__all__ = ["CompVAEEncoder", "Posterior"]


class Posterior(NamedTuple):
    r"""Approximate posterior :math:`q(z \mid x)\, q(\{w_i\} \mid x, z, \{\ell_i\})`.

    Attributes:
        z: Law of the whole's latent, over ``[S, z_channels]``.
        z_sample: The draw of it on which ``w`` is conditioned, ``[S, z_channels]``.
        w: Law of the parts' latents, over ``[N, w_channels]``.
    """

    z: Normal
    z_sample: Tensor
    w: SumControlledNormal


class CompVAEEncoder(nn.Module):
    r"""Message-passing inference network of CompVAE (paper, section 3.3.1).

    .. math::
        h_i^{(0)} = (x_s, z_s, l_i + \varepsilon_i), \quad
        h_i^{(k)} = \mathrm{ELU}\bigl(\mathrm{GraphBlock}(h^{(k-1)})_i\bigr), \quad
        (\mu_i, \nu_i, \tilde\rho_i) = W h_i^{(n)} + b

    where :math:`x_s` are features of the whole and :math:`l_i` features of the part, of any origin;
    :math:`z_s` is drawn from :math:`q(z \mid x)`, and :math:`\varepsilon_i \sim \mathcal{N}(0, I)`
    tells equal parts of a set apart.

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
            need to know where a part is, to means, log-variances and coupling logits,
            ``[N, 3 * w_channels]``; by default a Linear of the states alone.
        prior_coupling: Whether a posterior in units of a prior :math:`\mathcal{N}(m, s^2)` begins
            with coupling in the ratio of the prior's variances,
            :math:`\tilde\rho_i = \hat\rho_i + \log s_i^2`: given their sum alone, independent
            Gaussians have the ``"scaled"`` coupling with :math:`\rho_i = s_i^2 / \sum_j s_j^2`.
        aggr: How the graph blocks aggregate messages, see :class:`~compvae_pyg.nn.GraphBlock`; each
            gets a copy of its own.

    Shapes:
        - **input:** whole :math:`(S, C_x)`, parts :math:`(N, C_l)`, batch :math:`(N)`
        - **output:** a :class:`Posterior` over :math:`(S, D_z)` and :math:`(N, D_w)`

    Example:
        >>> encoder = CompVAEEncoder(16, 8, hidden_channels=32, w_channels=6, z_channels=4)
        >>> batch = torch.tensor([0, 0, 1])
        >>> posterior = encoder(torch.randn(2, 16), torch.randn(3, 8), batch)
        >>> posterior.w.rsample().shape, posterior.z_sample.shape
        (torch.Size([3, 6]), torch.Size([2, 4]))
    """

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
    ) -> None:
        super().__init__()
        for name, value in (
            ("whole_channels", whole_channels),
            ("part_channels", part_channels),
            ("hidden_channels", hidden_channels),
            ("w_channels", w_channels),
            ("z_channels", z_channels),
            ("num_blocks", num_blocks),
        ):
            check_count(value, name)
        if coupling not in get_args(Coupling):
            raise ValueError(f"coupling must be 'paper' or 'scaled' (got {coupling!r})")
        if z_head is not None and not isinstance(z_head, nn.Module):
            raise TypeError(f"z_head must be a module (got {type(z_head).__name__})")
        self.whole_channels = whole_channels
        self.part_channels = part_channels
        self.hidden_channels = hidden_channels
        self.w_channels = w_channels
        self.z_channels = z_channels
        self.coupling: Coupling = coupling
        self.part_noise = part_noise
        self.prior_coupling = prior_coupling
        self.z_head = z_head or nn.Sequential(
            Residual(whole_channels), nn.ELU(), nn.Linear(whole_channels, 2 * z_channels)
        )
        in_channels = whole_channels + z_channels + part_channels
        self.blocks = nn.ModuleList(
            GraphBlock(
                in_channels if k == 0 else hidden_channels, hidden_channels, copy.deepcopy(aggr)
            )
            for k in range(num_blocks)
        )
        self.act = nn.ELU(inplace=True)
        self.head_reads_parts = w_head is not None
        self.w_head = w_head or nn.Linear(hidden_channels, 3 * w_channels)

    def forward(
        self,
        whole: Tensor,
        parts: Tensor,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        edge_index: Tensor | None = None,
        *,
        w_prior: Normal | None = None,
        z: Tensor | None = None,
    ) -> Posterior:
        r"""Infer the latents.

        Args:
            whole: Features of the wholes, ``[S, whole_channels]``.
            parts: Features of the parts, ``[N, part_channels]``.
            batch: Set of each part, ``[N]``, sorted; ``None`` means one set.
            batch_size: Number of sets :math:`S`; needed when sets are empty.
            edge_index: Edges between parts; ``None`` means the complete graph of each set, for the
                sum and the mean.
            w_prior: If given, the law of ``w`` is expressed in units of this prior
                :math:`\mathcal{N}(m, s^2)`: :math:`\mu_i = m_i + s_i \hat\mu_i`,
                :math:`\sigma_i = s_i \hat\sigma_i` (residual posterior, as in NVAE).
            z: The latent of the wholes to condition on, ``[S, z_channels]``; by default it is
                drawn from :math:`q(z \mid x)`.

        Returns:
            The posterior, and the draw of ``z`` on which it is conditioned.

        Raises:
            TypeError: If an argument is of another type than the weights.
            ValueError: If a shape or a device does not fit the others, or the aggregation needs
                ``edge_index``.
            IndexError: If ``edge_index`` names a part that is not there.
        """
        first: GraphBlock = self.blocks[0]  # type: ignore[assignment]
        check_real(parts, "parts")
        check_real(whole, "whole")
        check_shape(parts, "parts", ("N", self.part_channels))
        check_shape(whole, "whole", ("S", self.whole_channels))
        first.check_edge_index(edge_index, parts)
        if whole.device != parts.device:
            raise ValueError(
                f"whole and parts must be on one device (got {whole.device} and {parts.device})"
            )
        batch, batch_size = resolve_batch(parts.shape[0], batch, batch_size, parts.device)
        if whole.shape[0] != batch_size:
            raise ValueError(
                f"whole must have one row per set (got {whole.shape[0]} rows for {batch_size} "
                "sets); give batch_size if the last sets are empty"
            )
        weight = next(self.blocks.parameters())
        check_fits(parts, "parts", weight)
        check_fits(whole, "whole", weight)
        if w_prior is not None:
            _check_prior(w_prior, parts.shape[0], self.w_channels, parts.device)
        if z is not None:
            check_real(z, "z")
            check_shape(z, "z", (batch_size, self.z_channels))
            check_fits(z, "z", weight)
        z_loc, z_log_variance = at_least_float32(self.z_head(whole)).chunk(2, dim=-1)
        z_law = LogVarianceNormal(z_loc, z_log_variance, validate_args=False)
        z_sample = z_law.rsample() if z is None else z

        if self.part_noise:
            parts = parts + torch.randn_like(parts)
        context = torch.cat([whole, z_sample], dim=-1)
        h = parts
        for k, block in enumerate(self.blocks):
            shared = context if k == 0 else None
            h = self.act(block(h, edge_index, batch, batch_size, context=shared))
        out = at_least_float32(self.w_head(h, parts) if self.head_reads_parts else self.w_head(h))
        loc, log_variance, coupling_logits = out.chunk(3, dim=-1)
        where = (batch, batch_size, self.coupling, False)
        if w_prior is None:
            scale = torch.exp(0.5 * log_variance)
            w = SumControlledNormal(loc, scale, coupling_logits, *where)
            return Posterior(z_law, z_sample, w)
        if self.prior_coupling:
            coupling_logits = coupling_logits + 2.0 * w_prior.stddev.log()
        w = SumControlledNormal.in_units_of(w_prior, loc, log_variance, coupling_logits, *where)
        return Posterior(z_law, z_sample, w)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.whole_channels}, {self.part_channels}, "
            f"hidden_channels={self.hidden_channels}, w_channels={self.w_channels}, "
            f"z_channels={self.z_channels}, num_blocks={len(self.blocks)}, "
            f"coupling={self.coupling!r})"
        )


def _check_prior(w_prior: Any, num_parts: int, channels: int, device: torch.device) -> None:
    if not isinstance(w_prior, Normal):
        raise TypeError(f"w_prior must be a Normal (got {type(w_prior).__name__})")
    shape = w_prior.loc.shape
    padded = (1,) * (2 - len(shape)) + tuple(shape)
    if len(padded) != 2 or padded[0] not in (1, num_parts) or padded[1] not in (1, channels):
        raise ValueError(
            f"w_prior must be a law over [{num_parts}, {channels}] (got {list(shape)})"
        )
    if w_prior.loc.device != device:
        raise ValueError(
            f"w_prior must be on the parts' device (got {w_prior.loc.device}, not {device})"
        )
