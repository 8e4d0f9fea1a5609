"""What networks of several problems are made of."""

from torch import Tensor, nn

from compvae_pyg.distributions import NormalNetwork
from compvae_pyg.models import CompVAE, CompVAEEncoder, CompVAEGenerator
from compvae_pyg.nn import Residual, ZeroLinear

__all__ = ["StandardNormal", "activated", "conv3x3", "gaussian_compvae", "whole_posterior"]


def activated(*layers: nn.Module) -> list[nn.Module]:
    """Return layers, each followed by an ELU."""
    return [step for layer in layers for step in (layer, nn.ELU())]


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return a convolution that keeps the size of the image."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


class StandardNormal(nn.Module):
    """Mean and log-variance of a standard normal p(z), whatever the aggregate is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, w_sum: Tensor) -> Tensor:
        """Return means and log-variances, ``[S, 2 D_z]``, of aggregates ``[S, D_w]``."""
        return w_sum.new_zeros(w_sum.shape[0], 2 * self.channels)


def whole_posterior(whole_channels: int, z_channels: int) -> nn.Sequential:
    """Return q(z|x), from features of the whole, initialised as a standard normal."""
    return nn.Sequential(
        *activated(Residual(whole_channels)), ZeroLinear(whole_channels, 2 * z_channels)
    )


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
) -> CompVAE:
    """Assemble a model whose priors and decoder are networks of means and log-variances.

    ``min_scale`` is the smallest standard deviation of the priors, ``min_whole_scale`` that of the
    numbers of the whole, by default the same. Means come first, in dimension 1 of the decoder's.
    """
    whole_scale = min_whole_scale or min_scale
    return CompVAE(
        encoder=encoder,
        generator=CompVAEGenerator(
            w_prior=NormalNetwork(w_prior, min_scale),
            z_prior=NormalNetwork(z_prior, min_scale),
            decoder=NormalNetwork(decoder, whole_scale, event_shape[0], len(event_shape)),
        ),
        embedding=embedding,
        event_shape=event_shape,
        residual_posterior=residual_posterior,
    )
