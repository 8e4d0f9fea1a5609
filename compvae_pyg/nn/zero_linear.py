"""Linear layers that start at zero."""

from torch import nn

__all__ = ["ZeroLinear"]


class ZeroLinear(nn.Linear):
    """A Linear whose weights and bias are initialised to zero.

    What it is added to starts as if it were not there.

    Example:
        >>> import torch
        >>> ZeroLinear(3, 2)(torch.ones(1, 3)).tolist()
        [[0.0, 0.0]]
    """

    def reset_parameters(self) -> None:
        """Set weights and bias to zero."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
