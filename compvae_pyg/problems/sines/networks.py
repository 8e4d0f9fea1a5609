r"""Networks of the sines problem, of a size for a laptop's CPU.

The latent of a part is a table with one row of a few numbers for each category. Only the row of the
part's own category is in use, and its first number is 1: the sum over the parts counts them by
category and keeps the categories apart. What is not in the paper:

- the priors of the latents are fixed, not learned: the other numbers of a part's own row are
  standard normal, and so is z, which does not depend on the sum;
- one network reads each row of the sum, and its outputs weigh learned waveforms, saturated at a
  size :math:`\hat k` that the sum counts: what is learned of few parts holds for many;
- the inference network sees the whole divided by its number of parts, also with the saturation
  undone, and looks up what that shows of the part's own category.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.inits import reset
from torch_geometric.utils import scatter

from compvae_pyg.distributions import Coupling, floor_log_variance
from compvae_pyg.models import CompVAE, CompVAEEncoder
from compvae_pyg.networks.building_blocks import StandardNormal, gaussian_compvae, whole_posterior
from compvae_pyg.nn import Fields, PackedParts, Residual, ZeroLinear
from compvae_pyg.nn.checks import check_categories, check_options
from compvae_pyg.nn.rows import at_least_float32, gather

__all__ = ["build_sines_small"]

NUM_SAMPLES = 200
_REST_SCALE = 1e-4  # of the fixed numbers: a size a little off shows where curves saturate
_MIN_SCALE = 1e-6  # far below any standard deviation that these networks give
_SATURATED = 0.9999  # largest relative sample before the hyperbolic tangent is undone
_NUM_WAVES = 4


class CategoryRows(nn.Module):
    """Mean and log-variance of the latent of each category: a row of its own in a table.

    That row begins with 1 and is standard normal otherwise, the other rows are zero.
    """

    moments: Tensor

    def __init__(self, num_categories: int, channels: int) -> None:
        super().__init__()
        self.num_categories = num_categories
        loc = torch.zeros(num_categories, num_categories, channels)
        log_variance = torch.full_like(loc, 2.0 * math.log(_REST_SCALE))
        own = torch.arange(num_categories)
        loc[own, own, 0] = 1.0
        log_variance[own, own, 1:] = 0.0
        moments = torch.cat([loc.flatten(1), log_variance.flatten(1)], dim=1)
        self.register_buffer("moments", moments, persistent=False)

    def forward(self, parts: Fields) -> Tensor:
        """Return means and log-variances, ``[N, 2 L C]``: L rows of C channels."""
        return self.moments.index_select(0, check_categories(parts, self.num_categories))


class WideELU(nn.Module):
    r"""ELU that is as fast far from zero, where sums of many parts lie, as near it.

    .. math::
        \max\bigl(x, \mathrm{ELU}(\min(\max(x, -40), 80))\bigr) = \mathrm{ELU}(x)

    torch's own takes more than twice the time on the CPU where its exponential leaves the range of
    32 bits; it is taken for gradients, where the formula would cost more than it saves.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ELU(x)."""
        if x.requires_grad:
            return F.elu(x)
        return torch.maximum(x, F.elu(x.clamp(-40.0, 80.0)))


class WaveDecoder(nn.Module):
    r"""Curve from the table of all parts: weighted waveforms, saturated.

    .. math::
        \mathbb{E}[x(t)] = \hat k \tanh\Bigl( \frac{1}{\hat k}
            \sum_{\ell} \sum_j f_j(\tilde w_\ell, z)\, u_{\ell j}(t) \Bigr)

    with a network :math:`f` that is the same for all rows but for a bias, learned waveforms
    :math:`u`, and the number of parts :math:`\hat k` that the first column of the table counts. The
    variance, in units of :math:`\hat k^2`, has waveforms of its own with the same weights.
    """

    def __init__(
        self, num_categories: int, channels: int, z_channels: int, min_relative_scale: float
    ) -> None:
        super().__init__()
        self.table_shape = (num_categories, channels)
        self.min_relative_scale = min_relative_scale
        self.row = nn.Linear(channels, 64)
        self.category = nn.Parameter(torch.empty(num_categories, 64))
        self.z_lin = ZeroLinear(z_channels, 64)
        self.rows = nn.Sequential(
            WideELU(), Residual(64), WideELU(), Residual(64), WideELU(), nn.Linear(64, _NUM_WAVES)
        )
        self.waves = nn.Linear(num_categories * _NUM_WAVES, 2 * NUM_SAMPLES)
        nn.init.normal_(self.category, std=0.1)

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        for network in self.children():
            reset(network)
        nn.init.normal_(self.category, std=0.1)

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return means and log-variances of the samples, ``[S, 2 * 200]``."""
        table = w_sum.view(-1, *self.table_shape)
        size = table[..., 0].sum(dim=1, keepdim=True).clamp(min=0.5)
        shared = (self.category + self.z_lin(z).unsqueeze(1)).flatten(0, 1)
        weights = self.rows(self.row(table.flatten(0, 1)) + shared).unflatten(0, table.shape[:2])
        curve, spread = self.waves(weights.flatten(1) / size).chunk(2, dim=1)
        spread = floor_log_variance(spread, self.min_relative_scale)
        return torch.cat([size * torch.tanh(curve), spread + 2.0 * size.log()], dim=1)


