r"""Networks for curves and vectors that are made of parts.

What they are of is learned. They are built to hold for more parts than in training:

- the inference network reads a whole over its number of parts, :math:`x / K`, and compressed,
  :math:`\operatorname{sign}(x) \log(1 + |x|)`; messages between parts are averaged;
- the decoder adds to a linear function of :math:`\tilde w` what a network makes of its direction
  and the logarithm of its size, times that size, in which the noise is bounded as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn.inits import reset

from compvae_pyg.distributions import Coupling
from compvae_pyg.distributions.normal import soft_minimum
from compvae_pyg.models import CompVAE, CompVAEEncoder, register_architecture
from compvae_pyg.models.encoder import PosteriorInit
from compvae_pyg.networks.building_blocks import (
    AggregateNormal,
    PartNormal,
    StyleHead,
    activated,
    compress,
    gaussian_compvae,
    scale_of,
    sizes_of,
    whole_posterior,
)
from compvae_pyg.networks.fields import FieldEmbedding, read_fields
from compvae_pyg.networks.normalization import Normalization
from compvae_pyg.nn import Fields, Residual, ZeroLinear
from compvae_pyg.nn.checks import check_count, check_options

__all__ = ["build_curves"]

_MAX_NOISE = 3.0  # standard deviation of the whole, in units of its own and of the aggregate's size
_MAPS = 32  # channels of the convolutions
_STRIDE = 4


class CurveEmbedding(nn.Module):
    """Features of curves, by convolutions or for vectors by linear layers, and of parts."""

    def __init__(
        self,
        fields: Mapping[str, Mapping[str, int]],
        shape: tuple[int, int],
        convolutional: bool,
        whole_channels: int,
        part_channels: int,
        hidden_channels: int,
        normalization: Normalization,
    ) -> None:
        super().__init__()
        channels, length = shape
        self.curve_shape = shape
        self.normalization = normalization
        self.linear = nn.Linear(channels * length + 2, whole_channels)
        if convolutional:
            coarse = -(-length // _STRIDE)
            self.net = nn.Sequential(
                *activated(
                    nn.Conv1d(2 * channels, _MAPS, 5, stride=2, padding=2),
                    nn.Conv1d(_MAPS, _MAPS, 5, stride=2, padding=2),
                ),
                nn.Flatten(),
                *activated(nn.Linear(_MAPS * coarse, hidden_channels)),
            )
        else:
            self.net = nn.Sequential(
                nn.Flatten(), *activated(nn.Linear(2 * channels * length, hidden_channels))
            )
        self.last = nn.Linear(hidden_channels, whole_channels)
        self.part = FieldEmbedding(fields, part_channels, hidden_channels)

    def forward(self, whole: Tensor, parts: Fields, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of wholes, ``[S, C_x]``, and of parts, ``[N, C_l]``."""
        x = self.normalization(whole).view(-1, *self.curve_shape).to(whole.dtype)
        sizes = sizes_of(batch, whole.shape[0], whole)
        relative = x * sizes[:, :1, None]
        nonlinear = self.last(self.net(torch.cat([relative, compress(x)], dim=1)))
        linear = self.linear(torch.cat([relative.flatten(1), sizes], dim=1))
        return linear + nonlinear, self.part(parts)


class CurveDecoder(nn.Module):
    r"""Means and log-variances of normalised curves, from the aggregate and z.

    .. math::
        \mu = A \tilde w + B z + b + s\, f(\tilde w / s, \log s, z), \qquad
        \nu = \min\bigl(g(\tilde w / s, \log s, z), 2 \log s + b_{max}\bigr)

    with the size :math:`s` of :func:`scale_of`, and :math:`f, g` one network, zero at first.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        squeeze: bool,
        convolutional: bool,
        w_channels: int,
        z_channels: int,
        hidden_channels: int,
    ) -> None:
        super().__init__()
        channels, length = shape
        self.curve_shape = shape
        self.squeeze = squeeze
        self.linear = nn.Linear(w_channels, channels * length)
        self.z_linear = ZeroLinear(z_channels, channels * length)
        self.trunk = nn.Sequential(
            *activated(
                nn.Linear(w_channels + 1 + z_channels, hidden_channels), Residual(hidden_channels)
            )
        )
        self.convs: nn.ModuleList | None = None
        if convolutional:
            self.coarse = nn.Linear(hidden_channels, _MAPS * -(-length // _STRIDE))
            self.convs = nn.ModuleList(nn.Conv1d(_MAPS, _MAPS, 5, padding=2) for _ in range(2))
            hidden_channels = _MAPS
        self.last = nn.Conv1d(hidden_channels, 2 * channels * (1 if convolutional else length), 1)
        self.act = nn.ELU()
        self._init_last()

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        for module in self.children():
            reset(module)
        self._init_last()

    @torch.no_grad()
    def _init_last(self) -> None:
        for parameter in self.last.parameters():
            parameter.zero_()

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return means and log-variances, ``[S, 2 T]`` or ``[S, 2 C, T]``."""
        channels, length = self.curve_shape
        size = scale_of(w_sum)
        h = self.trunk(torch.cat([w_sum / size, size.log(), z], dim=1))
        if self.convs is None:
            out = self.last(h.unsqueeze(2))
        else:
            out = self.act(self.coarse(h)).unflatten(1, (_MAPS, -1))
            for conv in self.convs:
                out = F.interpolate(out, scale_factor=2.0, mode="linear")
                out = out + self.act(conv(out))
            out = self.last(out)[..., :length]
        shift, log_variance = out.reshape(-1, 2, channels, length).unbind(dim=1)
        size = size.unsqueeze(2)
        loc = (self.linear(w_sum) + self.z_linear(z)).view(-1, channels, length) + size * shift
        log_variance = soft_minimum(log_variance, 2.0 * (size.log() + math.log(_MAX_NOISE)))
        both = torch.cat([loc, log_variance], dim=1)
        return both.flatten(1) if self.squeeze else both


