r"""Networks for curves that grow with the number of their parts, as the load of homes does.

What is expected of a whole, and its variance, are sums of what is expected of its parts; what a
part does on its own grows with the root of their number :math:`K`, what they share grows with
:math:`K`:

.. math::
    \mu = e^{f + g} \sum_i a(\ell_i, c)\, e^{h(z)} B, \qquad
    \sigma^2 = e^{2 (f' + g')} \sum_i a'(\ell_i, c)\, e^{h'(z)} B', \qquad
    f, f' = f\bigl(\tilde w / K, 1 / \sqrt K, c\bigr), \quad g, g' = g\bigl(\tilde a / K, c, z\bigr)

The latent of a part holds 1, whose sum is :math:`K`, its codes :math:`a, a'` and its style, a few
numbers of what the fields do not determine: read per part, :math:`\tilde w / K`, style varies as
:math:`1 / \sqrt K`. Without a context the latent of the whole, which is then the day, is a gain of
each code, :math:`h`: what it says holds for each home of a kind, however many there are, and of
which other kinds. With one, it says what the context leaves, beside the composition alone. All of
it is bounded.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution
from torch_geometric.nn.inits import reset

from compvae_pyg.distributions import Family, NormalNetwork, observation
from compvae_pyg.distributions.normal import StandardNormal
from compvae_pyg.models import CompVAE, CompVAEEncoder, CompVAEGenerator, register_architecture
from compvae_pyg.networks.building_blocks import (
    StyleHead,
    activated,
    whole_posterior,
)
from compvae_pyg.networks.fields import FieldEmbedding, read_fields
from compvae_pyg.networks.normalization import Conditions
from compvae_pyg.nn import Fields, PackedParts, Residual, ZeroLinear
from compvae_pyg.nn.checks import can_look, check_choice, check_count, check_options

__all__ = ["build_loads"]

_CODE_SCALE = 1e-3  # of what a part's latent holds beside style: known, but for a density
_MAX_LOG = 2.5  # of a factor of the mean or the standard deviation
_MAX_CORRELATION = 4.0
_SMALLEST = 0.02  # mean and standard deviation of a part at a point, in units of a part's load
_MIN_RATIO = 0.02  # of standard deviation and mean, times the root of the number of parts


def bounded(x: Tensor, largest: float) -> Tensor:
    r"""Return :math:`b \tanh(x / b)`, the identity near zero."""
    return largest * torch.tanh(x / largest)


class PartNetwork(nn.Module):
    """A network of the fields of a part and, if there are channels of it, the context.

    It keeps in mind which categories it was trained with, and warns of others on the CPU, as of
    fields that it does not read.
    """

    seen: Tensor

    def __init__(
        self,
        fields: Mapping[str, Mapping[str, int]],
        context_channels: int,
        out_channels: int,
        hidden_channels: int,
    ) -> None:
        super().__init__()
        self.embedding = FieldEmbedding(fields, hidden_channels, hidden_channels // 2)
        self.categories = {n: k["num_categories"] for n, k in fields.items() if "channels" not in k}
        self.register_buffer("seen", torch.zeros(sum(self.categories.values()), dtype=torch.bool))
        self.conditions = Conditions(context_channels) if context_channels else None
        self.net = nn.Sequential(
            *activated(
                nn.Linear(hidden_channels + context_channels, hidden_channels),
                Residual(hidden_channels),
            ),
            nn.Linear(hidden_channels, out_channels),
        )

    @property
    def takes_context(self) -> bool:
        """Whether the context is read."""
        return self.conditions is not None

    def forward(self, parts: Fields, context: Tensor | None = None) -> Tensor:
        """Return one row for each part, ``[N, out_channels]``."""
        rows = [self.embedding(parts)]
        self._note(parts)
        if self.conditions is not None:
            rows.append(self.conditions(required(context)))
        out: Tensor = self.net(torch.cat(rows, dim=1))
        return out

    @torch.no_grad()
    def _note(self, parts: Fields) -> None:
        """Keep in mind the categories of training, and warn of others."""
        first = 0
        known = self.embedding.names
        if not self.training and not isinstance(parts, Tensor) and can_look(parts[known[0]]):
            if unread := sorted(parts.keys() - set(known)):
                warnings.warn(
                    f"parts must have no fields but those of training, {list(known)}: {unread} are "
                    "not read",
                    stacklevel=2,
                )
        for name, number in self.categories.items():
            category = parts if isinstance(parts, Tensor) else parts[name]
            seen = self.seen[first : first + number]
            first += number
            if self.training:
                seen.index_fill_(0, category, True)
            elif can_look(category) and bool(self.seen.any()):
                new = ~seen[category]
                if bool(new.any()):
                    got = int(category[new][0])
                    warnings.warn(f"{name} {got} was never seen in training", stacklevel=2)


def required(context: Tensor | None) -> Tensor:
    """Return the context, or raise a ValueError if there is none."""
    if context is None:
        raise ValueError("context must be given: the networks were built to read it (got None)")
    return context


class LoadPrior(nn.Module):
    """Mean and log-variance of p(w|l,c): one, the codes of a part, and standard normal style."""

    def __init__(self, network: PartNetwork, style_channels: int, positive: bool) -> None:
        super().__init__()
        self.network = network
        self.style_channels = style_channels
        self.positive = positive

    @property
    def takes_context(self) -> bool:
        """Whether the context is read."""
        return self.network.takes_context

    def forward(self, parts: Fields, context: Tensor | None = None) -> Tensor:
        """Return means and log-variances, ``[N, 2 D_w]``."""
        of_mean, of_variance = self.network(parts, context).chunk(2, dim=1)
        of_mean = F.softplus(of_mean) if self.positive else of_mean
        ones = of_mean.new_ones(len(of_mean), 1)
        style = of_mean.new_zeros(len(of_mean), self.style_channels)
        known = torch.cat([ones, of_mean, F.softplus(of_variance)], dim=1)
        sure = torch.full_like(known, 2.0 * math.log(_CODE_SCALE))
        return torch.cat([known, style, sure, style], dim=1)


class SharedPrior(nn.Module):
    r"""Mean and log-variance of p(z | K) of a hidden day, :math:`a + b / K` both, learned.

    What is inferred of the day from few homes is theirs as well, and spreads further: with one
    prior for all K, the days of many homes would be spread as those of one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.moments = nn.Parameter(torch.zeros(2, 2 * channels))

    def reset_parameters(self) -> None:
        """Make it standard normal."""
        nn.init.zeros_(self.moments)

    def forward(self, w_sum: Tensor) -> Tensor:
        """Return means and log-variances, ``[S, 2 D_z]``, of aggregates ``[S, D_w]``."""
        many, one = self.moments
        return many + one / w_sum[:, :1].clamp(min=1.0)


