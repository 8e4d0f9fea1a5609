r"""Networks for curves that are made of parts of a few categories.

The latent of a part is a table of groups of numbers (:class:`CategoryNormal`). What the networks
are of is learned: which categories use which groups, waveforms, what adds up and what saturates.
They hold for more parts than in training, since the sum of the parts counts them:

- the decoder reads each group of the sum by one network, whose outputs over the number of parts
  weigh learned waveforms, which a network sees sample by sample;
- the inference network sees the whole over its number of parts, and each part looks up what a
  linear map of that shows of its category, over how many parts it shares it with.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch_geometric.nn.inits import reset
from torch_geometric.utils import scatter

from compvae_pyg.distributions import Coupling, floor_log_variance
from compvae_pyg.models import CompVAE, CompVAEEncoder, register_architecture
from compvae_pyg.networks.building_blocks import (
    AggregateNormal,
    activated,
    gaussian_compvae,
    whole_posterior,
)
from compvae_pyg.networks.category_normal import CategoryNormal
from compvae_pyg.nn import Fields, PackedParts, Residual, ZeroLinear
from compvae_pyg.nn.checks import check_categories, check_options
from compvae_pyg.nn.rows import at_least_float32, gather

__all__ = ["build_category_curves"]


class GroupDecoder(nn.Module):
    r"""Curve from the table of all parts: weighted waveforms, seen sample by sample.

    .. math::
        y(t) = \sum_{g} \sum_j \frac{f_j(\tilde w_g; g)}{\hat k}\, u_{g j}(t) + b(t), \qquad
        \bigl(\mu(t) / \hat k,\ \log \sigma^2(t) / \hat k^2 \bigr) = h(y(t))

    with networks :math:`f`, the same for all groups but for a bias, and :math:`h`, the same for all
    samples; learned waveforms :math:`u`; and the number of parts :math:`\hat k`, the last number of
    the sum. The log-variance also has a term in :math:`\log \hat k`.
    """

    def __init__(
        self,
        length: int,
        num_groups: int,
        channels: int,
        z_channels: int,
        hidden_channels: int,
        point_channels: int,
        min_relative_scale: float,
        num_weights: int = 4,
        num_curves: int = 6,
    ) -> None:
        super().__init__()
        self.length, self.num_groups, self.num_curves = length, num_groups, num_curves
        self.min_relative_scale = min_relative_scale
        self.group = nn.Linear(channels, hidden_channels)
        self.which = nn.Parameter(torch.empty(num_groups, hidden_channels))
        residual = [Residual(hidden_channels), nn.ELU(), Residual(hidden_channels), nn.ELU()]
        self.groups = nn.Sequential(nn.ELU(), *residual, nn.Linear(hidden_channels, num_weights))
        self.z_lin = ZeroLinear(z_channels, num_groups * num_weights)
        self.waves = nn.Linear(num_groups * num_weights, length * num_curves)
        sizes = (num_curves, point_channels, point_channels)
        layers = (nn.Linear(*pair) for pair in pairwise(sizes))
        self.point = nn.Sequential(*activated(*layers), nn.Linear(point_channels, 2))
        self.by_size = ZeroLinear(1, 1)
        self._steepen()

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        for network in self.children():
            reset(network)
        self._steepen()

    @torch.no_grad()
    def _steepen(self) -> None:
        # A ring is the image of a Gaussian only if what is near its middle is driven apart.
        self.group.weight.mul_(4.0)
        nn.init.normal_(self.which, std=0.3)

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return means and log-variances of the samples, ``[S, 2 T]``."""
        size = w_sum[:, -1:].clamp(min=0.5)
        table = w_sum[:, :-1].reshape(w_sum.shape[0] * self.num_groups, -1)
        h = self.group(table).unflatten(0, (-1, self.num_groups)) + self.which
        weights = self.groups(h.flatten(0, 1)).view(w_sum.shape[0], -1) + self.z_lin(z)
        y = self.waves(weights / size).view(-1, self.num_curves)
        loc, spread = self.point(y).view(-1, self.length, 2).unbind(dim=2)
        # Near the smallest at first: the decoder ignores latents that are lost in noise.
        spread = spread + self.by_size(size.log()) + 2.0 * math.log(self.min_relative_scale) + 1.0
        spread = floor_log_variance(spread, self.min_relative_scale)
        return torch.cat([size * loc, spread + 2.0 * size.log()], dim=1)


