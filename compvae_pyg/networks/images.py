r"""Networks for images that are made of parts at places, whatever these look like.

The latent of a part is a field, :math:`C` channels on a grid of :math:`G_y \times G_x` cells of two
by two pixels, so that the sum over the parts is one too, and convolutions turn it into the image.

- The prior of a part is a *template*, which a network makes of its fields, or a table of its
  category, moved to where the part is. Most of its channels identify the part, with little variance
  at first; the last, of *style*, start as standard normal, room for what the fields do not
  determine. Outside the template, mean and variance are zero.
- The inference network crops the part's surroundings from the image, and its output is in the frame
  of the template, to be moved in the same way. Outside the template it is the prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compvae_pyg.distributions import Coupling
from compvae_pyg.distributions.normal import StandardNormal, bound_scale, soft_minimum
from compvae_pyg.models import CompVAE, CompVAEEncoder, register_architecture
from compvae_pyg.networks.building_blocks import (
    activated,
    compress,
    conv3x3,
    gaussian_compvae,
    scale_of,
    whole_posterior,
)
from compvae_pyg.networks.fields import FieldEmbedding, read_fields
from compvae_pyg.networks.normalization import Normalization
from compvae_pyg.networks.patches import cut_patches, place_patches
from compvae_pyg.nn import Fields, Residual, ZeroLinear
from compvae_pyg.nn.checks import (
    check_continuous,
    check_count,
    check_counts,
    check_number,
    check_options,
)

__all__ = ["build_images"]

_CELL = 2  # pixels along each side
_REST_SCALE = 1e-3  # standard deviation where a part is not
_LABEL_SCALE = 0.05  # standard deviation of a template's channels but for style, at first
_FAR_LOGIT = -4.0  # coupling logit outside the template
_MAX_SCALE = 10.0  # standard deviation in a template; of the posterior, in units of that
_MAX_NOISE = 3.0  # standard deviation of a pixel, in units of its own and of the aggregate's size


class TemplateField(nn.Module):
    """Mean and log-variance of a part's field: its template at its place."""

    def __init__(
        self,
        fields: Mapping[str, Mapping[str, int]],
        channels: int,
        style_channels: int,
        grid: tuple[int, int],
        extent: float,
        resolution: int,
        hidden_channels: int,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.extent = extent
        self.label_channels = channels - style_channels
        self.template_shape = (2 * channels, resolution, resolution)
        self.template = FieldEmbedding(fields, math.prod(self.template_shape), hidden_channels)
        self._init_template()

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        self.template.reset_parameters()
        self._init_template()

    def _init_template(self) -> None:
        channels, height, width = self.template_shape
        label, loc, end = (
            c * height * width for c in (self.label_channels, channels // 2, channels)
        )
        for first, stop, gain, bias in (
            (0, label, 0.5, 0.0),
            (label, loc, 0.0, 0.0),
            (loc, loc + label, 0.0, math.log(_LABEL_SCALE)),
            (loc + label, end, 0.0, 0.0),
        ):
            self.template.scale_outputs(first, stop, gain, bias)

    def forward(self, parts: Fields) -> Tensor:
        """Return means and log-variances, ``[N, 2 C G_y G_x]``."""
        pos = check_continuous(parts, 2, "pos")
        loc, log_scale = self.template(parts).unflatten(1, self.template_shape).chunk(2, dim=1)
        scale = soft_minimum(log_scale, math.log(_MAX_SCALE)).exp()
        template = torch.cat([loc, scale], dim=1)
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
        loc, log_variance, logits = bound_scale(field.flatten(1), _MAX_SCALE, 3).chunk(3, dim=1)
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
        out = self.shuffle(self.last(h))
        loc, log_variance = out[:, :-1], out[:, -1:]
        largest = 2.0 * (scale_of(w_sum).log() + math.log(_MAX_NOISE))
        return torch.cat([loc, soft_minimum(log_variance, largest[:, :, None, None])], dim=1)


class ImageEmbedding(nn.Module):
    """Features of images and of parts; those of a part include its surroundings, cropped."""

    def __init__(
        self,
        fields: Mapping[str, Mapping[str, int]],
        image_shape: tuple[int, int, int],
        whole_channels: int,
        part_channels: int,
        extent: float,
        normalization: Normalization,
    ) -> None:
        super().__init__()
        self.extent = extent
        self.normalization = normalization
        channels, height, width = image_shape
        self.patch = (math.ceil(extent * height), math.ceil(extent * width))
        self.whole = nn.Sequential(
            *activated(
                nn.Conv2d(channels, 16, 4, stride=2, padding=1),
                nn.Conv2d(16, 16, 4, stride=2, padding=1),
            ),
            nn.Flatten(),
            *activated(nn.Linear(16 * (height // 4) * (width // 4), whole_channels)),
        )
        self.fields = FieldEmbedding(fields, 128, 128)
        self.cut = nn.Linear(channels * math.prod(self.patch), 128)
        self.part = nn.Sequential(
            nn.ELU(), *activated(Residual(128)), nn.Linear(128, part_channels - 2)
        )

    def forward(self, whole: Tensor, parts: Fields, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of images, ``[S, C_x]``, and of parts, ``[N, C_l]``, position last."""
        pos = check_continuous(parts, 2, "pos")
        image = compress(self.normalization(whole)).to(whole.dtype)
        seen = cut_patches(image, pos, batch, self.patch, self.extent).flatten(1)
        features = self.part(self.cut(seen) + self.fields(parts))
        return self.whole(image), torch.cat([features, pos], dim=1)


@register_architecture("networks", "images")
@check_options
def build_images(
    fields: Mapping[str, Mapping[str, int]],
    size: Sequence[int],
    channels: int = 1,
    extent: float = 0.5,
    field_channels: int = 5,
    style_channels: int = 1,
    resolution: int = 6,
    z_channels: int = 8,
    hidden_channels: int = 128,
    part_channels: int = 96,
    whole_channels: int = 32,
    num_blocks: int = 2,
    coupling: Coupling = "scaled",
    prior_coupling: bool = False,
    residual_posterior: bool = True,
    aggr: str = "sum",
    min_scale: float = 1e-3,
    min_whole_scale: float = 0.4,
) -> CompVAE:
    """Build networks for images that are made of parts at places.

    Beside its fields, a part has a position ``pos``, ``[N, 2]``: x to the right and y downwards, in
    the image's [-1, 1]² from edge to edge. Images and continuous fields are normalised in the
    networks, by moments that :func:`fit_normalization` takes of the training data: an image by one
    mean and one standard deviation for each channel; positions are not.

    Args:
        fields: What else describes a part: :class:`Categorical` and :class:`Continuous` fields by
            name.
        size: Height and width of an image, even numbers of pixels.
        channels: Channels of an image; wholes are ``[S, channels, *size]``.
        extent: Width and height of what a part can touch, in those of an image, in (0, 2];
            positions are its centres, as for :func:`place_patches`.
        field_channels: Channels of the field that is a part's latent.
        style_channels: How many of them are for what the fields do not determine.
        resolution: Points of a template along each side.
        hidden_channels: As all others that are not named here, see
            :class:`~compvae_pyg.models.CompVAEEncoder`.
        residual_posterior: See :class:`~compvae_pyg.models.CompVAE`.
        min_scale: Smallest standard deviation of the priors.
        min_whole_scale: Smallest standard deviation of a pixel, in units of the standard deviation
            that its channel has in the training data.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If an argument is out of range.

    Example:
        >>> from compvae_pyg.networks import Categorical
        >>> model = build_images(fields={"category": Categorical(3)}, size=(24, 24))
        >>> parts = {"category": torch.tensor([0, 2]), "pos": torch.rand(2, 2)}
        >>> model.generate(parts).shape
        torch.Size([1, 1, 24, 24])
    """
    known = read_fields(fields)
    if "pos" in known:
        raise ValueError("fields must not have 'pos', which all parts have (got it)")
    check_count(channels, "channels")
    check_count(part_channels, "part_channels", at_least=3)  # two are the position
    if style_channels > field_channels:
        raise ValueError(f"style_channels must be at most {field_channels} (got {style_channels})")
    check_counts(size, "size")
    if len(size) != 2 or any(number % _CELL or number < 2 * _CELL for number in size):
        got = f"got {list(size)}"
        raise ValueError(f"size must be an even height and width of at least 4 ({got})")
    check_number(extent, "extent", positive=True)
    if extent > 2.0:
        raise ValueError(f"extent must lie in (0, 2] (got {extent})")
    height, width = size
    shape, grid = (channels, height, width), (height // _CELL, width // _CELL)
    template = (field_channels, style_channels, grid, extent, resolution)
    normalization = Normalization("whole", (channels, 1, 1))
    model = gaussian_compvae(
        encoder=CompVAEEncoder(
            whole_channels,
            part_channels,
            hidden_channels,
            w_channels=field_channels * math.prod(grid),
            z_channels=z_channels,
            num_blocks=num_blocks,
            coupling=coupling,
            part_noise=False,
            z_head=whole_posterior(whole_channels, z_channels),
            prior_coupling=prior_coupling,
            aggr=aggr,
            w_head=TemplateHead(hidden_channels, *template),
        ),
        decoder=FieldImage(field_channels, grid, z_channels, channels + 1),
        w_prior=TemplateField(known, *template, hidden_channels),
        z_prior=StandardNormal(z_channels),
        embedding=ImageEmbedding(
            known, shape, whole_channels, part_channels, extent, normalization
        ),
        event_shape=shape,
        min_scale=min_scale,
        min_whole_scale=min_whole_scale,
        residual_posterior=residual_posterior,
        normalization=normalization,
    )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
