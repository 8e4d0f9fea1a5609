r"""Networks of the sines problem, of a size for a laptop's CPU.

The latent of a part is a table with one row of a few numbers for each category. At first only the
row of the part's own category is in use, and its first number is 1: the sum over the parts counts
them by category and keeps the categories apart. Three choices are not in the paper:

- one network reads each row of the sum, and its answers weigh learnt waveforms;
- wholes grow with the number of parts, so that the decoder computes :math:`\hat k \tanh(f)`, with
  a size :math:`\hat k` that is linear in the sum: what it learns of few parts holds for many;
- the inference network sees the whole divided by its number of parts, and looks up what it says of
  the part's own category.
"""

import math

import torch
from torch import Tensor, nn

from compvae_pyg.distributions import Coupling
from compvae_pyg.models import (
    CompVAE,
    CompVAEEncoder,
    CompVAEGenerator,
    NormalNetwork,
    Parts,
    register_architecture,
    start_at_prior,
    zero_linear,
)
from compvae_pyg.nn import Residual, set_sizes
from compvae_pyg.problems.categories import check_categories

__all__ = ["build_sines_small"]

NUM_SAMPLES = 200


class CategoryTable(nn.Module):
    r"""Mean and log-variance of the latent of each category: two embeddings, as in the paper.

    Args:
        num_categories: Number of categories :math:`L`, and of rows of the latent.
        channels: Numbers :math:`C` in a row.

    Shapes:
        - **input:** category :math:`(N)`
        - **output:** :math:`(N, 2 L C)`
    """

    def __init__(self, num_categories: int, channels: int) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.loc = nn.Embedding(num_categories, num_categories * channels)
        self.log_variance = nn.Embedding(num_categories, num_categories * channels)
        loc = torch.zeros(num_categories, num_categories, channels)
        log_variance = torch.full_like(loc, 2.0 * math.log(0.01))
        own = torch.arange(num_categories)
        loc[own, own, 0] = 1.0
        log_variance[own, own, 1:] = 0.0
        with torch.no_grad():
            self.loc.weight.copy_(loc.flatten(1))
            self.log_variance.weight.copy_(log_variance.flatten(1))

    def forward(self, parts: Parts) -> Tensor:
        """Return means and log-variances, one after the other."""
        category = check_categories(parts, self.num_categories)
        return torch.cat([self.loc(category), self.log_variance(category)], dim=-1)


