"""The ways in which one would otherwise run a set network on sets of many sizes.

Every contender computes the same numbers with the layers of one encoder; they differ in where the
members of a set lie, and so in how a set's features are spread over its members and how its
members are added up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compvae_pyg import CompVAEEncoder, GraphBlock
from compvae_pyg.nn import Residual, set_sum
from compvae_pyg.problems import pack
from compvae_pyg.training.compilation import compiled

Combine = Callable[[Tensor, Tensor], Tensor]

__all__ = ["COMPILED", "CONTENDERS", "SIZES", "Case", "Contender"]


def _sizes(draw: Callable[[torch.Generator, int], Tensor]) -> Callable[[int], Tensor]:
    return lambda count: draw(torch.Generator().manual_seed(0), count)


def _uniform(last: int) -> Callable[[torch.Generator, int], Tensor]:
    return lambda generator, count: torch.randint(1, last + 1, (count,), generator=generator)


SIZES: dict[str, Callable[[int], Tensor]] = {
    "all 8": _sizes(lambda _, count: torch.full((count,), 8)),
    "uniform 1–8": _sizes(_uniform(8)),
    "uniform 1–16": _sizes(_uniform(16)),
    "geometric, mean 5": _sizes(
        lambda generator, count: torch.empty(count).geometric_(0.2, generator=generator).long()
    ),
    "one of 1,000": _sizes(
        lambda generator, count: torch.cat(
            [_uniform(8)(generator, count - 1), torch.tensor([1000])]
        )
    ),
}
"""Sizes of so many sets, by the name of their law."""


class Outputs(NamedTuple):
    """What defines the two laws of an encoder's posterior."""

    z_loc: Tensor
    z_scale: Tensor
    loc: Tensor
    scale: Tensor
    rho: Tensor
    log_null: Tensor


PER_PART = ("loc", "scale", "rho")


