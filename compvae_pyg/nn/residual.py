"""Residual block of two linear layers."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch_geometric.nn.inits import reset

from compvae_pyg.nn import checks

__all__ = ["Residual", "elu_of", "plus"]


class Residual(nn.Module):
    r"""Two-layer residual block, :math:`h + W_2\,\mathrm{ELU}(W_1 h + b_1) + b_2` (Fig. 9).

    From Berger & Sebag, `"From abstract items to latent spaces to observed data and back"
    <https://inria.hal.science/hal-02431955>`_ (ECML PKDD 2019).

    Args:
        channels: Size of each input and of each output, :math:`C`.

    Shapes:
        - **input:** :math:`(*, C)`
        - **output:** :math:`(*, C)`

    Example:
        >>> import torch
        >>> Residual(8)(torch.randn(3, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        checks.check_count(channels, "channels")
        self.channels = channels
        self.lin1 = nn.Linear(channels, channels)
        self.lin2 = nn.Linear(channels, channels)

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        for lin in (self.lin1, self.lin2):
            reset(lin)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, of the shape of ``x``.

        Raises:
            TypeError: If ``x`` does not hold numbers of the type of the weights.
            ValueError: If it is not ``[*, channels]``, or on another device than the weights.
        """
        checks.check_type(x, "x", Tensor)
        checks.check_features(x, "x", ("*",) * (x.dim() - 1) + (self.channels,), self)
        return plus(x, self.lin2, elu_of(self.lin1, x))

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.channels})"


def elu_of(module: nn.Module, *args: Any) -> Tensor:
    """Return the ELU of what a module returns, whose gradient is read off the result."""
    return F.elu(_owned(module, *args), inplace=True)


def plus(x: Tensor, module: nn.Module, *args: Any) -> Tensor:
    """Return the sum of a tensor and of what a module returns."""
    out = _owned(module, *args)
    # Under autocast the sum has the precision of x, which may be the higher one.
    return out.add_(x) if out.dtype == x.dtype else x + out


def _owned(module: nn.Module, *args: Any) -> Tensor:
    """Return what a module returns, to be changed in place: a copy where others may hold it."""
    out: Tensor = module(*args)
    hooks = (module._forward_hooks, module._backward_hooks, module._backward_pre_hooks)
    own = type(module) is not nn.Linear or "forward" in vars(module)
    held = own or out.dim() != 2 or any(hooks) or _has_any_global_hook()
    return out.clone() if held else out