class LoadDecoder(nn.Module):
    r"""The distribution of a whole: see the module, and :func:`observation` for its correlations.

    For curves of any sign, factors and gains of the mean are shifts, in units of loads of a part.
    """

    def __init__(
        self,
        length: int,
        codes: int,
        style_channels: int,
        z_channels: int,
        context_channels: int,
        hidden_channels: int,
        rank: int,
        family: Family,
        unit: float,
    ) -> None:
        super().__init__()
        self.codes, self.length, self.rank = codes, length, rank
        self.family: Family = family
        self.unit = unit
        self.conditions = Conditions(context_channels) if context_channels else None
        self.mean_basis = nn.Parameter(torch.empty(codes, length))
        self.variance_basis = nn.Parameter(torch.empty(codes, length))
        known = 2 * codes + context_channels
        self.trunk = nn.Sequential(
            *activated(
                nn.Linear(known + style_channels + 1, hidden_channels),
                Residual(hidden_channels),
                Residual(hidden_channels),
            )
        )
        self.factors = ZeroLinear(hidden_channels, 2 * length)
        self.correlation = nn.Linear(hidden_channels, length * rank) if rank else None
        # How z is read: beside a given day, or as the day.
        read, said = (known + z_channels, length) if context_channels else (z_channels, codes)
        self.shared = nn.Sequential(
            *activated(nn.Linear(read, hidden_channels), Residual(hidden_channels)),
            ZeroLinear(hidden_channels, 2 * said),
        )
        self._init_bases()

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        for module in self.children():
            reset(module)
        self._init_bases()

    @torch.no_grad()
    def _init_bases(self) -> None:
        # A code is about 0.8 at first, and softplus(-0.5) about 0.5.
        for basis in (self.mean_basis, self.variance_basis):
            basis.normal_(mean=-0.5, std=0.5)

    @property
    def takes_context(self) -> bool:
        """Whether the context is read."""
        return self.conditions is not None

    def forward(self, w_sum: Tensor, z: Tensor, context: Tensor | None = None) -> Distribution:
        """Return the distribution of wholes, ``[S, T]``."""
        size = w_sum[:, :1].clamp(min=0.5)
        per_part = w_sum[:, 1:] / size
        of_mean, of_variance, style = per_part.tensor_split((self.codes, 2 * self.codes), dim=1)
        if self.family != "normal":
            of_mean = of_mean.clamp(min=0.0)
        of_variance = of_variance.clamp(min=0.0)
        if self.conditions is None:
            gain, of_spread = bounded(self.shared(z), _MAX_LOG).chunk(2, dim=1)
            of_mean = of_mean + gain if self.family == "normal" else of_mean * gain.exp()
            of_variance = of_variance * of_spread.exp()
        known = torch.cat([of_mean, of_variance], dim=1)
        if self.conditions is not None:
            known = torch.cat([known, self.conditions(required(context))], dim=1)
        h = self.trunk(torch.cat([known, style, size.rsqrt()], dim=1))
        factors = self.factors(h)
        if self.conditions is not None:
            factors = factors + self.shared(torch.cat([known, z], dim=1))
        of_loc, of_scale = bounded(factors, _MAX_LOG).chunk(2, dim=1)
        share = 2.0 / self.codes  # so that all codes together make about one unit at first
        std = share * of_variance @ F.softplus(self.variance_basis)
        std = (std.sqrt() + _SMALLEST) * of_scale.exp()
        if self.family == "normal":
            mean = share * of_mean @ self.mean_basis + of_loc
        else:
            mean = share * of_mean @ F.softplus(self.mean_basis)
            mean = (mean + _SMALLEST) * of_loc.exp()
            std = std + _MIN_RATIO * mean
        factor = None
        if self.correlation is not None:
            factor = self.correlation(h).view(-1, self.length, self.rank)
            factor = bounded(factor, _MAX_CORRELATION)
        mean, std = self.unit * size * mean, self.unit * size.sqrt() * std
        return observation(self.family, mean, std, factor)


