r"""Networks of the dots problem, of a size for a laptop's CPU.

The latent of a site is a small field, :math:`C` channels on a grid of :math:`G \times G` cells that
covers the image, so that the sum over the sites is a field too and a convolutional decoder can read
it. Three choices, which are not in the paper, make it easy to learn:

- the prior computes each cell's value from the *offset* between the cell and the site, by the same
  network for all cells: a site that moves takes its field along;
- the decoder reads :math:`\operatorname{sign}(\tilde w) \log(1 + |\tilde w|)`: sums over many sites
  span a wide range, and the images depend on ratios of such sums;
- the inference network looks up what the image shows around each site.
"""

import math

import torch
from torch import Tensor, nn
from torch_geometric.nn.inits import reset

from compvae_pyg.distributions import Coupling
from compvae_pyg.models import CompVAE, CompVAEEncoder
from compvae_pyg.networks.building_blocks import (
    activated,
    conv3x3,
    gaussian_compvae,
    whole_posterior,
)
from compvae_pyg.nn import Fields, ZeroLinear
from compvae_pyg.nn.checks import check_options, check_places
from compvae_pyg.nn.rows import at_least_float32, gather

__all__ = ["IMAGE_SIZE", "NUM_COLORS", "build_dots_small"]

NUM_COLORS = 5
IMAGE_SIZE = 32
_INITIAL_SCALE = 0.05  # of the prior; a small one lets the decoder learn the means
_REACH = 0.3  # from a site to the four points of the image that are looked up, along each axis
_NUM_FREQUENCIES = 4


class SiteField(nn.Module):
    r"""Mean and log-variance of a site's field, cell by cell.

    .. math::
        (\mu, \nu)_u = \mathrm{MLP}\bigl(d_u, e^{-3 d_u^2}, e^{-8 d_u^2}, e^{-20 d_u^2},
            \mathrm{colour}\bigr), \qquad d_u = u - \mathrm{pos}
    """

    cells: Tensor
    decay: Tensor

    def __init__(self, channels: int, grid: int) -> None:
        super().__init__()
        line = torch.linspace(-1.0, 1.0, IMAGE_SIZE).view(grid, -1).mean(dim=1)
        y, x = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("cells", torch.stack([x, y], dim=-1).view(-1, 2), persistent=False)
        self.register_buffer("decay", torch.tensor([3.0, 8.0, 20.0]), persistent=False)
        self.color = nn.Embedding(NUM_COLORS, 32)
        self.lin1 = nn.Linear(5, 32)
        self.lin2 = nn.Linear(32, 32)
        self.lin3 = nn.Linear(32, 2 * channels)
        self.act = nn.ELU()
        self._init_variance()

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        for layer in self.children():
            reset(layer)
        self._init_variance()

    @torch.no_grad()
    def _init_variance(self) -> None:
        channels = self.lin3.out_features // 2
        self.lin3.weight[channels:] *= 0.1
        self.lin3.bias[channels:] = 2.0 * math.log(_INITIAL_SCALE)

    def forward(self, parts: Fields) -> Tensor:
        """Return means and log-variances, ``[N, 2 C G^2]``, of sites ``[N]``."""
        color, pos = check_places(parts, NUM_COLORS, "color")
        num_parts, num_cells = pos.shape[0], self.cells.shape[0]
        offset = self.cells - pos.unsqueeze(1)
        bumps = torch.exp(-offset.square().sum(dim=-1, keepdim=True) * self.decay)
        h = self.lin1(torch.cat([offset, bumps], dim=-1)) + self.color(color).unsqueeze(1)
        h = self.lin2(self.act(h).flatten(0, 1))
        out = self.lin3(self.act(h)).unflatten(0, (num_parts, num_cells))
        return out.transpose(1, 2).flatten(1)


