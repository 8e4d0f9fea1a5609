"""Residual block of two linear layers."""

from torch import Tensor, nn

from compvae_pyg.nn.checks import check_count, check_fits, check_real

__all__ = ["Residual"]


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
        check_count(channels, "channels")
        self.channels = channels
        self.lin1 = nn.Linear(channels, channels)
        # In place: nobody else holds what lin1 returns, and the gradient is read off the result.
        self.act = nn.ELU(inplace=True)
        self.lin2 = nn.Linear(channels, channels)

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        self.lin1.reset_parameters()
        self.lin2.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, of the shape of ``x``.

        Raises:
            TypeError: If ``x`` does not hold numbers of the type of the weights.
            ValueError: If it is not ``[*, channels]``, or on another device than the weights.
        """
        check_real(x, "x")
        if x.dim() == 0 or x.shape[-1] != self.channels:
            raise ValueError(f"x must be [*, {self.channels}] (got {list(x.shape)})")
        check_fits(x, "x", self.lin1.weight)
        if x.dim() <= 2 or x.is_nested:
            return self.after_first(x, self.lin1(x))
        # Of more than two dimensions a Linear returns a view, which autograd copies when it is
        # changed in place.
        rows = x.flatten(0, -2)
        return self.after_first(rows, self.lin1(rows)).view(x.shape)

    def after_first(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Return the block's output, given what ``lin1`` makes of ``x``, which is overwritten."""
        out = self.lin2(self.act(hidden))
        # Under autocast the sum has the precision of x, which may be the higher one.
        return out.add_(x) if out.dtype == x.dtype else x + out

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.channels})"
