r"""Networks of the sines problem, of a size for a laptop's CPU.

The latent of a part is a table with one row of a few numbers for each category. Only the row of the
part's own category is in use, and its first number is 1: the sum over the parts counts them by
category and keeps the categories apart. What is not in the paper:

- the laws of the latents are told, not learnt: the other numbers of a part's own row are standard
  normal, and so is z, which does not depend on the sum;
- one network reads each row of the sum, and its answers weigh learnt waveforms;
- wholes grow with the number of parts, so that the decoder computes
  :math:`\hat k \tanh(f / \hat k)` with a size :math:`\hat k` that the sum counts: what it learns
  of few parts holds for many. The smallest standard deviation of a sample grows with it;
- the inference network sees the whole divided by its number of parts, also with the saturation
  undone, and looks up what it says of the part's own category.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compvae_pyg.distributions import Coupling
from compvae_pyg.models import (
    CompVAE,
    CompVAEEncoder,
    CompVAEGenerator,
    NormalNetwork,
    Parts,
    register_architecture,
    start_as_code,
    zero_linear,
)
from compvae_pyg.nn import Residual, floor_log_variance, set_gather, set_sizes
from compvae_pyg.problems.checks import check_categories, with_checked_options
from compvae_pyg.problems.whole_latent import StandardNormal, whole_posterior

__all__ = ["build_sines_small"]

NUM_SAMPLES = 200
# Far below any standard deviation that these networks give.
_MIN_SCALE = 1e-6
# Relative samples beyond it are taken for it before the hyperbolic tangent is undone.
_SATURATED = 0.9999


class CategoryRows(nn.Module):
    r"""Mean and log-variance of the latent of each category: a row of its own in a table.

    The row of its category begins with 1 and is standard normal otherwise, the other rows are zero;
    the numbers that are told are so to a standard deviation of ``rest_scale``. What the standard
    normal numbers mean is left to the networks that read them.

    Args:
        num_categories: Number of categories :math:`L`, and of rows of the latent.
        channels: Numbers :math:`C` in a row.
        rest_scale: Standard deviation of the numbers that are told. A size that is a little off
            shows where a curve saturates.

    Shapes:
        - **input:** category :math:`(N)`
        - **output:** :math:`(N, 2 L C)`
    """

    moments: Tensor

    def __init__(self, num_categories: int, channels: int, rest_scale: float = 1e-4) -> None:
        super().__init__()
        self.num_categories = num_categories
        loc = torch.zeros(num_categories, num_categories, channels)
        log_variance = torch.full_like(loc, 2.0 * math.log(rest_scale))
        own = torch.arange(num_categories)
        loc[own, own, 0] = 1.0
        log_variance[own, own, 1:] = 0.0
        moments = torch.cat([loc.flatten(1), log_variance.flatten(1)], dim=1)
        self.register_buffer("moments", moments, persistent=False)

    def forward(self, parts: Parts) -> Tensor:
        """Return means and log-variances, one after the other."""
        category = check_categories(parts, self.num_categories)
        return self.moments.index_select(0, category)


class WideELU(nn.Module):
    r"""ELU, in place, that is as fast far from zero, where sums of many parts lie, as near it.

    .. math::
        \max\bigl(x, \mathrm{ELU}(\min(\max(x, -40), 80))\bigr) = \mathrm{ELU}(x)

    torch's own takes more than twice the time on the CPU where its exponential, which it computes
    on either side of zero, leaves the range of 32 bits. It is taken where a gradient is wanted: the
    backward pass of the formula would cost more than it saves.

    Shapes:
        - **input:** :math:`(*)`
        - **output:** :math:`(*)`
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ELU(x), in the place of x."""
        if x.requires_grad:
            return F.elu(x, inplace=True)
        return torch.maximum(x, F.elu(x.clamp(-40.0, 80.0), inplace=True), out=x)


class WaveDecoder(nn.Module):
    r"""Curve from the table of all parts: weighted waveforms, saturated.

    .. math::
        \mathbb{E}[x(t)] = \hat k \tanh\Bigl( \frac{1}{\hat k}
            \sum_{\ell} \sum_j f_j(\tilde w_\ell, z)\, u_{\ell j}(t) \Bigr)

    with a network :math:`f` that is the same for all rows but for a bias, learnt waveforms
    :math:`u`, and the number of parts :math:`\hat k` that the first column of the table counts. The
    log-variance, in units of :math:`\hat k^2`, is a sum of waveforms of its own, with the same
    weights.

    Args:
        num_categories: Rows :math:`L` of the table.
        channels: Numbers :math:`C` in a row.
        z_channels: Size of the latent of the whole.
        min_relative_scale: Smallest standard deviation of a sample of the curve, in units of
            :math:`\hat k`.
        hidden_channels: Width of the network that reads a row.
        num_waves: Waveforms of each row.

    Shapes:
        - **input:** sum of the latents :math:`(S, L C)`, z :math:`(S, D_z)`
        - **output:** :math:`(S, 2 \cdot 200)`: means, then log-variances
    """

    def __init__(
        self,
        num_categories: int,
        channels: int,
        z_channels: int,
        min_relative_scale: float,
        hidden_channels: int = 64,
        num_waves: int = 4,
    ) -> None:
        super().__init__()
        self.table_shape = (num_categories, channels)
        self.min_relative_scale = min_relative_scale
        self.row = nn.Linear(channels, hidden_channels)
        self.category = nn.Parameter(0.1 * torch.randn(num_categories, hidden_channels))
        self.z_lin = zero_linear(z_channels, hidden_channels)
        self.rows = nn.Sequential(
            WideELU(),
            Residual(hidden_channels),
            WideELU(),
            Residual(hidden_channels),
            WideELU(),
            nn.Linear(hidden_channels, num_waves),
        )
        self.waves = nn.Linear(num_categories * num_waves, 2 * NUM_SAMPLES)

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return means and log-variances of the samples."""
        table = w_sum.view(-1, *self.table_shape)
        size = table[..., 0].sum(dim=1, keepdim=True).clamp(min=0.5)
        # Two dimensions throughout: what a Linear returns of more cannot be changed in place.
        shared = (self.category + self.z_lin(z).unsqueeze(1)).flatten(0, 1)
        weights = self.rows(self.row(table.flatten(0, 1)) + shared).unflatten(0, table.shape[:2])
        curve, spread = self.waves(weights.flatten(1) / size).chunk(2, dim=1)
        spread = floor_log_variance(spread, self.min_relative_scale)
        return torch.cat([size * torch.tanh(curve), spread + 2.0 * size.log()], dim=1)


