"""The ways in which one would otherwise run a set network on sets of many sizes.

Every contender computes the same numbers with the weights of one encoder; they differ in where the
members of a set lie, and so in how a set's features are spread over its members and how its
members are added up.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compvae_pyg import CompVAEEncoder, GraphBlock
from compvae_pyg.nn import PackedParts, pack
from compvae_pyg.nn.rows import SplitLinear
from compvae_pyg.runtime import compiled

Combine = Callable[[Tensor, Tensor], Tensor]

__all__ = ["COMPILED", "CONTENDERS", "SIZES", "Case", "Contender"]


def _sizes(draw: Callable[[torch.Generator, int], Tensor]) -> Callable[[int], Tensor]:
    return lambda count: draw(torch.Generator().manual_seed(0), count)


def _uniform(last: int) -> Callable[[torch.Generator, int], Tensor]:
    return lambda generator, count: torch.randint(1, last + 1, (count,), generator=generator)


SIZES: dict[str, Callable[[int], Tensor]] = {
    "all 4": _sizes(lambda _, count: torch.full((count,), 4)),
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
"""Sizes of so many sets, by the name of their distribution."""


class Outputs(NamedTuple):
    """What defines the two distributions of an encoder's posterior."""

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
    layer: SplitLinear, layout: Layout, x: Tensor, received: Tensor | None, context: Tensor | None
) -> Tensor:
    """Do what a layer of the graph block does, on members that are laid out."""
    out: Tensor = layer.own(x)
    if layer.received is not None:
        out = out + layer.received(received)
    if layer.context is not None:
        out = layout.broadcast(torch.add, layer.context(context), out)
    return out


def pass_messages(block: GraphBlock, layout: Layout, x: Tensor, context: Tensor | None) -> Tensor:
    """Do what the graph block does, on members that are laid out."""
    g, f = block.message_net, block.update_net
    h = x if context is None else layout.join(context, x)
    h = h + g.lin2(F.elu(linear(g.lin1, layout, x, None, context)))
    message = g.residual(F.elu(h))
    others = layout.broadcast(torch.sub, layout.total(message), message)
    received = f.received_residual(torch.tanh(others))
    return f.residual(F.elu(linear(f.lin, layout, x, received, context)))


def encode(
    encoder: CompVAEEncoder, layout: Layout, whole: Tensor, parts: Tensor, z: Tensor
) -> Outputs:
    """Do what the encoder does, on members that are laid out."""
    z_loc, z_log_variance = encoder.z_head(whole).chunk(2, dim=-1)
    context: Tensor | None = torch.cat([whole, z], dim=-1)
    h = parts
    for block in encoder.blocks:
        h = F.elu(pass_messages(block, layout, h, context))
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
        batch, self.ptr = pack(sizes, device)
        self.packed = PackedParts(batch, batch, len(sizes))
        # Without them it pads to the sum of the sizes where it has to pad.
        self.range = {"min_seqlen": int(sizes.min()), "max_seqlen": int(sizes.max())}

    def arrange(self, x: Tensor) -> Tensor:
        return torch.nested.nested_tensor_from_jagged(x, self.ptr, **self.range)

    def pack(self, x: Tensor) -> Tensor:
        return x.values()

    def broadcast(self, combine: Combine, per_set: Tensor, x: Tensor) -> Tensor:
        return combine(per_set.unsqueeze(1), x)

    def total(self, x: Tensor) -> Tensor:
        return self.packed.sum(x.values())

    def largest(self, x: Tensor) -> Tensor:
        return x.amax(dim=1)

    def join(self, per_set: Tensor, x: Tensor) -> Tensor:
        spread = per_set.index_select(0, self.packed.batch)
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
        return results | {f"{name}.grad": value for name, value in self.gradients().items()}

    def gradients(self) -> dict[str, Tensor]:
        """Gradients of the encoder's parameters, by their names."""
        return {name: p.grad.clone() for name, p in self.encoder.named_parameters()}


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
    """One sub-batch for each size, with the layers of the encoder."""

    def split(self, case: Case) -> list[tuple[Layout, Tensor]]:
        return [
            (Equal(size), (case.sizes == size).nonzero().squeeze(1).to(case.parts.device))
            for size in case.sizes.unique().tolist()
        ]


