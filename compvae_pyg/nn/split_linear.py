"""Linear layer of what belongs to a part, reaches it, and belongs to its set."""

import math

from torch import Tensor, nn

from compvae_pyg.nn.packed import PackedParts
from compvae_pyg.nn.residual import plus

__all__ = ["SplitLinear"]


class SplitLinear(nn.Module):
    r"""Linear layer of the features of a part, of what it receives, and of those of its set.

    .. math::
        y_i = W x_i + W_r r_i + W_c c_{s(i)} + b

    It is a Linear of their concatenation, which is never made; the product with the context is made
    once a set.

    Args:
        in_channels: Size of each :math:`x_i`.
        out_channels: Size of each output.
        received_channels: Size of each :math:`r_i`; 0 means that there is none.
        context_channels: Size of each :math:`c_s`; 0 means that there is none.

    Shapes:
        - **input:** parts :math:`(N, C_{in})`, received :math:`(N, C_r)`, context :math:`(S, C_c)`
        - **output:** :math:`(N, C_{out})`
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        received_channels: int = 0,
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        self.channels = (in_channels, received_channels, context_channels)
        self.out_channels = out_channels
        self.own = nn.Linear(in_channels, out_channels)
        self.received, self.context = (
            nn.Linear(channels, out_channels, bias=False) if channels else None
            for channels in self.channels[1:]
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew, as a Linear of the concatenation does."""
        bound = 1.0 / math.sqrt(sum(self.channels))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(
        self,
        x: Tensor,
        received: Tensor | None = None,
        context: Tensor | None = None,
        parts: PackedParts | None = None,
    ) -> Tensor:
        """Return the output for each part; ``parts`` says which set each belongs to."""
        out: Tensor = self.own(x)
        if self.received is not None:
            out = plus(out, self.received, received)
        if self.context is not None and parts is not None:
            out = parts.broadcast(self.context(context)) + out
        return out

    def __repr__(self) -> str:
        in_channels = " + ".join(str(channels) for channels in self.channels if channels)
        return f"{self.__class__.__name__}({in_channels}, {self.out_channels})"
