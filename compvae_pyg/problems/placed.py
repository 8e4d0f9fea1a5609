r"""Networks for parts that have a category and a place in an image, whatever they look like.

The latent of a part is a field, :math:`C` channels on a grid of cells of two by two pixels, so that
the sum over the parts is one too, and convolutions turn it into the image. What a part looks like
is learnt, and may vary:

- the prior of a category is a *template*, moved to where the part is. Most of its channels tell the
  category, with little variance at first; the others begin as standard normal, room for what the
  category does not tell. Outside the template there is neither mean nor variance;
- the inference network cuts the part's surroundings out of the image, and gives its answer in the
  frame of the template, to be moved in the same way: it has not to learn a place anew. Outside the
  template its law is the prior.
"""

import math
from collections.abc import Sequence

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
    zero_linear,
)
from compvae_pyg.nn import Residual, set_gather
from compvae_pyg.nn.checks import check_count, check_number
from compvae_pyg.problems.checks import check_places
from compvae_pyg.problems.patches import cut_patches, place_patches
from compvae_pyg.problems.whole_latent import StandardNormal, whole_posterior

__all__ = ["build_placed"]

# Pixels of a cell along each side.
_CELL = 2
# Standard deviation where a part is not.
_REST_SCALE = 1e-3


class TemplateField(nn.Module):
    r"""Mean and log-variance of a part's field: its category's template at its place.

    Args:
        num_categories: Number of categories.
        channels: Channels :math:`C` of the field.
        style_channels: How many of them, the last, are for what the category does not tell.
        grid: Cells of the field along each side of the image, :math:`(G_y, G_x)`.
        extent: Width and height of a template, in those of the image.
        resolution: Points of a template along each side.
        label_scale: Standard deviation of the other channels, at first.

    Shapes:
        - **input:** category :math:`(N)`, position :math:`(N, 2)`
        - **output:** :math:`(N, 2 C G_y G_x)`
    """

    def __init__(
        self,
        num_categories: int,
        channels: int,
        style_channels: int,
        grid: tuple[int, int],
        extent: float,
        resolution: int,
        label_scale: float = 0.05,
    ) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.grid = grid
        self.extent = extent
        shape = (num_categories, channels, resolution, resolution)
        loc = 0.5 * torch.randn(shape)
        loc[:, channels - style_channels :] = 0.0
        log_scale = torch.zeros(shape)
        log_scale[:, : channels - style_channels] = math.log(label_scale)
        self.loc = nn.Parameter(loc)
        self.log_scale = nn.Parameter(log_scale)

    def forward(self, parts: Parts) -> Tensor:
        """Return means and log-variances, one after the other."""
        category, pos = check_places(parts, self.num_categories)
        template = set_gather(torch.cat([self.loc, self.log_scale.exp()], dim=1), category)
        loc, scale = place_patches(template, pos, self.grid, self.extent).chunk(2, dim=1)
        return torch.cat([loc, 2.0 * torch.log(scale + _REST_SCALE)], dim=1).flatten(1)