@register_architecture("networks", "curves")
@check_options
def build_curves(
    fields: Mapping[str, Mapping[str, int]],
    length: int,
    channels: int | None = None,
    convolutional: bool = True,
    w_channels: int = 32,
    style_channels: int = 4,
    z_channels: int = 8,
    hidden_channels: int = 128,
    part_channels: int = 32,
    whole_channels: int = 64,
    num_blocks: int = 2,
    coupling: Coupling = "scaled",
    prior_coupling: bool = True,
    residual_posterior: bool = True,
    posterior_init: PosteriorInit | None = None,
    part_noise: bool = True,
    aggr: str = "mean",
    min_scale: float = 1e-3,
    min_whole_scale: float = 0.01,
) -> CompVAE:
    """Build networks for curves, or vectors, that are made of parts.

    Wholes and continuous fields are normalised in them, by moments that
    :func:`fit_normalization` takes of the training data: a curve by one mean and one standard
    deviation for each channel, a vector by those of each of its numbers.

    Args:
        fields: What describes a part: :class:`Categorical` and :class:`Continuous` fields by name.
        length: Number T of points of a curve, or of numbers of a vector.
        channels: Number C of curves that a whole has at the same points; wholes are then
            ``[S, C, T]``. By default they are ``[S, T]``.
        convolutional: Whether the whole is a curve, read and written by convolutions along its
            points; or else a vector, of numbers that have no order and units of their own.
        w_channels: Size of the latent of a part; as all others that are not named here, see
            :class:`~compvae_pyg.models.CompVAEEncoder`.
        style_channels: How many of its numbers are for what the fields do not determine.
        hidden_channels: Width of the graph blocks and of all other networks.
        posterior_init: By default style starts with low variance, and all else at the prior.
        residual_posterior: See :class:`~compvae_pyg.models.CompVAE`.
        min_scale: Smallest standard deviation of the priors.
        min_whole_scale: Smallest standard deviation of a number of the whole, in units of the
            standard deviation that it has in the training data.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If an argument is out of range.

    Example:
        >>> from compvae_pyg.networks import Categorical, Continuous
        >>> fields = {"kind": Categorical(5), "power": Continuous()}
        >>> model = build_curves(fields=fields, length=48)
        >>> parts = {"kind": torch.tensor([0, 4]), "power": torch.tensor([40.0, 60.0])}
        >>> model.generate(parts).shape
        torch.Size([1, 48])
    """
    known = read_fields(fields)
    check_count(length, "length")
    if style_channels > w_channels:
        raise ValueError(f"style_channels must be at most {w_channels} (got {style_channels})")
    if channels is not None:
        check_count(channels, "channels")
    shape = (channels or 1, length)
    event_shape = (length,) if channels is None else shape
    moments = tuple(
        1 if convolutional and d == len(event_shape) - 1 else size
        for d, size in enumerate(event_shape)
    )
    normalization = Normalization("whole", moments)
    head = StyleHead(hidden_channels, w_channels, style_channels)
    return gaussian_compvae(
        encoder=CompVAEEncoder(
            whole_channels,
            part_channels,
            hidden_channels,
            w_channels,
            z_channels,
            num_blocks=num_blocks,
            coupling=coupling,
            part_noise=part_noise,
            z_head=whole_posterior(whole_channels, z_channels),
            prior_coupling=prior_coupling,
            aggr=aggr,
            w_head=head if posterior_init is None else None,
            posterior_init="linear" if posterior_init is None else posterior_init,
        ),
        w_prior=PartNormal(known, w_channels, hidden_channels, style_channels),
        z_prior=AggregateNormal(w_channels, z_channels, hidden_channels),
        decoder=CurveDecoder(
            shape, channels is None, convolutional, w_channels, z_channels, hidden_channels
        ),
        embedding=CurveEmbedding(
            known,
            shape,
            convolutional,
            whole_channels,
            part_channels,
            hidden_channels,
            normalization,
        ),
        event_shape=event_shape,
        min_scale=min_scale,
        min_whole_scale=min_whole_scale,
        residual_posterior=residual_posterior,
        normalization=normalization,
    )