class LoadEmbedding(nn.Module):
    """Features of wholes, read per part, and of parts."""

    def __init__(
        self,
        fields: Mapping[str, Mapping[str, int]],
        length: int,
        whole_channels: int,
        part_channels: int,
        context_channels: int,
        hidden_channels: int,
        positive: bool,
        unit: float,
    ) -> None:
        super().__init__()
        self.unit, self.positive = unit, positive
        self.part = FieldEmbedding(fields, part_channels, part_channels)
        self.composition = FieldEmbedding(fields, part_channels, part_channels)
        self.conditions = Conditions(context_channels) if context_channels else None
        width = (2 if positive else 1) * length + part_channels + context_channels + 2
        self.net = nn.Sequential(
            *activated(nn.Linear(width, hidden_channels), Residual(hidden_channels)),
            nn.Linear(hidden_channels, whole_channels),
        )

    @property
    def takes_context(self) -> bool:
        """Whether the context is read."""
        return self.conditions is not None

    def forward(
        self, whole: Tensor, parts: Fields, batch: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return features of wholes, ``[S, C_x]``, and of parts, ``[N, C_l]``."""
        sets = PackedParts(batch, batch, len(whole), validate=False)
        size = sets.sizes(whole.dtype).clamp(min=1.0).unsqueeze(1)
        x = whole / (size * self.unit)
        seen = [x, sets.sum(self.composition(parts)) / size, size.log(), size.rsqrt()]
        if self.positive:
            seen.append(0.5 * (x.clamp(min=0.0) + 0.02).log() + 0.5)
        if self.conditions is not None:
            seen.append(self.conditions(required(context)))
        return self.net(torch.cat(seen, dim=1)), self.part(parts)


@register_architecture("networks", "loads")
@check_options
def build_loads(
    fields: Mapping[str, Mapping[str, int]],
    length: int,
    context_channels: int = 0,
    unit: float = 1.0,
    family: Family = "power",
    rank: int = 6,
    codes: int = 16,
    style_channels: int = 12,
    z_channels: int = 8,
    hidden_channels: int = 128,
    part_hidden_channels: int = 64,
    part_channels: int = 32,
    whole_channels: int = 64,
    num_blocks: int = 2,
) -> CompVAE:
    r"""Build networks for curves that grow with the number of their parts, from 1 to 10,000.

    The mean of a whole grows with the number of parts :math:`K`, its spread with
    :math:`\sqrt K`, and with :math:`K` where parts share what z or the context says. What is
    generated is a draw unless ``observation_noise=False`` asks for the mean.

    Args:
        fields: What describes a part: :class:`Categorical` and :class:`Continuous` fields by name.
        length: Number T of points of a curve; wholes are ``[S, T]``.
        context_channels: How many numbers the context of a whole has, which all networks read; 0
            for none: what the parts share is then left to z.
        unit: A typical value of a curve of one part, in units of the data.
        family: Distribution of a whole, see :func:`~compvae_pyg.distributions.observation`:
            ``"power"`` or, of heavier tails, ``"lognormal"`` for positive curves, ``"normal"`` for
            all.
        rank: Rank of the correlations between points that the latents leave.
        codes: How many profiles the expected curve of a part is made of, and its variance.
        style_channels: How many numbers of a part's latent the fields do not determine.
        z_channels: Size of the latent of a whole.
        hidden_channels: Width of the networks of wholes.
        part_hidden_channels: Width of those of parts, of which there are more.
        part_channels, whole_channels, num_blocks: As of
            :class:`~compvae_pyg.models.CompVAEEncoder`.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If an argument is out of range.

    Example:
        >>> from compvae_pyg.networks import Categorical
        >>> model = build_loads(
        ...     fields={"kind": Categorical(3)}, length=48, context_channels=1, unit=0.4)
        >>> kinds, cold = {"kind": torch.arange(3)}, torch.tensor([[-8.0]])
        >>> model.generate(kinds, count=torch.tensor([5_000, 80, 0]), context=cold).shape
        torch.Size([1, 48])
    """
    known = read_fields(fields)
    check_count(length, "length")
    check_choice(family, "family", get_args(Family))
    positive = family != "normal"
    w_channels = 1 + 2 * codes + style_channels
    network = PartNetwork(known, context_channels, 2 * codes, part_hidden_channels)
    z_prior = StandardNormal if context_channels else SharedPrior
    sizes = (style_channels, z_channels, context_channels, hidden_channels)
    channels = (whole_channels, part_channels, context_channels, hidden_channels)
    return CompVAE(
        encoder=CompVAEEncoder(
            whole_channels,
            part_channels,
            part_hidden_channels,
            w_channels,
            z_channels,
            num_blocks=num_blocks,
            coupling="scaled",
            z_head=whole_posterior(whole_channels, z_channels),
            prior_coupling=True,
            aggr="mean",
            w_head=StyleHead(part_hidden_channels, w_channels, style_channels),
        ),
        generator=CompVAEGenerator(
            w_prior=NormalNetwork(LoadPrior(network, style_channels, positive), _CODE_SCALE / 2),
            z_prior=NormalNetwork(z_prior(z_channels), 1e-3),
            decoder=LoadDecoder(length, codes, *sizes, rank, family, unit),
        ),
        embedding=LoadEmbedding(known, length, *channels, positive, unit),
        event_shape=(length,),
        residual_posterior=True,
        observation_noise=True,
    )
