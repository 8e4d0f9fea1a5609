"""What networks of several kinds of wholes are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from compvae_pyg.distributions import NormalNetwork
from compvae_pyg.distributions.normal import BoundedScale, bound_scale
from compvae_pyg.models import CompVAE, CompVAEEncoder, CompVAEGenerator
from compvae_pyg.networks.fields import FieldEmbedding
from compvae_pyg.networks.normalization import DataUnits, Normalization
from compvae_pyg.nn import Fields, PackedParts, Residual, ZeroLinear

__all__ = [
    "AggregateNormal",
    "PartNormal",
    "StyleHead",
    "activated",
    "compress",
    "conv3x3",
    "gaussian_compvae",
    "scale_of",
    "sizes_of",
    "whole_posterior",
]

_LABEL_SCALE = 0.05  # of channels of p(w|l) but for style, at first
_MAX_Z_SCALE = 3.0  # of z, whose unit is the decoder's to choose
_MAX_W_SCALE = 10.0  # of w, likewise; of a residual posterior, in units of the prior's


def compress(x: Tensor) -> Tensor:
    r"""Return :math:`\operatorname{sign}(x) \log(1 + |x|)`, so that sums of many parts stay small.

    Example:
        >>> compress(torch.tensor([-1e4, 0.01]))
        tensor([-9.2104,  0.0100])
    """
    return torch.sign(x) * torch.log1p(x.abs())


def scale_of(w_sum: Tensor) -> Tensor:
    r"""Return how large an aggregate is, :math:`\sqrt{1 + |\tilde w|^2 / D_w}`, ``[S, 1]``.

    Example:
        >>> scale_of(torch.tensor([[3.0, 4.0, 0.0]]))
        tensor([[3.0551]])
    """
    return torch.sqrt(1.0 + w_sum.square().mean(dim=1, keepdim=True))


def sizes_of(batch: Tensor, batch_size: int, like: Tensor) -> Tensor:
    """Return what tells the number of parts K of each set, 1 / K and log K, ``[S, 2]``.

    Example:
        >>> sizes_of(torch.tensor([0, 0, 1]), 2, torch.zeros(1))
        tensor([[0.5000, 0.6931],
                [1.0000, 0.0000]])
    """
    sets = PackedParts(batch, batch, batch_size, validate=False)
    size = sets.sizes().clamp(min=1.0).unsqueeze(1)
    return torch.cat([1.0 / size, size.log()], dim=1).to(like.dtype)


class PartNormal(nn.Module):
    r"""Mean and log-variance of p(w|l), from the fields of a part.

    Most channels identify the part: their means start as standard normal, with standard deviations
    of 0.05. The last, of *style*, start as standard normal for all parts, room for what the fields
    do not determine.
    """

    def __init__(
        self,
        fields: Mapping[str, Mapping[str, int]],
        w_channels: int,
        hidden_channels: int,
        style_channels: int,
    ) -> None:
        super().__init__()
        self.style_channels = style_channels
        self.embedding = FieldEmbedding(fields, 2 * w_channels, hidden_channels)
        self._init_style()

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        self.embedding.reset_parameters()
        self._init_style()

    def _init_style(self) -> None:
        end = self.embedding.out_channels
        size, style = end // 2, self.style_channels
        for first, stop, gain, bias in (
            (size - style, size, 0.0, 0.0),
            (size, end - style, 0.1, 2.0 * math.log(_LABEL_SCALE)),
            (end - style, end, 0.1, 0.0),
        ):
            self.embedding.scale_outputs(first, stop, gain, bias)

    def forward(self, parts: Fields) -> Tensor:
        """Return means and log-variances, ``[N, 2 D_w]``."""
        return bound_scale(self.embedding(parts), _MAX_W_SCALE)


class StyleHead(nn.Module):
    """Residual posterior of parts: style with low variance at first, all else near the prior.

    The means of style are spread like the prior, so that the decoder learns to read them.
    """

    def __init__(self, hidden_channels: int, w_channels: int, style_channels: int) -> None:
        super().__init__()
        self.style_channels = style_channels
        self.lin = nn.Linear(hidden_channels, 3 * w_channels)
        self._init_style()

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        self.lin.reset_parameters()
        self._init_style()

    @torch.no_grad()
    def _init_style(self) -> None:
        weight, bias = (value.unflatten(0, (3, -1)) for value in (self.lin.weight, self.lin.bias))
        weight *= 0.1
        weight[0, -self.style_channels :] *= 1.5 / 0.1
        bias.zero_()
        bias[1, -self.style_channels :] = 2.0 * math.log(0.3)
        bias[2] = -3.0

    def forward(self, h: Tensor, parts: Tensor) -> Tensor:
        """Return means, log-variances and coupling logits, ``[N, 3 D_w]``."""
        return bound_scale(self.lin(h), _MAX_W_SCALE, 3)


class AggregateNormal(nn.Module):
    """Mean and log-variance of p(z|w), standard normal at first."""

    def __init__(self, w_channels: int, z_channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *activated(nn.Linear(w_channels + 1, hidden_channels)),
            ZeroLinear(hidden_channels, 2 * z_channels),
        )

    def forward(self, w_sum: Tensor) -> Tensor:
        """Return means and log-variances, ``[S, 2 D_z]``, of aggregates ``[S, D_w]``."""
        size = scale_of(w_sum)
        return bound_scale(self.net(torch.cat([w_sum / size, size.log()], dim=1)), _MAX_Z_SCALE)


def activated(*layers: nn.Module) -> list[nn.Module]:
    """Return layers, each followed by an ELU."""
    return [step for layer in layers for step in (layer, nn.ELU())]


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return a convolution that keeps the size of the image."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def whole_posterior(whole_channels: int, z_channels: int) -> nn.Sequential:
    """Return q(z|x), from features of the whole, initialised as a standard normal."""
    last = ZeroLinear(whole_channels, 2 * z_channels)
    return nn.Sequential(*activated(Residual(whole_channels)), last, BoundedScale(_MAX_Z_SCALE))


def gaussian_compvae(
    encoder: CompVAEEncoder,
    w_prior: nn.Module,
    z_prior: nn.Module,
    decoder: nn.Module,
    embedding: nn.Module,
    event_shape: tuple[int, ...],
    min_scale: float,
    min_whole_scale: float | None = None,
    residual_posterior: bool = False,
    normalization: Normalization | None = None,
) -> CompVAE:
    """Assemble a model whose priors and decoder are networks of means and log-variances.

    ``min_scale`` is the smallest standard deviation of the priors, ``min_whole_scale`` that of the
    numbers of the whole, by default the same. Means come first, in dimension 1 of the decoder's.
    With ``normalization``, the decoder's whole and ``min_whole_scale`` are normalised.
    """
    likelihood = NormalNetwork(
        decoder, min_whole_scale or min_scale, event_shape[0], len(event_shape)
    )
    return CompVAE(
        encoder=encoder,
        generator=CompVAEGenerator(
            w_prior=NormalNetwork(w_prior, min_scale),
            z_prior=NormalNetwork(z_prior, min_scale),
            decoder=DataUnits(likelihood, normalization) if normalization else likelihood,
        ),
        embedding=embedding,
        event_shape=event_shape,
        residual_posterior=residual_posterior,
    )
