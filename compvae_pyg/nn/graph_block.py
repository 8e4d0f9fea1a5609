"""Message passing on the complete graph of each set, in linear time, and its residual block."""

from types import NoneType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.aggr import Aggregation, MeanAggregation
from torch_geometric.nn.inits import reset

from compvae_pyg.nn import checks
from compvae_pyg.nn.packed import PackedParts, sets_of
from compvae_pyg.nn.rows import SplitLinear, at_least_float32, elu_of, plus

__all__ = ["GraphBlock", "Residual"]


class GraphBlock(MessagePassing):
    r"""The graph block of CompVAE (paper, eq. 5 and table 4).

    .. math::
        h'_i = f\Bigl(h_i, \sum_{j \in \mathcal{N}(i)} g(h_j)\Bigr)

    with :math:`g` = Residual, ELU, Residual, and :math:`f` = tanh of the sum, Residual,
    concatenation with :math:`h_i`, Linear, ELU, Residual.

    Without ``edge_index`` the neighbours of a part are *all other parts of its set*: since
    :math:`\sum_{j \neq i} g(h_j) = \sum_j g(h_j) - g(h_i)`, time and memory are :math:`O(N)` and no
    edge list exists. With ``edge_index`` the block runs on that graph; on the complete graph's
    edges it returns the same numbers. A set of one part receives exactly zero.

    Another aggregation may take the place of the sum. The mean, the sum over :math:`K - 1`, is as
    cheap on the complete graph; all others need ``edge_index``, as do subclasses and hooks that
    change how messages pass.

    With ``context_channels``, the state of a part of set :math:`s` is :math:`h_i = (c_s, x_i)`,
    and what a Linear makes of the context :math:`c_s` is computed once a set.

    Args:
        in_channels: Size of each input :math:`x_i`.
        out_channels: Size of each output :math:`h'_i`.
        context_channels: Size of each context :math:`c_s`.
        **kwargs: Arguments of :class:`torch_geometric.nn.MessagePassing`; ``aggr`` is ``"sum"`` by
            default, and must keep the size of the messages.

    Shapes:
        - **input:** parts :math:`(N, C_{in})`, edge indices :math:`(2, E)` *(optional)*,
          batch :math:`(N)` *(optional)*, context :math:`(S, C_c)` *(if there is one)*
        - **output:** parts :math:`(N, C_{out})`

    Raises:
        TypeError, ValueError: If a size is not a positive integer, or ``aggr``, ``flow`` or
            ``node_dim`` is unknown.

    Example:
        >>> block = GraphBlock(16, 32)
        >>> batch = torch.tensor([0, 0, 0, 1, 1])
        >>> block(torch.randn(5, 16), batch=batch).shape
        torch.Size([5, 32])
    """

    @checks.check_arguments(context_channels=0)
    def __init__(
        self, in_channels: int, out_channels: int, context_channels: int = 0, **kwargs: Any
    ) -> None:
        aggr = kwargs.setdefault("aggr", "sum")
        checks.check_type(aggr, "aggr", str, list, tuple, Aggregation, NoneType)
        try:
            super().__init__(**kwargs)
        except ValueError as error:
            # PyG lists its aggregations, module by module.
            message = f"aggr and flow must be those of a MessagePassing (got {kwargs})"
            raise ValueError(message) from error
        if self.node_dim not in (-2, 0):
            raise ValueError(f"node_dim must be -2 or 0, where the parts are (got {self.node_dim})")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.context_channels = context_channels
        self.message_net = _Message(in_channels, context_channels)
        self.update_net = _Update(in_channels, out_channels, context_channels)

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        super().reset_parameters()
        reset(self.message_net)
        reset(self.update_net)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | None = None,
        batch: Tensor | PackedParts | None = None,
        batch_size: int | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """Pass messages once.

        Args:
            x: States of the parts, ``[N, in_channels]``.
            edge_index: Edges, ``[2, E]``; ``None`` means the complete graph of each set.
            batch: Set of each part, ``[N]``, sorted; ``None`` means one set. Or parts that were
                checked when they were packed, whose sets are taken on trust. Not used with
                ``edge_index`` and without ``context``: the edges say all there is to say.
            batch_size: Number of sets; spares a device synchronisation when given, and is needed
                when sets are empty.
            context: Features of the sets, ``[S, context_channels]``.

        Returns:
            New states, ``[N, out_channels]``.

        Raises:
            TypeError, ValueError: If an argument does not fit, or ``edge_index`` is needed.
            IndexError: If ``edge_index`` names a part that is not there.
        """
        checks.check_features(x, "x", ("N", self.in_channels), self)
        if edge_index is None:
            checks.check_complete(self, GraphBlock.message)
        else:
            checks.check_edges(edge_index, x)
            # The edges say all there is to say of the sets but for their context.
            batch, batch_size = (None, None) if context is None else (batch, batch_size)
        parts = sets_of(x, "x", batch, batch_size)
        if context is not None or self.context_channels:
            shape = parts.batch_size, self.context_channels
            checks.check_features(context, "context", shape, self)
        message = self.message_net(x, context, parts)
        if edge_index is not None:
            received = self.propagate(edge_index, message=message, size=None)
            checks.check_shape(received, "what aggr returns", message.shape)
            return self.update_net(x, received, context, parts)
        # In 32 bits also under autocast: in large sets it is a difference of large numbers.
        own = at_least_float32(message)
        received = parts.broadcast(parts.sum(own)) - own
        if isinstance(self.aggr_module, MeanAggregation):
            others = (parts.sizes(own.dtype) - 1.0).clamp(min=1.0)
            received = received / parts.broadcast(others).unsqueeze(-1)
        return self.update_net(x, received.to(message.dtype), context, parts)

    def message(self, message_j: Tensor) -> Tensor:
        """Return what each edge carries: its source's message, unchanged."""
        return message_j

    def __repr__(self) -> str:
        context = f", context_channels={self.context_channels}" if self.context_channels else ""
        aggr = "" if self.aggr == "sum" else f", aggr={self.aggr!r}"
        return f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}{context}{aggr})"