class SpectralEmbedding(nn.Module):
    r"""Features of curves and parts; those of a part include what the curve says of its category.

    A curve is read over its number of parts, :math:`x / K`, and with the saturation undone,
    :math:`\operatorname{artanh}(x / K)`.

    Args:
        num_categories: Number of categories :math:`L`.
        whole_channels: Size of the features of a curve.
        part_channels: Size of the features of a part.
        channels: Numbers that the curve says of each category.

    Shapes:
        - **input:** curves :math:`(S, 200)`, category :math:`(N)`
        - **output:** :math:`(S, C_x)` and :math:`(N, C_l)`
    """

    def __init__(
        self, num_categories: int, whole_channels: int, part_channels: int, channels: int = 32
    ) -> None:
        super().__init__()
        self.table_shape = (num_categories, channels)
        self.analyse = nn.Linear(2 * NUM_SAMPLES, num_categories * channels)
        self.act = nn.ELU()
        self.res = Residual(channels)
        self.whole = nn.Linear(num_categories * channels, whole_channels)
        self.category = nn.Embedding(num_categories, part_channels)
        self.part = nn.Linear(2 * channels + 2, part_channels)

    def forward(self, whole: Tensor, parts: Parts, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the curves and of the parts."""
        num_categories, _ = self.table_shape
        category = check_categories(parts, num_categories)
        batch_size = whole.shape[0]
        size = set_sizes(batch, batch_size, whole.dtype).clamp(min=1.0)
        size_column = size.unsqueeze(1)
        relative = whole / size_column
        undone = torch.atanh(relative.clamp(-_SATURATED, _SATURATED))
        # A third of it, which is of the size of the curve.
        said = self.analyse(torch.cat([relative, undone / 3.0], dim=1))
        # Times the size, so that the same part says the same in curves of any size.
        table = (said * size_column).view(-1, self.table_shape[1])
        table = torch.cat([table, self.act(self.res(self.act(table)))], dim=-1)
        # One row of the table for each curve and category, looked up by each part.
        row = batch * num_categories + category
        alike = set_gather(set_sizes(row, batch_size * num_categories, whole.dtype), row)
        counts = torch.stack([alike, set_gather(size, batch)], dim=-1).log()
        looked_up = torch.cat([set_gather(table, row), counts], dim=-1)
        return self.whole(self.act(said)), self.category(category) + self.part(looked_up)


@register_architecture("sines", "small")
@with_checked_options
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
        hidden_channels: Width of the graph blocks.
        part_channels: Size of the features of a part.
        whole_channels: Size of the features of a curve.
        z_channels: Size of the latent of the whole.
        num_blocks: Number of graph blocks.
        coupling: Form of the coupled posterior.
        min_relative_scale: Smallest standard deviation of a sample of the curve, in units of the
            number of parts.
        aggr: How the graph blocks aggregate messages, ``"sum"`` or ``"mean"``.
    """
    w_channels = num_categories * channels
    encoder = CompVAEEncoder(
        whole_channels,
        part_channels,
        hidden_channels,
        w_channels,
        z_channels,
        num_blocks=num_blocks,
        coupling=coupling,
        z_head=whole_posterior(whole_channels, z_channels),
        # Most parts have next to no variance in a row, and are to have no share of its noise.
        prior_coupling=True,
        aggr=aggr,
    )
    start_as_code(encoder)
    decoder = WaveDecoder(num_categories, channels, z_channels, min_relative_scale)
    return CompVAE(
        encoder=encoder,
        generator=CompVAEGenerator(
            w_prior=NormalNetwork(CategoryRows(num_categories, channels), _MIN_SCALE),
            z_prior=NormalNetwork(StandardNormal(z_channels), _MIN_SCALE),
            decoder=NormalNetwork(decoder, _MIN_SCALE, event_dims=1),
        ),
        embedding=SpectralEmbedding(num_categories, whole_channels, part_channels),
        event_shape=(NUM_SAMPLES,),
        residual_posterior=True,
    )
