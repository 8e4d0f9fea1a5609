"""Networks that return diagonal Gaussians."""

from torch import Tensor, nn
from torch.distributions import Independent, Normal

from compvae_pyg.distributions import LogVarianceNormal
from compvae_pyg.nn import at_least_float32, floor_log_variance
from compvae_pyg.nn.checks import check_count, check_number

__all__ = ["NormalNetwork"]


class NormalNetwork(nn.Module):
    r"""A network read as the mean and log-variance of a diagonal Gaussian.

    .. math::
        p(y \mid c) = \mathcal{N}\bigl(y; \mu, e^{\nu}\bigr), \qquad (\mu, \nu) = \mathrm{net}(c)

    where :math:`\mu` and :math:`\nu` are consecutive channels (dimension 1) of the output, and
    :math:`\nu` passes through the soft floor of
    :func:`~compvae_pyg.nn.floor_log_variance`, so that :math:`\sigma \geq \sigma_0`.

    Args:
        net: Any module whose output is ``[B, C_mu + C_nu, ...]``.
        min_scale: Smallest standard deviation :math:`\sigma_0`.
        mean_channels: Number of channels :math:`C_\mu`; by default half of them. With
            :math:`C_\nu = 1` all channels of the mean share one variance.
        event_dims: How many trailing dimensions of the Gaussian make one event, whose
            log-density is summed over them.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a number is out of range.

    Example:
        >>> import torch
        >>> net = NormalNetwork(nn.Linear(3, 8), min_scale=0.01)
        >>> net(torch.randn(5, 3)).mean.shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        net: nn.Module,
        min_scale: float,
        mean_channels: int | None = None,
        event_dims: int = 0,
    ) -> None:
        super().__init__()
        if not callable(net):
            raise TypeError(f"net must be a module (got {type(net).__name__})")
        check_number(min_scale, "min_scale")
        if not min_scale > 0:
            raise ValueError(f"min_scale must be positive (got {min_scale})")
        if mean_channels is not None:
            check_count(mean_channels, "mean_channels")
        check_count(event_dims, "event_dims", at_least=0)
        self.net = net
        self.min_scale = min_scale
        self.mean_channels = mean_channels
        self.event_dims = event_dims

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Normal | Independent:
        """Return the Gaussian, wrapped in ``Independent`` when ``event_dims`` is not 0."""
        out = at_least_float32(self.net(*args, **kwargs))
        channels = self.mean_channels or out.shape[1] // 2
        loc, log_variance = out.split([channels, out.shape[1] - channels], dim=1)
        log_variance = floor_log_variance(log_variance, self.min_scale)
        normal = LogVarianceNormal(loc, log_variance, validate_args=False)
        if self.event_dims == 0:
            return normal
        return Independent(normal, self.event_dims, validate_args=False)

    def extra_repr(self) -> str:
        """Show the floor."""
        return f"min_scale={self.min_scale}"