class WaveDecoder(nn.Module):
    r"""Curve from the table of all parts, as weighted waveforms and a pointwise network.

    Args:
        num_categories: Rows :math:`L` of the table.
        channels: Numbers :math:`C` in a row.
        z_channels: Size of the latent of the whole.
        hidden_channels: Width of the network that reads a row.
        num_waves: Waveforms of each row.
        num_curves: Curves that the waveforms add up to, side by side.

    Shapes:
        - **input:** sum of the latents :math:`(S, L C)`, z :math:`(S, D_z)`
        - **output:** :math:`(S, 2 \cdot 200)`: means, then log-variances
    """

    def __init__(
        self,
        num_categories: int,
        channels: int,
        z_channels: int,
        hidden_channels: int = 64,
        num_waves: int = 4,
        num_curves: int = 4,
    ) -> None:
        super().__init__()
        self.table_shape = (num_categories, channels)
        self.num_curves = num_curves
        self.size = nn.Linear(num_categories * channels, 1)
        self.row = nn.Linear(channels, hidden_channels)
        self.category = nn.Parameter(0.1 * torch.randn(num_categories, hidden_channels))
        self.context = nn.Linear(num_categories * channels, hidden_channels)
        self.z_lin = zero_linear(z_channels, hidden_channels)
        self.rows = nn.Sequential(
            nn.ELU(),
            Residual(hidden_channels),
            nn.ELU(),
            Residual(hidden_channels),
            nn.ELU(),
            nn.Linear(hidden_channels, num_waves),
        )
        self.waves = nn.Linear(num_categories * num_waves, num_curves * NUM_SAMPLES)
        last = nn.Linear(32, 2)
        self.points = nn.Sequential(
            nn.Linear(num_curves + 1, 32), nn.ELU(), nn.Linear(32, 32), nn.ELU(), last
        )
        with torch.no_grad():
            # The size begins as the number of parts, which the first column counts.
            self.size.bias.zero_()
            self.size.weight.zero_().view(self.table_shape)[:, 0] = 1.0
            last.weight *= 0.1

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return means and log-variances of the samples."""
        size = self.size(w_sum).clamp(min=0.5)
        context = self.context(w_sum / size) + self.z_lin(z)
        rows = self.row(w_sum.view(-1, *self.table_shape)) + self.category
        weights = self.rows(rows + context.unsqueeze(1)).flatten(1)
        curves = self.waves(weights / size).view(-1, self.num_curves, NUM_SAMPLES).mT
        log_size = size.log()
        at_point = log_size.unsqueeze(1).expand(-1, NUM_SAMPLES, 1)
        out = self.points(torch.cat([curves, at_point], dim=-1))
        loc = size * torch.tanh(out[..., 0] + curves[..., 0])
        return torch.cat([loc, out[..., 1] + 2.0 * log_size], dim=1)


class SpectralEmbedding(nn.Module):
    r"""Features of curves and parts; those of a part include what the curve says of its category.

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
        self.points = nn.Sequential(nn.Linear(1, 16), nn.ELU(), nn.Linear(16, 4), nn.Flatten())
        self.analyse = nn.Linear(4 * NUM_SAMPLES, num_categories * channels)
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
        said = self.analyse(self.points((whole / size.unsqueeze(1)).unsqueeze(-1)))
        table = said.view(-1, self.table_shape[1])
        table = torch.cat([table, self.act(self.res(self.act(table)))], dim=-1)
        # One row of the table for each curve and category, looked up by each part.
        row = batch * num_categories + category
        alike = set_sizes(row, batch_size * num_categories, whole.dtype).index_select(0, row)
        counts = torch.stack([alike, size.index_select(0, batch)], dim=-1).log()
        looked_up = torch.cat([table.index_select(0, row), counts], dim=-1)
        return self.whole(self.act(said)), self.category(category) + self.part(looked_up)


@register_architecture("sines-small")
def build_sines_small(
    num_categories: int = 10,
    channels: int = 6,
    hidden_channels: int = 128,
    part_channels: int = 64,
    whole_channels: int = 64,
    z_channels: int = 8,
    num_blocks: int = 2,
    coupling: Coupling = "paper",
    min_scale: float = 0.005,
    min_sample_scale: float = 0.05,
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
        coupling: Form of the coupled posterior. ``"scaled"`` would hand the noise of the parts that
            own a row to those that do not, whose scales there are far smaller.
        min_scale: Smallest standard deviation of the priors.
        min_sample_scale: Smallest standard deviation of a sample of the curve.
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
        z_head=nn.Sequential(
            Residual(whole_channels), nn.ELU(), zero_linear(whole_channels, 2 * z_channels)
        ),
    )
    start_at_prior(encoder)
    z_prior = nn.Sequential(nn.Linear(w_channels, 64), nn.ELU(), zero_linear(64, 2 * z_channels))
    decoder = WaveDecoder(num_categories, channels, z_channels)
    return CompVAE(
        encoder=encoder,
        generator=CompVAEGenerator(
            w_prior=NormalNetwork(CategoryTable(num_categories, channels), min_scale),
            z_prior=NormalNetwork(z_prior, min_scale),
            decoder=NormalNetwork(decoder, min_sample_scale, event_dims=1),
        ),
        embedding=SpectralEmbedding(num_categories, whole_channels, part_channels),
        event_shape=(NUM_SAMPLES,),
        residual_posterior=True,
    )