def widen(layer: SplitLinear) -> nn.Linear:
    """One Linear of the context, the member's features and what it receives, side by side."""
    weights = [layer.get_submodule(piece).weight.detach() for piece, _ in columns(layer)]
    wide = nn.Linear(sum(layer.channels), layer.out_channels, device=weights[0].device)
    with torch.no_grad():
        wide.weight.copy_(torch.cat(weights, dim=1))
        wide.bias.copy_(layer.own.bias)
    return wide


def columns(layer: SplitLinear) -> list[tuple[str, int]]:
    """The inputs of a layer in the order in which they lie in a state, and their sizes."""
    own, received, context = layer.channels
    pieces = [("context", context), ("own", own), ("received", received)]
    return [(piece, channels) for piece, channels in pieces if channels]


def residual(block: nn.Module, h: Tensor) -> Tensor:
    return h + block.lin2(F.elu(block.lin1(h)))


class DenseContender(BucketedContender):
    """One sub-batch for each size, by the program that the paper's appendix describes.

    States are ``[S, K, C]``, features of a whole and z are copied to all its parts, and each layer
    is one Linear of whatever stands before it, with weights that are copies of the encoder's.
    """

    def __init__(self, case: Case, *, compile: bool = False) -> None:
        super().__init__(case, compile=compile)
        self.dense = copy.deepcopy(case.encoder)
        for block in self.dense.blocks:
            block.message_net.lin1 = widen(block.message_net.lin1)
            block.update_net.lin = widen(block.update_net.lin)
        self.parameters = list(self.dense.parameters())

    def outputs(self, piece: Piece) -> Outputs:
        parts = piece.parts.unflatten(0, (len(piece.whole), -1))
        z_loc, z_log_variance = self.dense.z_head(piece.whole).chunk(2, dim=-1)
        shared = torch.cat([piece.whole, piece.z], dim=-1).unsqueeze(1)
        h = torch.cat([shared.expand(-1, parts.shape[1], -1), parts], dim=-1)
        for block in self.dense.blocks:
            g, f = block.message_net, block.update_net
            message = residual(g.residual, F.elu(residual(g, h)))
            others = message.sum(dim=1, keepdim=True) - message
            received = residual(f.received_residual, torch.tanh(others))
            h = F.elu(residual(f.residual, F.elu(f.lin(torch.cat([h, received], dim=-1)))))
        loc, log_variance, logits = self.dense.w_head(h).flatten(0, 1).chunk(3, dim=-1)
        logits = logits.view(*parts.shape[:2], -1)
        null = torch.zeros_like(logits[:, :1])
        log_null, log_rho = torch.cat([null, logits], dim=1).log_softmax(dim=1).tensor_split([1], 1)
        z_scale, scale = torch.exp(0.5 * z_log_variance), torch.exp(0.5 * log_variance)
        rho = log_rho.exp().flatten(0, 1)
        return Outputs(z_loc, z_scale, loc, scale, rho, log_null.squeeze(1))

    def gradients(self) -> dict[str, Tensor]:
        found = {name: p.grad.clone() for name, p in self.dense.named_parameters()}
        for name, layer in self.encoder.named_modules():
            if isinstance(layer, SplitLinear):
                found[f"{name}.own.bias"] = found.pop(f"{name}.bias")
                pieces, sizes = zip(*columns(layer), strict=True)
                weights = found.pop(f"{name}.weight").split(sizes, dim=1)
                found |= {f"{name}.{p}.weight": w for p, w in zip(pieces, weights, strict=True)}
        return found


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
    "one K per sub-batch, dense": DenseContender,
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
