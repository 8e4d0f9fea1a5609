r"""Networks of the dots problem, of a size for a laptop's CPU.

The latent of a site is a small field, :math:`C` channels on a grid of :math:`G \times G` cells that
covers the image, so that the sum over the sites is a field too and a convolutional decoder can read
it. Three choices make the road from the labels to the image short, and are not in the paper:

- the prior computes each cell's value from the *offset* between the cell and the site, by the same
  network for all cells: a site that moves takes its field along;
- the decoder reads :math:`\operatorname{sign}(\tilde w) \log(1 + |\tilde w|)`: sums over many sites
  span a wide range, and the images depend on ratios of such sums;
- the inference network looks up what the image shows around each site.
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
from compvae_pyg.nn import at_least_float32, set_gather
from compvae_pyg.problems.checks import check_places, with_checked_options
from compvae_pyg.problems.whole_latent import whole_posterior

__all__ = ["IMAGE_SIZE", "NUM_COLORS", "build_dots_small"]

NUM_COLORS = 5
IMAGE_SIZE = 32


def _cell_centres(grid: int) -> Tensor:
    """Return the centres of the cells along one axis, ``[G]``, in the pixels' coordinates."""
    return torch.linspace(-1.0, 1.0, IMAGE_SIZE).view(grid, -1).mean(dim=1)


class SiteField(nn.Module):
    r"""Mean and log-variance of a site's field, cell by cell.

    .. math::
        (\mu, \nu)_{ug} = \mathrm{MLP}\bigl(d_u, e^{-3 d_u^2}, e^{-8 d_u^2}, e^{-20 d_u^2},
            \mathrm{colour}\bigr), \qquad d_u = u - \mathrm{pos}

    Args:
        channels: Number of channels :math:`C` of the field.
        grid: Cells :math:`G` along each side.
        hidden_channels: Width of the network.
        initial_scale: Standard deviation at first; a small one lets the decoder learn the means.

    Shapes:
        - **input:** colour :math:`(N)`, position :math:`(N, 2)`
        - **output:** :math:`(N, 2 C G^2)`
    """

    cells: Tensor
    decay: Tensor

    def __init__(
        self,
        channels: int,
        grid: int,
        hidden_channels: int = 32,
        initial_scale: float = 0.05,
    ) -> None:
        super().__init__()
        line = _cell_centres(grid)
        y, x = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("cells", torch.stack([x, y], dim=-1).view(-1, 2), persistent=False)
        self.register_buffer("decay", torch.tensor([3.0, 8.0, 20.0]), persistent=False)
        self.color = nn.Embedding(NUM_COLORS, hidden_channels)
        self.lin1 = nn.Linear(5, hidden_channels)
        self.lin2 = nn.Linear(hidden_channels, hidden_channels)
        self.lin3 = nn.Linear(hidden_channels, 2 * channels)
        self.act = nn.ELU(inplace=True)
        with torch.no_grad():
            self.lin3.weight[channels:] *= 0.1
            self.lin3.bias[channels:] = 2.0 * math.log(initial_scale)

    def forward(self, parts: Parts) -> Tensor:
        """Return means and log-variances, one after the other."""
        color, pos = check_places(parts, NUM_COLORS, "color")
        num_parts, num_cells = pos.shape[0], self.cells.shape[0]
        offset = self.cells - pos.unsqueeze(1)
        bumps = torch.exp(-offset.square().sum(dim=-1, keepdim=True) * self.decay)
        h = self.lin1(torch.cat([offset, bumps], dim=-1)) + self.color(color).unsqueeze(1)
        # One row a cell: what a Linear returns of more dimensions cannot be changed in place.
        h = self.lin2(self.act(h).flatten(0, 1))
        out = self.lin3(self.act(h)).unflatten(0, (num_parts, num_cells))
        return out.transpose(1, 2).flatten(1)


