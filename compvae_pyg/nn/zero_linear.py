"""Linear layers that start at zero."""

import torch
from torch import nn

from compvae_pyg.nn.checks import check_arguments

__all__ = ["ZeroLinear"]


class ZeroLinear(nn.Linear):
    """A Linear whose weights and bias are initialised to zero.

    What it is added to starts as if it were not there.

    Raises:
        TypeError, ValueError: If a size is not a positive integer.

    Example:
        >>> ZeroLinear(3, 2)(torch.ones(1, 3)).tolist()
        [[0.0, 0.0]]
    """

    @check_arguments()
    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)

    def reset_parameters(self) -> None:
        """Set weights and bias to zero."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