class TemplateHead(nn.Module):
    r"""Posterior of a part's field in units of the prior, in the frame of its template.

    The channels of style begin as a code, with means spread like the prior and little noise (see
    :func:`~compvae_pyg.models.start_as_code`), the others near the prior.

    Args:
        hidden_channels: Size of the state of a part.
        channels: Channels :math:`C` of the field.
        style_channels: How many of them, the last, are for what the category does not tell.
        grid: Cells of the field along each side of the image, :math:`(G_y, G_x)`.
        extent: Width and height of a template, in those of the image.
        resolution: Points of a template along each side.
        scale: Standard deviation at first, in units of the prior's.
        gain: Factor on the first weights of the means.
        far_logit: Coupling logit outside the template.

    Shapes:
        - **input:** state :math:`(N, H)`, features :math:`(N, C_l)` whose last two are the position
        - **output:** :math:`(N, 3 C G_y G_x)`: means, log-variances, coupling logits
    """

    def __init__(
        self,
        hidden_channels: int,
        channels: int,
        style_channels: int,
        grid: tuple[int, int],
        extent: float,
        resolution: int,
        scale: float = 0.3,
        gain: float = 1.5,
        far_logit: float = -4.0,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.extent = extent
        self.far_logit = far_logit
        self.patch_shape = (3 * channels, resolution, resolution)
        self.lin = nn.Linear(hidden_channels, math.prod(self.patch_shape))
        with torch.no_grad():
            shape = (3, channels, resolution**2)
            loc, _, _ = self.lin.weight.view(*shape, hidden_channels)
            self.lin.weight *= 0.1
            loc[-style_channels:] *= gain / 0.1
            self.lin.bias.zero_()
            _, log_variance, _ = self.lin.bias.view(shape)
            log_variance[-style_channels:] = 2.0 * math.log(scale)

    def forward(self, h: Tensor, parts: Tensor) -> Tensor:
        """Return the numbers of all cells."""
        patches = self.lin(h).view(-1, *self.patch_shape)
        field = place_patches(patches, parts[:, -2:].to(patches.dtype), self.grid, self.extent)
        loc, log_variance, logits = field.flatten(1).chunk(3, dim=1)
        return torch.cat([loc, log_variance, logits + self.far_logit], dim=1)


class FieldImage(nn.Module):
    r"""Image from the field of all parts, by convolutions.

    Args:
        channels: Channels :math:`C` of the field.
        grid: Cells of the field along each side of the image, :math:`(G_y, G_x)`.
        z_channels: Size of the latent of the whole.
        out_channels: Numbers :math:`O` of each pixel.
        hidden_channels: Channels of the convolutions.
        num_blocks: Number of residual convolutions.

    Shapes:
        - **input:** sum of the latents :math:`(S, C G_y G_x)`, z :math:`(S, D_z)`
        - **output:** :math:`(S, O, 2 G_y, 2 G_x)`
    """

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        z_channels: int,
        out_channels: int,
        hidden_channels: int = 32,
        num_blocks: int = 2,
    ) -> None:
        super().__init__()
        self.field_shape = (channels, *grid)
        self.stem = nn.Conv2d(channels, hidden_channels, 3, padding=1)
        self.z_lin = zero_linear(z_channels, hidden_channels)
        self.convs = nn.ModuleList(
            nn.Conv2d(hidden_channels, hidden_channels, 3, padding=1) for _ in range(num_blocks)
        )
        self.last = nn.Conv2d(hidden_channels, _CELL**2 * out_channels, 3, padding=1)
        self.shuffle = nn.PixelShuffle(_CELL)
        self.act = nn.ELU()

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return the channels of the pixels."""
        field = w_sum.view(-1, *self.field_shape).contiguous(memory_format=torch.channels_last)
        h = self.act(self.stem(field) + self.z_lin(z)[:, :, None, None])
        for conv in self.convs:
            h = h + self.act(conv(h))
        return self.shuffle(self.last(h))


class PlacedEmbedding(nn.Module):
    r"""Features of images and of parts; those of a part include its surroundings, cut out.

    The last two features of a part are its position.

    Args:
        num_categories: Number of categories.
        image_shape: Channels, height and width of an image.
        whole_channels: Size of the features of an image.
        part_channels: Size of the features of a part.
        extent: Width and height of what is cut out, in those of an image.

    Shapes:
        - **input:** images :math:`(S, C, H, W)`, category :math:`(N)`, position :math:`(N, 2)`
        - **output:** :math:`(S, C_x)` and :math:`(N, C_l)`
    """

    def __init__(
        self,
        num_categories: int,
        image_shape: tuple[int, int, int],
        whole_channels: int,
        part_channels: int,
        extent: float,
    ) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.extent = extent
        colors, height, width = image_shape
        self.patch = (math.ceil(extent * height), math.ceil(extent * width))
        self.whole = nn.Sequential(
            nn.Conv2d(colors, 16, 4, stride=2, padding=1),
            nn.ELU(),
            nn.Conv2d(16, 16, 4, stride=2, padding=1),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(16 * (height // 4) * (width // 4), whole_channels),
            nn.ELU(),
        )
        self.category = nn.Embedding(num_categories, 128)
        self.cut = nn.Linear(colors * math.prod(self.patch), 128)
        self.part = nn.Sequential(
            nn.ELU(), Residual(128), nn.ELU(), nn.Linear(128, part_channels - 2)
        )

    def forward(self, whole: Tensor, parts: Parts, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the images and of the parts."""
        category, pos = check_places(parts, self.num_categories)
        seen = cut_patches(whole, pos, batch, self.patch, self.extent).flatten(1)
        features = self.part(self.cut(seen) + self.category(category))
        return self.whole(whole), torch.cat([features, pos], dim=1)