class FieldDecoder(nn.Module):
    r"""Image from the field of all sites, by sub-pixel convolutions.

    Args:
        channels: Channels :math:`C` of the field.
        grid: Cells :math:`G` along each side; a fourth of the pixels.
        z_channels: Size of the latent of the whole.
        hidden_channels: Channels on the grid; half of them at twice its resolution.
        num_blocks: Number of residual convolutions on the grid.

    Shapes:
        - **input:** sum of the latents :math:`(S, C G^2)`, z :math:`(S, D_z)`
        - **output:** :math:`(S, 4, 4G, 4G)`: three means and a log-variance for each pixel
    """

    def __init__(
        self,
        channels: int,
        grid: int,
        z_channels: int,
        hidden_channels: int = 64,
        num_blocks: int = 2,
    ) -> None:
        super().__init__()
        self.field_shape = (channels, grid, grid)
        half = hidden_channels // 2
        self.stem = nn.Conv2d(channels, hidden_channels, 3, padding=1)
        self.z_lin = zero_linear(z_channels, hidden_channels * grid * grid)
        self.convs = nn.ModuleList(
            nn.Conv2d(hidden_channels, hidden_channels, 3, padding=1) for _ in range(num_blocks)
        )
        # What a far corner looks like is a matter of all sites: the mean over the grid is added.
        self.context = nn.ModuleList(
            nn.Linear(hidden_channels, hidden_channels) for _ in range(num_blocks)
        )
        self.up1 = nn.Conv2d(hidden_channels, 4 * half, 1)
        self.fine = nn.Conv2d(half, half, 3, padding=1)
        self.up2 = nn.Conv2d(half, 4 * 4, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.act = nn.ELU(inplace=True)

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return the channels of the pixels."""
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
    r"""Features of images and of sites; those of a site include what the image shows around it.

    Args:
        whole_channels: Size of the features of an image.
        part_channels: Size of the features of a site.
        channels: Channels of the feature map, which has a fourth of the pixels along each side.
        num_frequencies: Number of sines and cosines of each coordinate of a position.
        reach: Distance from the site to the four points looked up, along each axis.

    Shapes:
        - **input:** images :math:`(S, 3, 32, 32)`, colour :math:`(N)`, position :math:`(N, 2)`
        - **output:** :math:`(S, C_x)` and :math:`(N, C_l)`
    """

    corners: Tensor
    frequencies: Tensor
    glimpses: Tensor

    def __init__(
        self,
        whole_channels: int,
        part_channels: int,
        channels: int = 32,
        num_frequencies: int = 4,
        reach: float = 0.3,
    ) -> None:
        super().__init__()
        self.grid = IMAGE_SIZE // 4
        self.conv = nn.Sequential(
            nn.Conv2d(3, 32, 4, stride=2, padding=1),
            nn.ELU(inplace=True),
            nn.Conv2d(32, 48, 4, stride=2, padding=1),
            nn.ELU(inplace=True),
            nn.Conv2d(48, channels, 3, padding=1),
            nn.ELU(inplace=True),
        )
        self.whole = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * self.grid**2, whole_channels), nn.ELU(inplace=True)
        )
        self.color = nn.Embedding(NUM_COLORS, 32)
        frequencies = 0.5 * math.pi * 2.0 ** torch.arange(num_frequencies)
        self.register_buffer("frequencies", frequencies, persistent=False)
        around = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
        self.register_buffer("glimpses", reach * around, persistent=False)
        corners = torch.tensor([0, 1, self.grid, self.grid + 1])
        self.register_buffer("corners", corners, persistent=False)
        self.part = nn.Linear(32 + 2 + 4 * num_frequencies + 4 * channels, part_channels)

    def forward(self, whole: Tensor, parts: Parts, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the images and of the sites."""
        color, pos = check_places(parts, NUM_COLORS, "color")
        x = (2.0 * whole - 1.0).contiguous(memory_format=torch.channels_last)
        features = self.conv(x)
        seen = self._look_up(features, pos.unsqueeze(1) + self.glimpses, batch).flatten(1)
        phase = (pos.unsqueeze(-1) * self.frequencies).flatten(1)
        site = torch.cat([self.color(color), pos, phase.sin(), phase.cos(), seen], dim=-1)
        return self.whole(features), self.part(site)

    def _look_up(self, features: Tensor, at: Tensor, batch: Tensor) -> Tensor:
        """Interpolate maps ``[S, C, G, G]`` at points ``[N, P, 2]`` of the sites' own images."""
        grid = self.grid
        rows = at_least_float32(features).permute(0, 2, 3, 1).flatten(0, 2)
        pixel = (at + 1.0) * (0.5 * (IMAGE_SIZE - 1))
        cell = ((pixel - 1.5) / 4.0).clamp(0.0, grid - 1.0)
        low = cell.detach().floor().clamp(max=grid - 2.0)
        share = cell - low
        low = low.long()
        first = batch.view(-1, 1) * grid**2 + low[..., 1] * grid + low[..., 0]
        corners = first.unsqueeze(-1) + self.corners
        values = set_gather(rows, corners.flatten()).unflatten(0, corners.shape)
        right, down = share.unbind(dim=-1)
        left, up = 1.0 - right, 1.0 - down
        weight = torch.stack([left * up, right * up, left * down, right * down], dim=-1)
        return (weight.unsqueeze(-2) @ values).squeeze(-2)


@register_architecture("dots", "small")
@with_checked_options
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
        hidden_channels: Width of the graph blocks.
        part_channels: Size of the features of a site.
        whole_channels: Size of the features of an image.
        z_channels: Size of the latent of the whole.
        num_blocks: Number of graph blocks.
        coupling: Form of the coupled posterior.
        min_scale: Smallest standard deviation of the priors.
        min_pixel_scale: Smallest standard deviation of a pixel; 0.005 in the paper. The larger
            one is meant to keep images of one colour, which can be learnt to that precision, from
            outweighing all others.
        aggr: How the graph blocks aggregate messages, ``"sum"`` or ``"mean"``.
    """
    w_channels = channels * grid**2
    encoder = CompVAEEncoder(
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
    )
    start_at_prior(encoder)
    z_prior = nn.Sequential(nn.Linear(w_channels, 128), nn.ELU(), zero_linear(128, 2 * z_channels))
    model = CompVAE(
        encoder=encoder,
        generator=CompVAEGenerator(
            w_prior=NormalNetwork(SiteField(channels, grid), min_scale),
            z_prior=NormalNetwork(z_prior, min_scale),
            decoder=NormalNetwork(
                FieldDecoder(channels, grid, z_channels),
                min_pixel_scale,
                mean_channels=3,
                event_dims=3,
            ),
        ),
        embedding=GlimpseEmbedding(whole_channels, part_channels),
        event_shape=(3, IMAGE_SIZE, IMAGE_SIZE),
        residual_posterior=True,
    )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
