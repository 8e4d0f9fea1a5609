r"""Networks for images whose parts have a category and a place, whatever they look like.

The latent of a part is a field, :math:`C` channels on a grid of :math:`G_y \times G_x` cells of two
by two pixels, so that the sum over the parts is one too, and convolutions turn it into the image.

- The prior of a category is a *template*, moved to where the part is. Most of its channels identify
  the category, with little variance at first; the last, of *style*, start as standard normal, room
  for what the category does not determine. Outside the template, mean and variance are zero.
- The inference network crops the part's surroundings from the image, and its output is in the frame
  of the template, to be moved in the same way. Outside the template it is the prior.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compvae_pyg.distributions import Coupling
from compvae_pyg.models import CompVAE, CompVAEEncoder, register_architecture
from compvae_pyg.nn import Fields, Residual, ZeroLinear
from compvae_pyg.nn.checks import (
    check_count,
    check_counts,
    check_number,
    check_options,
    check_places,
)
from compvae_pyg.nn.packed import gather
from compvae_pyg.problems.building_blocks import (
    StandardNormal,
    activated,
    conv3x3,
    gaussian_compvae,
    whole_posterior,
)
from compvae_pyg.problems.patches import cut_patches, place_patches

__all__ = ["build_placed"]

_CELL = 2  # pixels along each side
_REST_SCALE = 1e-3  # standard deviation where a part is not
_LABEL_SCALE = 0.05  # standard deviation of a template's channels but for style, at first
_FAR_LOGIT = -4.0  # coupling logit outside the template


class TemplateField(nn.Module):
    """Mean and log-variance of a part's field: its category's template at its place."""

    def __init__(
        self,
        num_categories: int,
        channels: int,
        style_channels: int,
        grid: tuple[int, int],
        extent: float,
        resolution: int,
    ) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.grid = grid
        self.extent = extent
        self.label_channels = channels - style_channels
        shape = (num_categories, channels, resolution, resolution)
        self.loc = nn.Parameter(torch.empty(shape))
        self.log_scale = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        self.loc.normal_(std=0.5)
        self.loc[:, self.label_channels :] = 0.0
        self.log_scale.zero_()
        self.log_scale[:, : self.label_channels] = math.log(_LABEL_SCALE)

    def forward(self, parts: Fields) -> Tensor:
        """Return means and log-variances, ``[N, 2 C G_y G_x]``."""
        category, pos = check_places(parts, self.num_categories)
        template = gather(torch.cat([self.loc, self.log_scale.exp()], dim=1), category)
        loc, scale = place_patches(template, pos, self.grid, self.extent).chunk(2, dim=1)
        return torch.cat([loc, 2.0 * torch.log(scale + _REST_SCALE)], dim=1).flatten(1)


class TemplateHead(nn.Module):
    """Residual posterior of a part's field, in the frame of its template.

    The channels of style are initialised with low variance, their means spread like the prior, the
    others near the prior.
    """

    def __init__(
        self,
        hidden_channels: int,
        channels: int,
        style_channels: int,
        grid: tuple[int, int],
        extent: float,
        resolution: int,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.extent = extent
        self.style_channels = style_channels
        self.patch_shape = (3 * channels, resolution, resolution)
        self.lin = nn.Linear(hidden_channels, math.prod(self.patch_shape))
        self._init_style()

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        self.lin.reset_parameters()
        self._init_style()

    @torch.no_grad()
    def _init_style(self) -> None:
        shape = (3, -1, self.patch_shape[1] ** 2)
        weight, bias = (v.view(*shape, *v.shape[1:]) for v in (self.lin.weight, self.lin.bias))
        weight *= 0.1
        weight[0, -self.style_channels :] *= 1.5 / 0.1
        bias.zero_()
        bias[1, -self.style_channels :] = 2.0 * math.log(0.3)

    def forward(self, h: Tensor, parts: Tensor) -> Tensor:
        """Return means, log-variances and coupling logits, ``[N, 3 C G_y G_x]``."""
        patches, pos = self.lin(h).view(-1, *self.patch_shape), parts[:, -2:]
        field = place_patches(patches, pos.to(patches.dtype), self.grid, self.extent)
        loc, log_variance, logits = field.flatten(1).chunk(3, dim=1)
        return torch.cat([loc, log_variance, logits + _FAR_LOGIT], dim=1)


class FieldImage(nn.Module):
    """Image from the field of all parts, by convolutions."""

    def __init__(
        self, channels: int, grid: tuple[int, int], z_channels: int, out_channels: int
    ) -> None:
        super().__init__()
        self.field_shape = (channels, *grid)
        self.stem = conv3x3(channels, 32)
        self.z_lin = ZeroLinear(z_channels, 32)
        self.convs = nn.ModuleList(conv3x3(32, 32) for _ in range(2))
        self.last = conv3x3(32, _CELL**2 * out_channels)
        self.shuffle = nn.PixelShuffle(_CELL)
        self.act = nn.ELU()

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return the channels of the pixels, ``[S, out_channels, 2 G_y, 2 G_x]``."""
        field = w_sum.view(-1, *self.field_shape).contiguous(memory_format=torch.channels_last)
        h = self.act(self.stem(field) + self.z_lin(z)[:, :, None, None])
        for conv in self.convs:
            h = h + self.act(conv(h))
        return self.shuffle(self.last(h))