class _Message(nn.Module):
    """What a part sends, :math:`g`: Residual, ELU, Residual."""

    def __init__(self, in_channels: int, context_channels: int) -> None:
        super().__init__()
        channels = context_channels + in_channels
        self.lin1 = SplitLinear(in_channels, channels, context_channels=context_channels)
        self.lin2 = nn.Linear(channels, channels)
        self.residual = Residual(channels)

    def forward(self, x: Tensor, context: Tensor | None, parts: PackedParts) -> Tensor:
        own = x if context is None else torch.cat([parts.broadcast(context), x], dim=-1)
        hidden = elu_of(self.lin1, x, None, context, parts)
        return self.residual(F.elu(plus(own, self.lin2, hidden), inplace=True))


class _Update(nn.Module):
    """The new state, :math:`f`: tanh, Residual, concatenation, Linear, ELU, Residual."""

    def __init__(self, in_channels: int, out_channels: int, context_channels: int) -> None:
        super().__init__()
        channels = context_channels + in_channels
        self.received_residual = Residual(channels)
        self.lin = SplitLinear(in_channels, out_channels, channels, context_channels)
        self.residual = Residual(out_channels)

    def forward(
        self, x: Tensor, received: Tensor, context: Tensor | None, parts: PackedParts
    ) -> Tensor:
        received = self.received_residual(torch.tanh(received))
        return self.residual(elu_of(self.lin, x, received, context, parts))


class Residual(nn.Module):
    r"""Two-layer residual block, :math:`h + W_2\,\mathrm{ELU}(W_1 h + b_1) + b_2` (Fig. 9).

    From Berger & Sebag, `"From abstract items to latent spaces to observed data and back"
    <https://inria.hal.science/hal-02431955>`_ (ECML PKDD 2019).

    Args:
        channels: Size of each input and of each output, :math:`C`.

    Shapes:
        - **input:** :math:`(*, C)`
        - **output:** :math:`(*, C)`

    Raises:
        TypeError, ValueError: If ``channels`` is not a positive integer.

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
