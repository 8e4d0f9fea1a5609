"""First weights that let training open one road after the other."""

import math

import torch
from torch import nn

from compvae_pyg.models.encoder import CompVAEEncoder

__all__ = ["start_as_code", "start_at_prior", "zero_linear"]


def zero_linear(in_channels: int, out_channels: int) -> nn.Linear:
    """Return a layer that gives zero at first, so that a road opens without a jolt.

    Example:
        >>> zero_linear(3, 2)(torch.ones(1, 3)).tolist()
        [[0.0, 0.0]]
    """
    lin = nn.Linear(in_channels, out_channels)
    nn.init.zeros_(lin.weight)
    nn.init.zeros_(lin.bias)
    return lin


def start_at_prior(encoder: CompVAEEncoder, coupling_logit: float = -3.0) -> None:
    """Let the posterior of the parts begin near its prior, with little coupling.

    It is meant for posteriors in units of their prior, see :meth:`CompVAEEncoder.forward`.

    Args:
        encoder: What is changed, in place.
        coupling_logit: The coupling logits at first.

    Raises:
        TypeError: If the encoder has a ``w_head`` of its own.
    """
    head = _linear_head(encoder)
    with torch.no_grad():
        head.weight *= 0.1
        head.bias.zero_()
        head.bias[2 * encoder.w_channels :] = coupling_logit


def start_as_code(encoder: CompVAEEncoder, scale: float = 0.1, gain: float = 1.5) -> None:
    r"""Let the posterior of the parts begin as a code: means spread like the prior, little noise.

    A latent that is all noise at first is one that a decoder learns to ignore, for good where it
    does without. It is meant for posteriors in units of their prior, see
    :meth:`CompVAEEncoder.forward`, whose divergence is held cheap at first.

    Args:
        encoder: What is changed, in place.
        scale: The standard deviations at first, in units of the prior's.
        gain: Factor on the first weights of the means.

    Raises:
        TypeError: If the encoder has a ``w_head`` of its own.
    """
    start_at_prior(encoder)
    head = _linear_head(encoder)
    loc, log_variance = slice(encoder.w_channels), slice(encoder.w_channels, 2 * encoder.w_channels)
    with torch.no_grad():
        head.weight[loc] *= gain / 0.1
        head.bias[log_variance] = 2.0 * math.log(scale)


def _linear_head(encoder: CompVAEEncoder) -> nn.Linear:
    if not isinstance(encoder.w_head, nn.Linear):
        raise TypeError(
            "encoder must have the w_head that it has by default, a Linear "
            f"(got {type(encoder.w_head).__name__})"
        )
    return encoder.w_head