class LookUpEmbedding(nn.Module):
    r"""Features of curves and parts; those of a part are what the curve shows of its category.

    A curve is read over its number of parts, :math:`x / K`, and through a network that sees one
    sample at a time, and then a few neighbouring ones.
    """

    def __init__(
        self,
        num_categories: int,
        length: int,
        whole_channels: int,
        part_channels: int,
        point_channels: int,
        shown_channels: int = 32,
        num_curves: int = 6,
    ) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.local = nn.Sequential(
            *activated(
                nn.Conv1d(1, point_channels, 1),
                nn.Conv1d(point_channels, point_channels, 1),
                nn.Conv1d(point_channels, num_curves, 5, padding=2),
            )
        )
        self._steepen()
        self.analyse = nn.Linear((num_curves + 1) * length, num_categories * shown_channels)
        self.act = nn.ELU()
        self.res = Residual(shown_channels)
        self.whole = nn.Linear(num_categories * shown_channels, whole_channels)
        self.category = nn.Embedding(num_categories, part_channels)
        self.part = nn.Linear(2 * shown_channels + 2, part_channels)

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        for network in self.children():
            reset(network)
        self._steepen()

    @torch.no_grad()
    def _steepen(self) -> None:
        # So that small differences of a sample show, as between those that are nearly saturated.
        for parameter in self.local[0].parameters():
            parameter.mul_(4.0)

    def forward(self, whole: Tensor, parts: Fields, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of curves, ``[S, C_x]``, and of parts, ``[N, C_l]``."""
        category = check_categories(parts, self.num_categories)
        sets = PackedParts(category, batch, whole.shape[0], validate=False)
        size = sets.sizes(whole.dtype).clamp(min=1.0).unsqueeze(1)
        relative = (at_least_float32(whole) / size).to(whole.dtype)
        local = self.local(relative.unsqueeze(1)).flatten(1)
        shown = self.analyse(torch.cat([relative, local], dim=1))
        # Times the size, so that equal parts give the same in curves of any size.
        table = (shown * size).view(-1, self.res.channels)
        table = torch.cat([table, self.act(self.res(self.act(table)))], dim=1)
        row = batch * self.num_categories + category
        # Rows are not sorted: what packed parts sum up lies set by set.
        ones = torch.ones_like(row, dtype=size.dtype)
        alike = gather(scatter(ones, row, 0, table.shape[0], reduce="sum"), row).unsqueeze(1)
        counts = torch.cat([alike, sets.broadcast(size)], dim=1).log()
        looked_up = torch.cat([gather(table, row) / alike, counts], dim=1).to(table.dtype)
        return self.whole(self.act(shown)), self.category(category) + self.part(looked_up)


@register_architecture("networks", "category_curves")
@check_options
def build_category_curves(
    length: int,
    num_categories: int = 10,
    num_groups: int = 12,
    channels: int = 4,
    hidden_channels: int = 96,
    group_channels: int = 64,
    point_channels: int = 16,
    part_channels: int = 32,
    whole_channels: int = 32,
    z_channels: int = 8,
    num_blocks: int = 2,
    coupling: Coupling = "scaled",
    min_relative_scale: float = 0.015,
    aggr: str = "sum",
) -> CompVAE:
    """Build networks for curves whose parts are described by a category.

    They are meant to be trained with ``fit_prior``, ``code_matching`` and ``noise`` of
    :class:`~compvae_pyg.training.Stage`.

    Args:
        length: Number T of points of a curve.
        num_categories: Number of categories, the field ``category`` of the parts.
        num_groups: Groups of numbers in the latent of a part.
        channels: Numbers in each.
        hidden_channels: As all others, see :class:`~compvae_pyg.models.CompVAEEncoder`.
        group_channels: Width of the network that reads a group.
        point_channels: Width of the one that sees a sample.
        min_relative_scale: Smallest standard deviation of a sample of the curve, in units of the
            number of parts.

    Raises:
        TypeError, ValueError: If an argument is of another type or out of range.

    Example:
        >>> model = build_category_curves(length=50, num_categories=3)
        >>> model.generate({"category": torch.tensor([0, 2])}).shape
        torch.Size([1, 50])
    """
    w_channels = num_groups * channels + 1
    return gaussian_compvae(
        encoder=CompVAEEncoder(
            whole_channels,
            part_channels,
            hidden_channels,
            w_channels=w_channels,
            z_channels=z_channels,
            num_blocks=num_blocks,
            coupling=coupling,
            z_head=whole_posterior(whole_channels, z_channels),
            # Most parts have next to no variance in a group, and are to have no share of its noise.
            prior_coupling=True,
            aggr=aggr,
            posterior_init="low_variance",
        ),
        w_prior=CategoryNormal(num_categories, num_groups, channels),
        z_prior=AggregateNormal(w_channels, z_channels, hidden_channels),
        decoder=GroupDecoder(
            length,
            num_groups,
            channels,
            z_channels,
            group_channels,
            point_channels,
            min_relative_scale,
        ),
        embedding=LookUpEmbedding(
            num_categories, length, whole_channels, part_channels, point_channels
        ),
        event_shape=(length,),
        min_scale=1e-3,
        min_whole_scale=1e-6,
        residual_posterior=True,
    )