@register_architecture("placed", "small")
def build_placed(
    num_categories: int,
    image_shape: Sequence[int],
    extent: float,
    channels: int = 5,
    style_channels: int = 1,
    resolution: int = 6,
    hidden_channels: int = 128,
    part_channels: int = 96,
    whole_channels: int = 32,
    z_channels: int = 8,
    num_blocks: int = 2,
    coupling: Coupling = "scaled",
    min_scale: float = 1e-3,
    min_pixel_scale: float = 0.1,
) -> CompVAE:
    """Build networks for parts ``{"category": [N], "pos": [N, 2]}`` of images.

    Positions are centres, in the images' :math:`[-1, 1]^2` from edge to edge.

    Args:
        num_categories: Number of categories.
        image_shape: Channels, height and width of an image; even numbers of pixels.
        extent: Width and height of what a part can touch, in those of an image.
        channels: Channels of the field that is a part's latent.
        style_channels: How many of them are for what the category does not tell.
        resolution: Points of a category's template along each side.
        hidden_channels: Width of the graph blocks.
        part_channels: Size of the features of a part.
        whole_channels: Size of the features of an image.
        z_channels: Size of the latent of the whole.
        num_blocks: Number of graph blocks.
        coupling: Form of the coupled posterior.
        min_scale: Smallest standard deviation of the priors.
        min_pixel_scale: Smallest standard deviation of a pixel.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If ``image_shape`` is not three numbers, the last two even, ``extent`` is not
            in (0, 2], or another number is not positive.

    Example:
        >>> model = build_placed(num_categories=3, image_shape=(1, 24, 24), extent=0.5)
        >>> parts = {"category": torch.tensor([0, 2]), "pos": torch.rand(2, 2)}
        >>> model.generate(parts).shape
        torch.Size([1, 1, 24, 24])
    """
    counts = {
        "num_categories": num_categories,
        "channels": channels,
        "style_channels": style_channels,
        "resolution": resolution,
        "hidden_channels": hidden_channels,
        "part_channels": part_channels,
        "whole_channels": whole_channels,
        "z_channels": z_channels,
    }
    for name, count in counts.items():
        check_count(count, name)
    check_number(extent, "extent")
    check_number(min_pixel_scale, "min_pixel_scale")
    if not min_pixel_scale > 0:
        raise ValueError(f"min_pixel_scale must be positive (got {min_pixel_scale})")
    if style_channels > channels:
        raise ValueError(f"style_channels must be at most {channels} (got {style_channels})")
    if not isinstance(image_shape, Sequence):
        raise TypeError(f"image_shape must be three numbers (got {type(image_shape).__name__})")
    shape = tuple(image_shape)
    whole_numbers = all(isinstance(size, int) for size in shape)
    if not whole_numbers or len(shape) != 3 or min(shape) < 1 or any(n % _CELL for n in shape[1:]):
        raise ValueError(
            f"image_shape must be channels, and an even height and width (got {list(shape)})"
        )
    if not 0.0 < extent <= 2.0:
        raise ValueError(f"extent must lie in (0, 2] (got {extent})")
    colors, height, width = shape
    grid = (height // _CELL, width // _CELL)
    w_channels = channels * math.prod(grid)
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
        w_head=TemplateHead(hidden_channels, channels, style_channels, grid, extent, resolution),
    )
    decoder = FieldImage(channels, grid, z_channels, colors + 1)
    prior = TemplateField(num_categories, channels, style_channels, grid, extent, resolution)
    model = CompVAE(
        encoder=encoder,
        generator=CompVAEGenerator(
            w_prior=NormalNetwork(prior, min_scale),
            z_prior=NormalNetwork(StandardNormal(z_channels), min_scale),
            decoder=NormalNetwork(decoder, min_pixel_scale, mean_channels=colors, event_dims=3),
        ),
        embedding=PlacedEmbedding(
            num_categories, (colors, height, width), whole_channels, part_channels, extent
        ),
        event_shape=shape,
        residual_posterior=True,
    )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
