"""What layers do to rows that lie sorted by set: sums, their transpose, a linear layer of both."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from compvae_pyg.nn.checks import can_look, check_annotations, check_rows, check_set_sizes

__all__ = [
    "Segments",
    "SplitLinear",
    "at_least_float32",
    "elu_of",
    "gather",
    "pack",
    "plus",
]

# Added one by one, 32-bit numbers lose a digit for every ten times as many. Sets of more rows than
# _LONG are added in blocks, and these sums in 64 bits, which spares copies of the rows in 64 bits.
_LONG = 2048
_LOG_BLOCK = 4


class Segments:
    """Sets of consecutive rows.

    Args:
        batch: Set of each row, ``[N]``, sorted.
        batch_size: Number of sets :math:`S`.

    Example:
        >>> segments = Segments(torch.tensor([0, 0, 2]), 3)
        >>> segments.sum(torch.tensor([1.0, 2.0, 4.0]))
        tensor([3., 0., 4.])
    """

    def __init__(self, batch: Tensor, batch_size: int) -> None:
        self.batch = batch
        self.batch_size = batch_size
        self._known_blocks: tuple[Tensor, Tensor] | tuple[()] | None = None

    def sum(self, values: Tensor, dim: int = 0) -> Tensor:
        """Return the sum of each set; half-precision values are added in 32 bits."""
        check_rows(values, "values", self.batch.shape[0], dim)
        total = at_least_float32(values)
        if (found := self._blocks(total)) is None:
            total = _add(total, self.batch, self.batch_size, dim)
        else:
            blocks, owner = found
            total = _add(total, blocks, owner.shape[0], dim).double()
            total = _add(total, owner, self.batch_size, dim)
        return total.to(values.dtype)

    def broadcast(self, values: Tensor, dim: int = 0) -> Tensor:
        """Return what belongs to sets once for each of their rows."""
        check_rows(values, "values", self.batch_size, dim)
        if (found := self._blocks(values)) is None:
            return gather(values, self.batch, dim)
        blocks, owner = found  # so that the gradient is a sum as above
        return gather(gather(values.double(), owner, dim).to(values.dtype), blocks, dim)

    def max(self, values: Tensor) -> Tensor:
        """Return the largest value of each set, ``[S, ...]``, -inf of none; without a gradient."""
        start = values.new_full((self.batch_size, *values.shape[1:]), -math.inf)
        index, values = _index(self.batch, values, 0), values.detach().contiguous()
        return torch.scatter_reduce(start, 0, index, values, "amax")

    def _blocks(self, values: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the blocks that values are added up in, None where they are added one by one."""
        if values.dtype != torch.float32:
            return None
        if torch.compiler.is_compiling():  # one graph for all numbers of rows, which costs little
            return _blocks(self.batch, self.batch_size)
        if self._known_blocks is None:
            long = self.batch.shape[0] > _LONG
            if long and can_look(self.batch):
                long = int(torch.bincount(self.batch).max()) > _LONG
            self._known_blocks = _blocks(self.batch, self.batch_size) if long else ()
        return self._known_blocks or None


class Sets(Protocol):
    """What a linear layer needs of sets."""

    def broadcast(self, values: Tensor, dim: int = 0) -> Tensor:
        """Return what belongs to sets once for each of their rows."""


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
        parts: Sets | None = None,
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


def elu_of(module: nn.Module, *args: Any) -> Tensor:
    """Return the ELU of what a module returns, whose gradient is read off the result."""
    return F.elu(_owned(module, *args), inplace=True)


def plus(x: Tensor, module: nn.Module, *args: Any) -> Tensor:
    """Return the sum of a tensor and of what a module returns."""
    out = _owned(module, *args)
    # Under autocast the sum has the precision of x, which may be the higher one.
    return out.add_(x) if out.dtype == x.dtype else x + out


@check_annotations
def pack(num_parts: Tensor, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Return ``batch``, ``[N]``, and ``ptr``, ``[S + 1]``, of sets of the given sizes, ``[S]``.

    Sizes are integers, not negative; on the CPU they spare a synchronisation with the ``device`` of
    the result.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If the sizes are not 64-bit integers, ``[S]``, or one is negative.

    Example:
        >>> pack(torch.tensor([2, 0, 1]))
        (tensor([0, 0, 2]), tensor([0, 2, 2, 3]))
    """
    check_set_sizes(num_parts, "num_parts")
    total = int(num_parts.sum())
    num_parts = num_parts.to(device or num_parts.device, non_blocking=True)
    ptr = torch.nn.functional.pad(num_parts.cumsum(0), (1, 0))
    index = torch.arange(num_parts.shape[0], device=num_parts.device)
    return index.repeat_interleave(num_parts, output_size=total), ptr


def at_least_float32(x: Tensor) -> Tensor:
    """Return half-precision tensors in 32 bits, others as they are.

    Example:
        >>> at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def gather(values: Tensor, index: Tensor, dim: int = 0) -> Tensor:
    """Return the rows of a table that an index names, ``[N]``, in any order."""
    # Not index_select, whose gradient torch.compile adds up number by number on the CPU.
    return values.gather(dim, _index(index, values, dim))


def _index(batch: Tensor, values: Tensor, dim: int) -> Tensor:
    """Return ``batch`` expanded to the other dimensions of values."""
    shape, sizes = [1] * values.dim(), list(values.shape)
    shape[dim] = sizes[dim] = batch.shape[0]
    return batch.view(shape).expand(sizes)


def _blocks(batch: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return the block of each row, at most 16 rows of one set, and the set of each."""
    # Shifted, not divided: of a quotient torch.compile fills whole blocks alone on the CPU.
    row = torch.arange(batch.shape[0], device=batch.device)
    blocks = batch + torch.bitwise_right_shift(row, _LOG_BLOCK)
    owner = batch.new_zeros(batch_size + (batch.shape[0] >> _LOG_BLOCK))
    return blocks, torch.scatter(owner, 0, blocks, batch)


def _add(values: Tensor, index: Tensor, size: int, dim: int) -> Tensor:
    # On the CPU, scattering from strided memory takes many times as long as the copy.
    values = values.contiguous()
    shape = list(values.shape)
    shape[dim] = size
    return torch.scatter_add(values.new_zeros(shape), dim, _index(index, values, dim), values)


def _owned(module: nn.Module, *args: Any) -> Tensor:
    """Return what a module returns, to be changed in place: a copy where others may hold it."""
    out: Tensor = module(*args)
    hooks = (module._forward_hooks, module._backward_hooks, module._backward_pre_hooks)
    own = type(module) is not nn.Linear or "forward" in vars(module)
    held = own or out.dim() != 2 or any(hooks) or _has_any_global_hook()
    return out.clone() if held else out