class SpectralEmbedding(nn.Module):
    r"""Features of curves and parts; those of a part include what the curve shows of its category.

    A curve is read over its number of parts, :math:`x / K`, and with the saturation undone,
    :math:`\operatorname{artanh}(x / K)`.
    """

    def __init__(self, num_categories: int, whole_channels: int, part_channels: int) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.analyse = nn.Linear(2 * NUM_SAMPLES, num_categories * 32)
        self.act = nn.ELU()
        self.res = Residual(32)
        self.whole = nn.Linear(num_categories * 32, whole_channels)
        self.category = nn.Embedding(num_categories, part_channels)
        self.part = nn.Linear(2 * 32 + 2, part_channels)

    def forward(self, whole: Tensor, parts: Fields, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of curves, ``[S, C_x]``, and of parts, ``[N, C_l]``."""
        category = check_categories(parts, self.num_categories)
        sets = PackedParts(category, batch, whole.shape[0], validate=False)
        size = sets.sizes(whole.dtype).clamp(min=1.0).unsqueeze(1)
        relative = at_least_float32(whole) / size
        # A third of it, which is of the size of the curve.
        undone = torch.atanh(relative.clamp(-_SATURATED, _SATURATED)) / 3.0
        shown = self.analyse(torch.cat([relative, undone], dim=1).to(whole.dtype))
        # Times the size, so that equal parts give the same in curves of any size.
        table = (shown * size).view(-1, self.res.channels)
        table = torch.cat([table, self.act(self.res(self.act(table)))], dim=-1)
        row = batch * self.num_categories + category
        # Rows are not sorted: what packed parts sum up lies set by set.
        ones = torch.ones_like(row, dtype=size.dtype)
        alike = scatter(ones, row, 0, table.shape[0], reduce="sum")
        counts = torch.cat([gather(alike, row).unsqueeze(1), sets.broadcast(size)], dim=1).log()
        looked_up = torch.cat([gather(table, row), counts.to(table.dtype)], dim=-1)
        return self.whole(self.act(shown)), self.category(category) + self.part(looked_up)


@check_options
def build_sines_small(
    num_categories: int = 10,
    channels: int = 3,
    hidden_channels: int = 128,
    part_channels: int = 32,
    whole_channels: int = 32,
    z_channels: int = 8,
    num_blocks: int = 2,
    coupling: Coupling = "scaled",
    min_relative_scale: float = 0.3,
    aggr: str = "sum",
) -> CompVAE:
    """Build the networks that a laptop trains within minutes.

    Args:
        num_categories: Number of categories.
        channels: Numbers in each row of a part's latent, which has ``num_categories`` rows.
        hidden_channels: As all others, see :class:`~compvae_pyg.models.CompVAEEncoder`.
        min_relative_scale: Smallest standard deviation of a sample of the curve, in units of the
            number of parts.
    """
    return gaussian_compvae(
        encoder=CompVAEEncoder(
            whole_channels,
            part_channels,
            hidden_channels,
            w_channels=num_categories * channels,
            z_channels=z_channels,
            num_blocks=num_blocks,
            coupling=coupling,
            z_head=whole_posterior(whole_channels, z_channels),
            # Most parts have next to no variance in a row, and are to have no share of its noise.
            prior_coupling=True,
            aggr=aggr,
            posterior_init="low_variance",
        ),
        w_prior=CategoryRows(num_categories, channels),
        z_prior=StandardNormal(z_channels),
        decoder=WaveDecoder(num_categories, channels, z_channels, min_relative_scale),
        embedding=SpectralEmbedding(num_categories, whole_channels, part_channels),
        event_shape=(NUM_SAMPLES,),
        min_scale=_MIN_SCALE,
        residual_posterior=True,
    )