class PlacedEmbedding(nn.Module):
    """Features of images and of parts; those of a part include its surroundings, cropped."""

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
            *activated(
                nn.Conv2d(colors, 16, 4, stride=2, padding=1),
                nn.Conv2d(16, 16, 4, stride=2, padding=1),
            ),
            nn.Flatten(),
            *activated(nn.Linear(16 * (height // 4) * (width // 4), whole_channels)),
        )
        self.category = nn.Embedding(num_categories, 128)
        self.cut = nn.Linear(colors * math.prod(self.patch), 128)
        self.part = nn.Sequential(
            nn.ELU(), *activated(Residual(128)), nn.Linear(128, part_channels - 2)
        )

    def forward(self, whole: Tensor, parts: Fields, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of images, ``[S, C_x]``, and of parts, ``[N, C_l]``, position last."""
        category, pos = check_places(parts, self.num_categories)
        seen = cut_patches(whole, pos, batch, self.patch, self.extent).flatten(1)
        features = self.part(self.cut(seen) + self.category(category))
        return self.whole(whole), torch.cat([features, pos], dim=1)


@register_architecture("placed", "small")
@check_options
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
    """Build networks for images with localised parts, ``{"category": [N], "pos": [N, 2]}``.

    Args:
        num_categories: Number of categories.
        image_shape: Channels, height and width of an image; even numbers of pixels.
        extent: Width and height of what a part can touch, in those of an image, in (0, 2];
            positions are its centres, as for :func:`place_patches`.
        channels: Channels of the field that is a part's latent.
        style_channels: How many of them are for what the category does not determine.
        resolution: Points of a category's template along each side.
        hidden_channels: As all others, see :class:`~compvae_pyg.models.CompVAEEncoder`.
        min_scale: Smallest standard deviation of the priors.
        min_pixel_scale: Smallest standard deviation of a pixel.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If an argument is out of range.

    Example:
        >>> model = build_placed(num_categories=3, image_shape=(1, 24, 24), extent=0.5)
        >>> parts = {"category": torch.tensor([0, 2]), "pos": torch.rand(2, 2)}
        >>> model.generate(parts).shape
        torch.Size([1, 1, 24, 24])
    """
    check_count(num_categories, "num_categories")
    check_count(part_channels, "part_channels", at_least=3)  # two are the position
    if style_channels > channels:
        raise ValueError(f"style_channels must be at most {channels} (got {style_channels})")
    check_counts(image_shape, "image_shape")
    if len(image_shape) != 3 or any(size % _CELL for size in image_shape[1:]):
        got = f"got {list(image_shape)}"
        raise ValueError(f"image_shape must be channels, and an even height and width ({got})")
    check_number(extent, "extent", positive=True)
    if extent > 2.0:
        raise ValueError(f"extent must lie in (0, 2] (got {extent})")
    colors, height, width = image_shape
    shape, grid = (colors, height, width), (height // _CELL, width // _CELL)
    template = (channels, style_channels, grid, extent, resolution)
    model = gaussian_compvae(
        encoder=CompVAEEncoder(
            whole_channels,
            part_channels,
            hidden_channels,
            w_channels=channels * math.prod(grid),
            z_channels=z_channels,
            num_blocks=num_blocks,
            coupling=coupling,
            part_noise=False,
            z_head=whole_posterior(whole_channels, z_channels),
            w_head=TemplateHead(hidden_channels, *template),
        ),
        decoder=FieldImage(channels, grid, z_channels, colors + 1),
        w_prior=TemplateField(num_categories, *template),
        z_prior=StandardNormal(z_channels),
        embedding=PlacedEmbedding(num_categories, shape, whole_channels, part_channels, extent),
        event_shape=shape,
        min_scale=min_scale,
        min_whole_scale=min_pixel_scale,
        residual_posterior=True,
    )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