class FieldDecoder(nn.Module):
    """Image from the field of all sites, by sub-pixel convolutions."""

    def __init__(self, channels: int, grid: int, z_channels: int) -> None:
        super().__init__()
        self.field_shape = (channels, grid, grid)
        self.stem = conv3x3(channels, 64)
        self.z_lin = ZeroLinear(z_channels, 64 * grid * grid)
        self.convs = nn.ModuleList(conv3x3(64, 64) for _ in range(2))
        # A far corner depends on all sites: the mean over the grid is added.
        self.context = nn.ModuleList(nn.Linear(64, 64) for _ in range(2))
        self.up1 = nn.Conv2d(64, 4 * 32, 1)
        self.fine = conv3x3(32, 32)
        self.up2 = conv3x3(32, 4 * 4)
        self.shuffle = nn.PixelShuffle(2)
        self.act = nn.ELU()

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return three means and a log-variance for each pixel, ``[S, 4, 4 G, 4 G]``."""
        field = w_sum.view(-1, *self.field_shape).contiguous(memory_format=torch.channels_last)
        field = torch.sign(field) * torch.log1p(field.abs())
        _, grid, _ = self.field_shape
        from_z = self.z_lin(z).view(z.shape[0], grid, grid, -1).permute(0, 3, 1, 2)
        h = self.act(self.stem(field) + from_z)
        for conv, context in zip(self.convs, self.context, strict=True):
            h = h + self.act(conv(h) + context(h.mean(dim=(2, 3)))[:, :, None, None])
        h = self.act(self.shuffle(self.up1(h)))
        h = h + self.act(self.fine(h))
        return self.shuffle(self.up2(h))


class GlimpseEmbedding(nn.Module):
    """Features of images and of sites; those of a site include what the image shows around it."""

    corners: Tensor
    frequencies: Tensor
    glimpses: Tensor

    def __init__(self, whole_channels: int, part_channels: int) -> None:
        super().__init__()
        self.grid = IMAGE_SIZE // 4
        self.conv = nn.Sequential(
            *activated(
                nn.Conv2d(3, 32, 4, stride=2, padding=1),
                nn.Conv2d(32, 48, 4, stride=2, padding=1),
                conv3x3(48, 32),
            )
        )
        self.whole = nn.Sequential(
            nn.Flatten(), *activated(nn.Linear(32 * self.grid**2, whole_channels))
        )
        self.color = nn.Embedding(NUM_COLORS, 32)
        frequencies = 0.5 * math.pi * 2.0 ** torch.arange(_NUM_FREQUENCIES)
        self.register_buffer("frequencies", frequencies, persistent=False)
        around = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
        self.register_buffer("glimpses", _REACH * around, persistent=False)
        corners = torch.tensor([0, 1, self.grid, self.grid + 1])
        self.register_buffer("corners", corners, persistent=False)
        self.part = nn.Linear(32 + 2 + 4 * _NUM_FREQUENCIES + 4 * 32, part_channels)

    def forward(self, whole: Tensor, parts: Fields, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of images, ``[S, C_x]``, and of sites, ``[N, C_l]``."""
        color, pos = check_places(parts, NUM_COLORS, "color")
        features = self.conv((2.0 * whole - 1.0).contiguous(memory_format=torch.channels_last))
        seen = self._look_up(features, pos.unsqueeze(1) + self.glimpses, batch).flatten(1)
        phase = (pos.unsqueeze(-1) * self.frequencies).flatten(1)
        site = torch.cat([self.color(color), pos, phase.sin(), phase.cos(), seen], dim=-1)
        return self.whole(features), self.part(site)

    def _look_up(self, features: Tensor, at: Tensor, batch: Tensor) -> Tensor:
        """Interpolate maps ``[S, C, G, G]`` at points ``[N, P, 2]`` of the sites' own images."""
        grid = self.grid
        rows = at_least_float32(features).permute(0, 2, 3, 1).flatten(0, 2)
        pixel = (at_least_float32(at) + 1.0) * (0.5 * (IMAGE_SIZE - 1))
        cell = ((pixel - 1.5) / 4.0).clamp(0.0, grid - 1.0)
        low = cell.detach().floor().clamp(max=grid - 2.0)
        right, down = (cell - low).unbind(dim=-1)
        left, up = 1.0 - right, 1.0 - down
        low = low.long()
        first = batch.view(-1, 1) * grid**2 + low[..., 1] * grid + low[..., 0]
        corners = first.unsqueeze(-1) + self.corners
        values = gather(rows, corners.flatten()).unflatten(0, corners.shape)
        weight = torch.stack([left * up, right * up, left * down, right * down], dim=-1)
        return (weight.unsqueeze(-2) @ values).squeeze(-2).to(features.dtype)


@check_options
def build_dots_small(
    channels: int = 8,
    grid: int = 8,
    hidden_channels: int = 128,
    part_channels: int = 64,
    whole_channels: int = 64,
    z_channels: int = 16,
    num_blocks: int = 2,
    coupling: Coupling = "scaled",
    min_scale: float = 0.005,
    min_pixel_scale: float = 0.02,
    aggr: str = "sum",
) -> CompVAE:
    """Build the networks that a laptop trains within minutes.

    Args:
        channels: Channels of the field that is a site's latent, of ``channels * grid**2`` numbers.
        grid: Cells of the field along each side.
        hidden_channels: As all others, see :class:`~compvae_pyg.models.CompVAEEncoder`.
        min_scale: Smallest standard deviation of the priors.
        min_pixel_scale: Smallest standard deviation of a pixel; 0.005 in the paper, where images of
            one colour, which can be learned to that precision, outweigh all others.
    """
    w_channels = channels * grid**2
    model = gaussian_compvae(
        encoder=CompVAEEncoder(
            whole_channels,
            part_channels,
            hidden_channels,
            w_channels,
            z_channels,
            num_blocks=num_blocks,
            coupling=coupling,
            part_noise=False,
            z_head=whole_posterior(whole_channels, z_channels),
            aggr=aggr,
            posterior_init="prior",
        ),
        z_prior=nn.Sequential(
            *activated(nn.Linear(w_channels, 128)), ZeroLinear(128, 2 * z_channels)
        ),
        w_prior=SiteField(channels, grid),
        decoder=FieldDecoder(channels, grid, z_channels),
        embedding=GlimpseEmbedding(whole_channels, part_channels),
        event_shape=(3, IMAGE_SIZE, IMAGE_SIZE),
        min_scale=min_scale,
        min_whole_scale=min_pixel_scale,
        residual_posterior=True,
    )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