@dataclass
class Case:
    """An encoder, sets to run it on, and weights of its outputs in the loss."""

    encoder: CompVAEEncoder
    sizes: Tensor
    whole: Tensor
    parts: Tensor
    z: Tensor
    weights: Outputs

    @classmethod
    def draw(cls, width: int, sizes: Tensor, device: torch.device) -> "Case":
        """Make a case of the proportions of the paper's sines: the states are ``width`` wide."""
        torch.manual_seed(0)
        num_sets, num_parts = len(sizes), int(sizes.sum())
        channels = {"whole": 3 * width // 8, "z": width // 8, "part": width // 2, "w": width // 2}
        encoder = CompVAEEncoder(
            channels["whole"],
            channels["part"],
            hidden_channels=width,
            w_channels=channels["w"],
            z_channels=channels["z"],
            part_noise=False,
        ).to(device)
        shapes = {
            **dict.fromkeys(("z_loc", "z_scale"), (num_sets, channels["z"])),
            **dict.fromkeys(PER_PART, (num_parts, channels["w"])),
            "log_null": (num_sets, channels["w"]),
        }
        return cls(
            encoder,
            sizes,
            torch.randn(num_sets, channels["whole"], device=device).requires_grad_(),
            torch.randn(num_parts, channels["part"], device=device).requires_grad_(),
            torch.randn(num_sets, channels["z"], device=device),
            Outputs(**{name: torch.randn(s, device=device) for name, s in shapes.items()}),
        )


class Layout:
    """Where the members of sets lie: each in a row, some rows perhaps empty."""

    def arrange(self, x: Tensor) -> Tensor:
        """Lay packed members out."""
        return x

    def pack(self, x: Tensor) -> Tensor:
        """Pack them again."""
        return x

    def broadcast(self, combine: Combine, per_set: Tensor, x: Tensor) -> Tensor:
        """Combine what belongs to sets with what belongs to their members."""
        raise NotImplementedError

    def total(self, x: Tensor) -> Tensor:
        """Add the members of each set up."""
        raise NotImplementedError

    def largest(self, x: Tensor) -> Tensor:
        """Return the largest member of each set; needs no gradient."""
        raise NotImplementedError

    def join(self, per_set: Tensor, x: Tensor) -> Tensor:
        """Stand features of sets before those of their members."""
        return self.broadcast(lambda a, b: torch.cat([a, b], dim=-1), per_set, x)


def linear(
    layer: nn.Linear, layout: Layout, pieces: Sequence[Tensor], context: Tensor | None
) -> Tensor:
    widths = [piece.shape[-1] for piece in pieces]
    of_context, *weights = layer.weight.split([layer.in_features - sum(widths), *widths], dim=1)
    out = F.linear(pieces[0], weights[0], layer.bias)
    for piece, weight in zip(pieces[1:], weights[1:], strict=True):
        out += F.linear(piece, weight)
    if context is not None:
        out = layout.broadcast(torch.add, F.linear(context, of_context), out)
    return out


def pass_messages(block: GraphBlock, layout: Layout, x: Tensor, context: Tensor | None) -> Tensor:
    first, joint = block.message_net[0], block.update_net[0]
    assert isinstance(first, Residual) and isinstance(joint, nn.Linear)
    state = x if context is None else layout.join(context, x)
    hidden = linear(first.lin1, layout, [x], context)
    message = block.message_net[1:](first.after_first(state, hidden))
    others = layout.broadcast(torch.sub, layout.total(message), message)
    return block.update_net[1:](linear(joint, layout, [x, block.received_net(others)], context))


def encode(
    encoder: CompVAEEncoder, layout: Layout, whole: Tensor, parts: Tensor, z: Tensor
) -> Outputs:
    """Do what the encoder does, on members that are laid out."""
    z_loc, z_log_variance = encoder.z_head(whole).chunk(2, dim=-1)
    context: Tensor | None = torch.cat([whole, z], dim=-1)
    h = parts
    for block in encoder.blocks:
        h = encoder.act(pass_messages(block, layout, h, context))
        context = None
    loc, log_variance, logits = encoder.w_head(h).chunk(3, dim=-1)
    shift = layout.largest(logits.detach()).clamp(min=0.0)
    shifted = layout.broadcast(lambda a, b: b - a, shift, logits)
    log_total = torch.log(torch.exp(-shift) + layout.total(torch.exp(shifted)))
    rho = torch.exp(layout.broadcast(lambda a, b: b - a, log_total, shifted))
    z_scale, scale = torch.exp(0.5 * z_log_variance), torch.exp(0.5 * log_variance)
    return Outputs(z_loc, z_scale, loc, scale, rho, -shift - log_total)


class Equal(Layout):
    """Sets of one size, ``[S * K, C]``, and nothing to mask."""

    def __init__(self, num_parts: int) -> None:
        self.num_parts = num_parts

    def by_set(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (-1, self.num_parts))

    def broadcast(self, combine: Combine, per_set: Tensor, x: Tensor) -> Tensor:
        return combine(per_set.unsqueeze(1), self.by_set(x)).flatten(0, 1)

    def total(self, x: Tensor) -> Tensor:
        return self.by_set(x).sum(dim=1)

    def largest(self, x: Tensor) -> Tensor:
        return self.by_set(x).amax(dim=1)

    def join(self, per_set: Tensor, x: Tensor) -> Tensor:
        members = self.by_set(x)
        spread = per_set.unsqueeze(1).expand(*members.shape[:2], -1)
        return torch.cat([spread, members], dim=-1).flatten(0, 1)


class Padded(Equal):
    """Every set as long as the longest, ``[S * K_max, C]``, with a mask."""

    def __init__(self, sizes: Tensor, device: torch.device) -> None:
        super().__init__(int(sizes.max()))
        batch, ptr = pack(sizes, device)
        rank = torch.arange(len(batch), device=device) - ptr[batch]
        self.place = batch * self.num_parts + rank
        self.rows = len(sizes) * self.num_parts
        self.mask = torch.zeros(self.rows, 1, device=device).index_fill(0, self.place, 1.0)
        self.absent = self.mask == 0.0

    def arrange(self, x: Tensor) -> Tensor:
        return x.new_zeros(self.rows, x.shape[-1]).index_copy(0, self.place, x)

    def pack(self, x: Tensor) -> Tensor:
        return x[self.place]

    def total(self, x: Tensor) -> Tensor:
        return super().total(x * self.mask)

    def largest(self, x: Tensor) -> Tensor:
        return super().largest(x.masked_fill(self.absent, -torch.inf))


class Nested(Layout):
    """torch.nested's jagged layout; what of it is missing is taken from the packed values.

    The sum over the members has no gradient there (``aten._nested_sum_backward``), and features of
    sets cannot be concatenated to those of members.
    """

    def __init__(self, sizes: Tensor, device: torch.device) -> None:
        self.batch, self.ptr = pack(sizes, device)
        # Without them it pads to the sum of the sizes where it has to pad.
        self.range = {"min_seqlen": int(sizes.min()), "max_seqlen": int(sizes.max())}

    def arrange(self, x: Tensor) -> Tensor:
        return torch.nested.nested_tensor_from_jagged(x, self.ptr, **self.range)

    def pack(self, x: Tensor) -> Tensor:
        return x.values()

    def broadcast(self, combine: Combine, per_set: Tensor, x: Tensor) -> Tensor:
        return combine(per_set.unsqueeze(1), x)

    def total(self, x: Tensor) -> Tensor:
        return set_sum(x.values(), self.batch, len(self.ptr) - 1)

    def largest(self, x: Tensor) -> Tensor:
        return x.amax(dim=1)

    def join(self, per_set: Tensor, x: Tensor) -> Tensor:
        spread = per_set.index_select(0, self.batch)
        return self.arrange(torch.cat([spread, x.values()], dim=-1))


class SegmentCSR(Layout):
    """Packed, ``[N, C]``, and added up by torch-scatter over runs of members."""

    def __init__(self, sizes: Tensor, device: torch.device) -> None:
        import torch_scatter

        self.ops = torch_scatter
        _, self.ptr = pack(sizes, device)

    def broadcast(self, combine: Combine, per_set: Tensor, x: Tensor) -> Tensor:
        return combine(self.ops.gather_csr(per_set, self.ptr), x)

    def total(self, x: Tensor) -> Tensor:
        return self.ops.segment_csr(x, self.ptr, reduce="sum")

    def largest(self, x: Tensor) -> Tensor:
        return self.ops.segment_csr(x.contiguous(), self.ptr, reduce="max")


class Scatter(SegmentCSR):
    """Packed, ``[N, C]``, and added up by torch-scatter's scatter."""

    def __init__(self, sizes: Tensor, device: torch.device) -> None:
        super().__init__(sizes, device)
        self.batch, _ = pack(sizes, device)
        self.count = len(sizes)

    def broadcast(self, combine: Combine, per_set: Tensor, x: Tensor) -> Tensor:
        return combine(per_set.index_select(0, self.batch), x)

    def total(self, x: Tensor) -> Tensor:
        return self.ops.scatter(x, self.batch, 0, dim_size=self.count, reduce="sum")

    def largest(self, x: Tensor) -> Tensor:
        return self.ops.scatter(x.contiguous(), self.batch, 0, dim_size=self.count, reduce="max")


def complete_graph(sizes: Tensor) -> Tensor:
    """Edges between all members of each set, ``[2, E]``."""
    starts = sizes.cumsum(0) - sizes
    edges = []
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        source = torch.arange(size).repeat_interleave(size)
        target = torch.arange(size).repeat(size)
        apart = source != target
        edges.append(torch.stack([source[apart], target[apart]]) + start)
    return torch.cat(edges, dim=1)


@dataclass
class Piece:
    """Some of the sets of a case, laid out."""

    layout: Layout
    sets: Tensor
    members: Tensor
    whole: Tensor
    parts: Tensor
    z: Tensor
    weights: Outputs

    @classmethod
    def of(cls, case: Case, layout: Layout, sets: Tensor) -> "Piece":
        batch, _ = pack(case.sizes, case.parts.device)
        chosen = torch.zeros(len(case.sizes), dtype=torch.bool, device=batch.device)
        members = chosen.index_fill(0, sets, True)[batch].nonzero().squeeze(1)
        weights = {
            name: layout.arrange(value[members]) if name in PER_PART else value[sets]
            for name, value in case.weights._asdict().items()
        }
        return cls(
            layout,
            sets,
            members,
            case.whole.detach()[sets].requires_grad_(),
            layout.arrange(case.parts.detach()[members]).detach().requires_grad_(),
            case.z[sets],
            Outputs(**weights),
        )


class Contender:
    """A way to run the sets of a case: called, it takes one step forward and back."""

    def __init__(self, case: Case, *, compile: bool = False) -> None:
        self.case = case
        self.encoder = case.encoder
        self.parameters = list(self.encoder.parameters())
        self.pieces = [Piece.of(case, layout, sets) for layout, sets in self.split(case)]
        self.forward = compiled(self.outputs) if compile else self.outputs

    def split(self, case: Case) -> list[tuple[Layout, Tensor]]:
        """Divide the sets, and say how each share is laid out."""
        raise NotImplementedError

    def outputs(self, piece: Piece) -> Outputs:
        return encode(self.encoder, piece.layout, piece.whole, piece.parts, piece.z)

    def __call__(self) -> list[Outputs]:
        for parameter in self.parameters:
            parameter.grad = None
        every = []
        for piece in self.pieces:
            piece.whole.grad = piece.parts.grad = None
            out = self.forward(piece)
            torch.autograd.backward(out, piece.weights)
            every.append(out)
        return every

    def results(self) -> dict[str, Tensor]:
        """Outputs of all sets and gradients, in packed order."""
        case, results = self.case, {}
        found = [
            (piece, {**out._asdict(), "whole.grad": piece.whole.grad, "parts.grad": None})
            for piece, out in zip(self.pieces, self(), strict=True)
        ]
        for name in found[0][1]:
            per_part = name in PER_PART or name == "parts.grad"
            for piece, out in found:
                value = piece.parts.grad if name == "parts.grad" else out[name]
                value = piece.layout.pack(value) if per_part else value
                rows = len(case.parts) if per_part else len(case.whole)
                if name not in results:
                    results[name] = value.new_full((rows, *value.shape[1:]), torch.nan)
                results[name][piece.members if per_part else piece.sets] = value.detach()
        for name, parameter in self.encoder.named_parameters():
            results[f"{name}.grad"] = parameter.grad.clone()
        return results


class PackedContender(Contender):
    """The encoder itself."""

    edges = False

    def split(self, case: Case) -> list[tuple[Layout, Tensor]]:
        device = case.parts.device
        self.batch, _ = pack(case.sizes, device)
        self.edge_index = complete_graph(case.sizes).to(device) if self.edges else None
        return [(Layout(), all_sets(case))]

    def outputs(self, piece: Piece) -> Outputs:
        posterior = self.encoder(
            piece.whole, piece.parts, self.batch, len(piece.sets), self.edge_index, z=piece.z
        )
        z, w = posterior.z, posterior.w
        return Outputs(z.mean, z.stddev, w.loc, w.scale, w.rho, w.log_null)


class EdgeListContender(PackedContender):
    """The encoder on an explicit complete graph."""

    edges = True


class BucketedContender(Contender):
    """One sub-batch for each size, as in the program of the paper's authors."""

    def split(self, case: Case) -> list[tuple[Layout, Tensor]]:
        return [
            (Equal(size), (case.sizes == size).nonzero().squeeze(1).to(case.parts.device))
            for size in case.sizes.unique().tolist()
        ]


def all_sets(case: Case) -> Tensor:
    return torch.arange(len(case.sizes), device=case.parts.device)


def in_one(layout: type[Layout]) -> type[Contender]:
    """A contender that lays all sets out at once."""

    class InOne(Contender):
        def split(self, case: Case) -> list[tuple[Layout, Tensor]]:
            return [(layout(case.sizes, case.parts.device), all_sets(case))]

    return InOne


CONTENDERS: dict[str, type[Contender]] = {
    "packed": PackedContender,
    "padded": in_one(Padded),
    "bucketed": BucketedContender,
    "torch.nested": in_one(Nested),
    "edge list": EdgeListContender,
}
if find_spec("torch_scatter"):
    CONTENDERS["torch-scatter segment_csr"] = in_one(SegmentCSR)
    CONTENDERS["torch-scatter scatter"] = in_one(Scatter)

COMPILED: dict[str, Callable[[Case], Contender]] = {
    "packed, compiled": partial(PackedContender, compile=True),
    "padded, compiled": partial(CONTENDERS["padded"], compile=True),
}
"""Some of them under ``torch.compile``."""
