"""Message passing on the complete graph of each set, in linear time."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.aggr import Aggregation, MeanAggregation, SumAggregation
from torch_geometric.nn.inits import reset
from torch_geometric.utils import is_sparse

from compvae_pyg.nn.checks import check_count, check_fits, check_real, check_shape
from compvae_pyg.nn.residual import Residual
from compvae_pyg.nn.sets import at_least_float32, resolve_batch, set_gather, set_sizes, set_sum

__all__ = ["GraphBlock"]


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
    cheap on the complete graph; all others need ``edge_index``.

    Features that all parts of a set share can be given once a set, as ``context``
    :math:`c`: then :math:`h_i = (c_s, x_i)` for a part of set :math:`s`, and what a Linear makes of
    :math:`c_s` is computed once.

    Args:
        in_channels: Size of each input :math:`h_i`.
        out_channels: Size of each output :math:`h'_i`.
        aggr: How messages are aggregated, as in :class:`torch_geometric.nn.MessagePassing`: a
            name, or an :class:`~torch_geometric.nn.aggr.Aggregation` that keeps the size.

    Shapes:
        - **input:** parts :math:`(N, C_{in})`, edge indices :math:`(2, E)` *(optional)*,
          batch :math:`(N)` *(optional)*; with context :math:`(S, C_c)`, parts
          :math:`(N, C_{in} - C_c)`
        - **output:** parts :math:`(N, C_{out})`

    Example:
        >>> block = GraphBlock(16, 32)
        >>> batch = torch.tensor([0, 0, 0, 1, 1])
        >>> block(torch.randn(5, 16), batch=batch).shape
        torch.Size([5, 32])
    """

    def __init__(
        self, in_channels: int, out_channels: int, aggr: str | Aggregation = "sum"
    ) -> None:
        check_count(in_channels, "in_channels")
        check_count(out_channels, "out_channels")
        if not isinstance(aggr, (str, Sequence, Aggregation)):
            raise TypeError(f"aggr must be a name or an Aggregation (got {type(aggr).__name__})")
        try:
            super().__init__(aggr=aggr)
        except ValueError as error:
            # PyG lists its aggregations, module by module.
            raise ValueError(f"aggr must name an aggregation of PyG (got {aggr!r})") from error
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.message_net = nn.Sequential(
            Residual(in_channels),
            nn.ELU(inplace=True),
            Residual(in_channels),
        )
        self.received_net = nn.Sequential(nn.Tanh(), Residual(in_channels))
        self.update_net = nn.Sequential(
            nn.Linear(2 * in_channels, out_channels),
            nn.ELU(inplace=True),
            Residual(out_channels),
        )

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        super().reset_parameters()
        for net in (self.message_net, self.received_net, self.update_net):
            reset(net)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | None = None,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """Pass messages once.

        Args:
            x: States of the parts, ``[N, in_channels]``.
            edge_index: Edges, ``[2, E]``; ``None`` means the complete graph of each set, for the
                sum and the mean.
            batch: Set of each part, ``[N]``, sorted; ``None`` means one set. Not used with
                ``edge_index`` and without ``context``: the edges say all there is to say.
            batch_size: Number of sets; spares a device synchronisation when given, and is needed
                when sets are empty.
            context: Features of the sets, ``[S, C_c]``. The states are then those of the set and,
                behind them, ``x``, which is ``[N, in_channels - C_c]``.

        Returns:
            New states, ``[N, out_channels]``.

        Raises:
            TypeError: If an argument is of another type.
            ValueError: If ``x`` is not ``[N, in_channels]``, ``batch`` or ``edge_index`` does not
                fit it, ``context`` does not have one row per set, or the aggregation needs
                ``edge_index`` or changes the size of the messages.
            IndexError: If ``edge_index`` names a part that is not there.
        """
        check_real(x, "x")
        shared = 0
        if context is not None:
            check_real(context, "context")
            shared = context.shape[-1]
        check_shape(x, "x", ("N", self.in_channels - shared))
        check_fits(x, "x", self.update_net[0].weight)  # type: ignore[arg-type]
        self.check_edge_index(edge_index, x)
        if edge_index is None or context is not None:
            batch, batch_size = resolve_batch(x.shape[0], batch, batch_size, x.device)
        if context is not None and (context.dim() != 2 or context.shape[0] != batch_size):
            raise ValueError(f"context must be [{batch_size}, C] (got {list(context.shape)})")

        state = x
        if context is not None:
            assert batch is not None
            state = torch.cat([set_gather(context, batch), x], dim=-1)
        first, joint = cast(Residual, self.message_net[0]), cast(nn.Linear, self.update_net[0])
        hidden = _linear_of_pieces(first.lin1, [x], context, batch)
        message = self.message_net[1:](first.after_first(state, hidden))
        if edge_index is None:
            assert batch is not None and batch_size is not None
            # In 32 bits also under autocast: in large sets it is a difference of large numbers.
            own = at_least_float32(message)
            received = set_gather(set_sum(own, batch, batch_size), batch)
            received -= own
            if isinstance(self.aggr_module, MeanAggregation):
                others = set_sizes(batch, batch_size, own.dtype) - 1.0
                share = others.clamp(min=1.0).reciprocal()
                received = received * set_gather(share, batch).unsqueeze(-1)
            received = received.to(message.dtype)
        else:
            received = self.propagate(edge_index, message=message, size=None)
            if received.shape != message.shape:
                raise ValueError(
                    f"aggr must keep the size of the messages (got {received.shape[-1]} from "
                    f"{message.shape[-1]} with {self.aggr})"
                )
        received = self.received_net(received)
        return self.update_net[1:](_linear_of_pieces(joint, [x, received], context, batch))

    def check_edge_index(self, edge_index: Tensor | None, parts: Tensor | None = None) -> None:
        """Refuse edges that are none, and to leave them out where the aggregation needs them.

        Sparse adjacency matrices are left to PyG.

        Raises:
            TypeError: If ``edge_index`` is no tensor of integers.
            ValueError: If it is not ``[2, E]``, on another device than the ``parts``, or ``None``
                and the aggregation is neither sum nor mean.
            IndexError: If it names a part that is not there; looked at on the CPU, where that costs
                no synchronisation.

        Example:
            >>> GraphBlock(16, 32, aggr="max").check_edge_index(None)
            Traceback (most recent call last):
            ...
            ValueError: edge_index must be given with aggr='max' (got None, which only 'sum' and ...
        """
        # A subclass may mean something else.
        if edge_index is None and type(self.aggr_module) not in (SumAggregation, MeanAggregation):
            raise ValueError(
                f"edge_index must be given with aggr={self.aggr!r} (got None, which only 'sum' and "
                "'mean' can do without)"
            )
        if edge_index is None or is_sparse(edge_index):
            return
        if not isinstance(edge_index, Tensor):
            raise TypeError(f"edge_index must be a tensor (got {type(edge_index).__name__})")
        if edge_index.dtype not in (torch.long, torch.int):
            raise TypeError(f"edge_index must hold integers (got {edge_index.dtype})")
        check_shape(edge_index, "edge_index", (2, "E"))
        if parts is None:
            return
        if edge_index.device != parts.device:
            raise ValueError(
                f"edge_index must be on the parts' device (got {edge_index.device}, "
                f"not {parts.device})"
            )
        if edge_index.device.type == "cpu" and not torch.compiler.is_compiling():
            outside = (edge_index < 0) | (edge_index >= parts.shape[0])
            if bool(outside.any()):
                raise IndexError(
                    f"edge_index must lie in [0, {parts.shape[0]}) "
                    f"(got {int(edge_index[outside][0])})"
                )

    def message(self, message_j: Tensor) -> Tensor:
        """Return what each edge carries: its source's message, unchanged."""
        return message_j

    def __repr__(self) -> str:
        aggr = "" if self.aggr == "sum" else f", aggr={self.aggr!r}"
        return f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}{aggr})"


def _linear_of_pieces(
    linear: nn.Linear, pieces: Sequence[Tensor], context: Tensor | None, batch: Tensor | None
) -> Tensor:
    """Apply a layer to features of the sets and of the parts, as if concatenated.

    The concatenation is never made, and what the layer makes of a set is computed once.
    """
    widths = [piece.shape[1] for piece in pieces]
    of_context, *weights = linear.weight.split([linear.in_features - sum(widths), *widths], dim=1)
    out = F.linear(pieces[0], weights[0], linear.bias)
    for piece, weight in zip(pieces[1:], weights[1:], strict=True):
        out += F.linear(piece, weight)
    if context is not None:
        assert batch is not None
        out += set_gather(F.linear(context, of_context), batch)
    return out
