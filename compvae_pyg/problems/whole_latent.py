"""The latent of the whole in networks of a size for a laptop's CPU."""

from torch import Tensor, nn

from compvae_pyg.models import zero_linear
from compvae_pyg.nn import Residual

__all__ = ["StandardNormal", "whole_posterior"]


class StandardNormal(nn.Module):
    """Mean and log-variance of a standard normal latent, whatever the sum of the parts is.

    Args:
        channels: Size of the latent.

    Shapes:
        - **input:** sum of the latents :math:`(S, D_w)`
        - **output:** zeros :math:`(S, 2 D_z)`
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, w_sum: Tensor) -> Tensor:
        """Return means and log-variances, one after the other."""
        return w_sum.new_zeros(w_sum.shape[0], 2 * self.channels)


def whole_posterior(whole_channels: int, z_channels: int) -> nn.Sequential:
    r"""Build :math:`q(z \mid x)` on features of the whole; it begins at its bias, zero.

    Args:
        whole_channels: Size of the features of a whole.
        z_channels: Size of the latent.

    Shapes:
        - **input:** features :math:`(S, C_x)`
        - **output:** :math:`(S, 2 D_z)`, means and log-variances
    """
    return nn.Sequential(
        Residual(whole_channels), nn.ELU(), zero_linear(whole_channels, 2 * z_channels)
    )
