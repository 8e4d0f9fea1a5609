import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch_geometric.nn import MessagePassing, Sequential
from torch_geometric.nn.aggr import MaxAggregation, SoftmaxAggregation, SumAggregation

from compvae_pyg.nn import GraphBlock, PackedParts
from compvae_pyg.nn.rows import SplitLinear

SIZES = (3, 1, 0, 5, 2, 0)


def build(in_channels=4, out_channels=3, context_channels=0, **options):
    torch.manual_seed(1)
    return GraphBlock(in_channels, out_channels, context_channels, **options).double()


def states(num_parts, channels=4, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_parts, channels, generator=generator, dtype=torch.float64)


def complete_graph(batch):
    edges = (batch.unsqueeze(0) == batch.unsqueeze(1)) & ~torch.eye(len(batch), dtype=torch.bool)
    return edges.nonzero().T


def table_4(block):
    """The two functions of a block as the paper prints them: with one Linear on whole states."""
    values = dict(block.named_parameters())

    def linear(name, h):
        pieces = [f"{name}.{piece}.weight" for piece in ("context", "own", "received")]
        if f"{name}.own.bias" not in values:
            return F.linear(h, values[f"{name}.weight"], values[f"{name}.bias"])
        weight = torch.cat([values[piece] for piece in pieces if piece in values], dim=1)
        return F.linear(h, weight, values[f"{name}.own.bias"])

    def residual(name, h):
        return h + linear(f"{name}lin2", F.elu(linear(f"{name}lin1", h)))

    def g(h):
        return residual("message_net.residual.", F.elu(residual("message_net.", h)))

    def f(h, received):
        received = residual("update_net.received_residual.", torch.tanh(received))
        joint = linear("update_net.lin", torch.cat([h, received], dim=-1))
        return residual("update_net.residual.", F.elu(joint))

    return g, f


def loop_over_sets(block, h, batch, batch_size):
    g, f = table_4(block)
    out = torch.empty(len(h), block.out_channels, dtype=h.dtype)
    for s in range(batch_size):
        own = (batch == s).nonzero().squeeze(1).tolist()
        for i in own:
            received = sum((g(h[j]) for j in own if j != i), torch.zeros_like(h[i]))
            out[i] = f(h[i], received)
    return out


def padded_and_masked(block, h, batch, batch_size):
    g, f = table_4(block)
    sizes = torch.bincount(batch, minlength=batch_size)
    place = torch.arange(len(h)) - (sizes.cumsum(0) - sizes)[batch]
    widest = int(sizes.max())
    padded = torch.zeros(batch_size, widest, h.shape[1], dtype=h.dtype)
    padded[batch, place] = h
    there = torch.zeros(batch_size, widest, dtype=h.dtype)
    there[batch, place] = 1.0
    adjacency = there.unsqueeze(1) * there.unsqueeze(2) * (1.0 - torch.eye(widest, dtype=h.dtype))
    return f(padded, adjacency @ g(padded))[batch, place]


@pytest.fixture
def received():
    """From a block to a list, to which what its parts receive is added at each call."""

    def listen(block):
        heard = []
        block.update_net.register_forward_pre_hook(lambda _, args: heard.append(args[1]))
        return heard

    return listen


def test_layers_are_those_of_table_4():
    block, x = build(), states(3)
    g, f = table_4(block)
    expected = torch.zeros_like(x)
    expected[1] = g(x[0])
    torch.testing.assert_close(block(x, torch.tensor([[0], [1]])), f(x, expected))


@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    context_channels=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_linear_time_path_equals_edge_list_loop_and_padding(
    batch_of, sizes, context_channels, seed
):
    if sum(sizes) == 0:
        return
    block, batch, count = build(4, 3, context_channels), batch_of(sizes), len(sizes)
    x, context = states(len(batch), seed=seed), states(count, context_channels, seed=seed + 1)
    given = {"batch": batch, "batch_size": count, "context": context if context_channels else None}
    out, h = block(x, **given), torch.cat([context[batch], x], dim=1)
    torch.testing.assert_close(out, block(x, edge_index=complete_graph(batch), **given))
    torch.testing.assert_close(out, loop_over_sets(block, h, batch, count))
    torch.testing.assert_close(out, padded_and_masked(block, h, batch, count))


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("context_channels", [0, 2])
def test_gradients_equal_those_of_a_loop(batch_of, context_channels, edges):
    block, batch = build(4, 3, context_channels), batch_of(SIZES)
    weight = states(len(batch), 3, seed=3)
    x, context = states(len(batch)), states(6, context_channels, seed=4)
    inputs = [x.requires_grad_(), *([context.requires_grad_()] if context_channels else [])]
    out = block(
        x,
        complete_graph(batch) if edges else None,
        batch,
        6,
        context=context if context_channels else None,
    )
    loop = loop_over_sets(block, torch.cat([context[batch], x], dim=1), batch, 6)
    gradients = [
        torch.autograd.grad((weight * y).sum(), [*inputs, *block.parameters()]) for y in (out, loop)
    ]
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected)


def test_without_batch_all_parts_are_neighbours():
    block, x = build(), states(4)
    torch.testing.assert_close(block(x), loop_over_sets(block, x, torch.zeros(4).long(), 1))


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_messages_run_as_the_flow_says(received, flow):
    block, x = build(flow=flow), states(3)
    heard, edges = received(block), torch.tensor([[0, 2, 0], [1, 1, 2]])
    block(x, edges if flow == "source_to_target" else edges.flip(0))
    message = block.message_net(x, None, None)
    expected = torch.stack([torch.zeros_like(message[0]), message[0] + message[2], message[0]])
    torch.testing.assert_close(heard[0], expected)


def test_permuting_members_permutes_the_output(batch_of):
    block, batch = build(), batch_of(SIZES)
    x = states(len(batch))
    order = torch.tensor([2, 0, 1, 3, 8, 4, 6, 5, 7, 10, 9])
    assert (batch[order] == batch).all()
    out = block(x, batch=batch, batch_size=6)
    torch.testing.assert_close(block(x[order], batch=batch, batch_size=6), out[order])


def test_permuting_sets_permutes_the_output(batch_of):
    block = build()
    x = states(11)
    out = block(x, batch=batch_of(SIZES), batch_size=6)
    order = torch.tensor([9, 10, 4, 5, 6, 7, 8, 0, 1, 2, 3])
    moved = block(x[order], batch=batch_of((2, 0, 5, 0, 3, 1)), batch_size=6)
    torch.testing.assert_close(moved, out[order])


def test_nothing_crosses_from_set_to_set(batch_of):
    block, batch = build(), batch_of(SIZES)
    x = states(len(batch))
    out = block(x, batch=batch, batch_size=6)
    for s in (0, 1, 3, 4):
        mine = batch == s
        spoilt = torch.where(mine.unsqueeze(1), x, torch.nan)
        torch.testing.assert_close(block(spoilt, batch=batch, batch_size=6)[mine], out[mine])
        leaf = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(block(leaf, batch=batch, batch_size=6)[mine].sum(), leaf)
        assert (grad[~mine] == 0).all()
        assert (grad[mine] != 0).all()


@pytest.mark.parametrize("aggr", ["sum", "mean"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_set_of_one_receives_exactly_zero(batch_of, received, dtype, aggr):
    block = build(aggr=aggr).to(dtype)
    heard = received(block)
    block(states(6).to(dtype), batch=batch_of((2, 1, 0, 1, 2)), batch_size=5)
    assert (heard[0][[2, 3]] == 0).all()
    assert (heard[0][[0, 1, 4, 5]] != 0).all()


@pytest.mark.parametrize("context_channels", [0, 2])
@pytest.mark.parametrize("batch_size", [0, 1, 3])
def test_no_parts_give_no_states(batch_of, batch_size, context_channels):
    context = states(batch_size, context_channels) if context_channels else None
    block = build(context_channels=context_channels)
    out = block(states(0), batch=batch_of([]), batch_size=batch_size, context=context)
    assert out.shape == (0, 3)


def test_packed_parts_stand_for_batch_and_are_not_checked_again():
    block, x, unsorted = build(4, 3, 2), states(3), torch.tensor([1, 0, 1])
    parts = PackedParts(x, unsorted, 2, validate=False)
    context = states(2, 2, seed=4)
    expected = loop_over_sets(block, torch.cat([context[unsorted], x], dim=1), unsorted, 2)
    torch.testing.assert_close(block(x, batch=parts, context=context), expected)


def test_a_large_set_is_right_to_float32(received):
    block, x = build(), states(100_000)
    exact, heard = received(block), received(single := copy.deepcopy(block).float())
    out, expected = single(x.float()), block(x)
    # Of a sum that cancels, the error is relative to what was added.
    scale = block.message_net(x, None, None).abs().sum(0)
    assert ((heard[0] - exact[0]).abs() / scale).max() < 1e-6
    torch.testing.assert_close(out, expected.float(), rtol=1e-5, atol=1e-5)


def test_autocast_keeps_its_numbers(batch_of):
    block, batch = build().float(), batch_of((40, 3, 1))
    x = states(44).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(x, batch=batch, batch_size=3)
    torch.testing.assert_close(out.float(), block(x, batch=batch), rtol=0.05, atol=0.05)


def test_under_autocast_messages_are_added_in_32_bits(received):
    block, messages = build().float(), []
    heard = received(block)
    block.message_net.register_forward_hook(lambda _, args, out: messages.append(out))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        block(1.0 + 0.1 * states(4000).float())
    (message,) = (out.double() for out in messages)
    # As exact as the type in which it is handed on.
    torch.testing.assert_close(heard[0].double(), message.sum(0) - message, rtol=2**-8, atol=0.0)


@pytest.mark.parametrize("context_channels", [0, 2])
@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
def test_first_and_second_derivatives(batch_of, context_channels, check):
    block, batch = build(3, 2, context_channels), batch_of((2, 0, 1, 3))
    inputs = [states(6, 3).requires_grad_()]
    if context_channels:
        inputs.append(states(4, context_channels).requires_grad_())
    assert check(lambda x, c=None: block(x, batch=batch, batch_size=4, context=c), inputs)


@pytest.mark.parametrize("over", ["x", "context", "both"])
def test_vmap_equals_a_loop(batch_of, over):
    block, batch = build(4, 3, 2), batch_of((2, 0, 1, 3))
    x, context = states(5 * 6).view(5, 6, 4), states(5 * 4, 2, seed=3).view(5, 4, 2)

    def run(x, context):
        return block(x, batch=batch, batch_size=4, context=context)

    x = x if over != "context" else x[0]
    context = context if over != "x" else context[0]
    dims = (0 if over != "context" else None, 0 if over != "x" else None)
    one_by_one = [
        run(x if dims[0] is None else x[k], context if dims[1] is None else context[k])
        for k in range(5)
    ]
    torch.testing.assert_close(torch.func.vmap(run, dims)(x, context), torch.stack(one_by_one))


def test_no_value_is_read_from_the_device():
    # Reading a value of a tensor on the meta device raises.
    block = GraphBlock(4, 3, 2).to("meta")
    batch = torch.zeros(5, dtype=torch.long, device="meta")
    x, context = torch.randn(5, 4, device="meta"), torch.randn(2, 2, device="meta")
    out = block(x, batch=batch, batch_size=2, context=context)
    assert out.shape == (5, 3) and out.device.type == "meta"


def test_runs_in_a_pyg_sequential(batch_of):
    first, second, batch = build(4, 6), build(6, 3), batch_of((2, 3))
    assert isinstance(first, MessagePassing)
    model = Sequential(
        "x, edge_index, batch",
        [
            (first, "x, edge_index, batch -> x"),
            nn.ELU(),
            (second, "x, edge_index, batch -> x"),
        ],
    )
    x = states(5)
    expected = second(F.elu(first(x, batch=batch)), batch=batch)
    torch.testing.assert_close(model(x, None, batch), expected)
    torch.testing.assert_close(model(x, complete_graph(batch), batch), expected)


@pytest.mark.parametrize(("context_channels", "aggr"), [(0, "sum"), (0, "mean"), (2, "sum")])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_into_one_graph_for_all_shapes(
    batch_of, compile_once, backend, context_channels, aggr
):
    block = build(4, 3, context_channels, aggr=aggr)
    compiled = compile_once(block, backend)
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        count = int(torch.randint(5, 12, (), generator=generator))
        sizes = torch.randint(0, 6, (count,), generator=generator).tolist()
        batch = batch_of(sizes)
        x = states(len(batch)).requires_grad_()
        context = states(count, context_channels) if context_channels else None
        eager = block(x, batch=batch, batch_size=count, context=context)
        out = compiled(x, batch=batch, batch_size=count, context=context)
        torch.testing.assert_close(out, eager)
        weight = states(len(batch), 3, seed=3)
        (expected,) = torch.autograd.grad((weight * eager).sum(), x)
        (gradient,) = torch.autograd.grad((weight * out).sum(), x)
        torch.testing.assert_close(gradient, expected)


# Older releases of torch say only that something was refused, and where.
REFUSED = r"batch_size must be given under torch.compile \(got None|Observed exception"


def test_compiling_without_batch_size_is_refused(batch_of, compile_once):
    compiled = compile_once(build(), "eager")
    with pytest.raises(Exception, match=REFUSED):
        compiled(states(5), batch=batch_of((2, 3)))


def test_reset_parameters_draws_every_parameter_anew():
    block = build(4, 3, 2)
    before = [p.clone() for p in block.parameters()]
    block.reset_parameters()
    assert all((p != q).all() for p, q in zip(before, block.parameters(), strict=True))


def test_a_split_linear_starts_as_one_linear_of_all_its_inputs():
    torch.manual_seed(0)
    split = SplitLinear(30, 50, received_channels=40, context_channels=30)
    for name, parameter in split.named_parameters():
        largest = float(parameter.detach().abs().max())
        assert 0.8 * 0.1 < largest <= 0.1, name  # 1 / sqrt(30 + 40 + 30)
    assert repr(split) == "SplitLinear(30 + 40 + 30, 50)"


# The layers in other people's hands


class LoRA(nn.Module):
    """A low-rank adapter, which has no weight of its own."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.down = nn.Linear(linear.in_features, 2, bias=False, dtype=torch.float64)
        self.up = nn.Linear(2, linear.out_features, bias=False, dtype=torch.float64)

    def forward(self, x):
        return self.linear(x) + self.up(self.down(x))

    def merge(self):
        with torch.no_grad():
            self.linear.weight += self.up.weight @ self.down.weight
        return self.linear


def replace(kind, change):
    """Replace every layer of a kind by what is made of it."""

    def apply(block):
        for module in list(block.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, kind):
                    setattr(module, name, change(child))

    return apply


def on_linears(change):
    """Change every Linear in place."""

    def apply(block):
        for module in list(block.modules()):
            if isinstance(module, nn.Linear):
                change(module)

    return apply


def parametrised(norm):
    return (
        on_linears(norm),
        on_linears(lambda m: parametrize.remove_parametrizations(m, "weight")),
    )


ADAPTERS = {
    "LoRA": (replace(nn.Linear, LoRA), replace(LoRA, LoRA.merge)),
    "prune": (
        on_linears(lambda m: prune.random_unstructured(m, "weight", amount=0.5)),
        on_linears(lambda m: prune.remove(m, "weight")),
    ),
    "weight_norm, by hooks": (
        on_linears(nn.utils.weight_norm),
        on_linears(nn.utils.remove_weight_norm),
    ),
    "spectral_norm, by hooks": (
        on_linears(nn.utils.spectral_norm),
        on_linears(nn.utils.remove_spectral_norm),
    ),
    "weight_norm": parametrised(parametrizations.weight_norm),
    "spectral_norm": parametrised(parametrizations.spectral_norm),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("context_channels", [0, 2])
@pytest.mark.parametrize("name", ADAPTERS)
def test_adapted_linears_train_and_give_what_they_give_when_merged(
    batch_of, name, context_channels
):
    adapt_all, merge_all = ADAPTERS[name]
    block, batch = build(4, 3, context_channels), batch_of(SIZES)
    given = {"batch": batch, "batch_size": 6}
    if context_channels:
        given["context"] = states(6, context_channels)
    x, plain = states(11), block(states(11), **given)
    adapt_all(block)
    optimiser = torch.optim.SGD(block.parameters(), lr=0.01)
    for _ in range(2):
        optimiser.zero_grad()
        block(x, **given).square().sum().backward()
        assert all((p.grad != 0).any() for p in block.parameters())
        optimiser.step()
    out = block.eval()(x, **given)
    merge_all(block)
    torch.testing.assert_close(block(x, **given), out)
    g, _ = table_4(block)  # of plain Linears again
    assert torch.isfinite(g(states(1, 4 + context_channels))).all() and (out != plain).any()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("context_channels", [0, 2])
def test_dynamic_quantisation_is_honoured_in_every_linear(batch_of, context_channels):
    block, batch = build(16, 8, context_channels).float(), batch_of(SIZES)
    context = states(6, context_channels).float() if context_channels else None
    quantised = torch.ao.quantization.quantize_dynamic(block, {nn.Linear}, dtype=torch.qint8)
    calls = []
    for module in quantised.modules():
        if "quantized" in type(module).__module__:
            module.register_forward_hook(lambda *_: calls.append(1))
    x = states(11, 16).float()
    out = quantised(x, batch=batch, batch_size=6, context=context)
    expected = block(x, batch=batch, batch_size=6, context=context)
    assert 0.0 < float((out - expected).norm() / expected.norm()) < 0.05
    assert len(calls) == 10 + 2 * bool(context_channels)


@pytest.mark.parametrize("edges", [False, True])
def test_every_linear_is_called_once_and_its_hooks_are_honoured(batch_of, edges):
    block, batch, x = build(4, 3, 2), batch_of(SIZES), states(11)
    given = {"batch": batch, "batch_size": 6, "context": states(6, 2)}
    edge_index = complete_graph(batch) if edges else None
    expected = block(x, edge_index, **given)
    linears = [module for module in block.modules() if isinstance(module, nn.Linear)]
    calls = []
    for linear in linears:
        linear.register_forward_hook(lambda module, *_: calls.append(module))
    block(x, edge_index, **given)
    assert len(calls) == len(linears) and set(calls) == set(linears)
    for linear in linears:
        for changed in (
            linear.register_forward_hook(lambda _, args, out: out + 1.0),
            linear.register_forward_pre_hook(lambda _, args: (args[0] + 1.0,)),
        ):
            assert (block(x, edge_index, **given) != expected).any()
            changed.remove()


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("context_channels", [0, 2])
def test_what_hooks_keep_is_never_changed(batch_of, context_channels, edges):
    block, batch, kept = build(4, 3, context_channels), batch_of(SIZES), []

    def keep(_, args, out):
        kept.extend((t, t.detach().clone()) for t in (*args, out) if isinstance(t, torch.Tensor))

    for module in block.modules():
        module.register_forward_hook(keep)
    if edges:
        block.register_aggregate_forward_hook(lambda _, args, out: keep(_, (), out))
    context = states(6, context_channels).requires_grad_() if context_channels else None
    edge_index = complete_graph(batch) if edges else None
    block(states(11).requires_grad_(), edge_index, batch, 6, context=context).sum().backward()
    assert len(kept) > 20
    for value, then in kept:
        torch.testing.assert_close(value.detach(), then, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("context_channels", [0, 2])
def test_full_backward_hooks_see_every_gradient(batch_of, context_channels):
    block, batch, seen = build(4, 3, context_channels), batch_of(SIZES), set()
    x = states(11).requires_grad_()
    context = states(6, context_channels).requires_grad_() if context_channels else None
    block(x, batch=batch, batch_size=6, context=context).sum().backward()
    expected, x.grad = x.grad, None
    hooked = [m for m in block.modules() if m is not block.aggr_module]
    for module in hooked:
        module.register_full_backward_pre_hook(lambda *_: None)
        module.register_full_backward_hook(lambda module, *_: seen.add(module))
    block(x, batch=batch, batch_size=6, context=context).sum().backward()
    assert seen == set(hooked)
    torch.testing.assert_close(x.grad, expected)


# Other ways to pass messages


class OwnMessage(GraphBlock):
    def message(self, message_j):
        return 2.0 * message_j


class OwnAggregate(GraphBlock):
    def aggregate(self, inputs, index, ptr=None, dim_size=None):
        return 2.0 * super().aggregate(inputs, index, ptr, dim_size)


class OwnUpdate(GraphBlock):
    def update(self, inputs):
        return 2.0 * inputs


class OwnPropagate(GraphBlock):
    def propagate(self, edge_index, size=None, **kwargs):
        return 2.0 * MessagePassing.propagate(self, edge_index, size=size, **kwargs)


class OwnMessageAndAggregate(GraphBlock):
    def message_and_aggregate(self, edge_index, message):
        return 2.0 * (edge_index @ message)


class Doubling:
    def message(self, message_j):
        return 2.0 * message_j


class OwnMessageByMixin(Doubling, GraphBlock):
    pass


class Unchanged(GraphBlock):
    """A subclass that passes messages as its parent does."""


OWN = [
    OwnMessage,
    OwnAggregate,
    OwnUpdate,
    OwnPropagate,
    OwnMessageAndAggregate,
    OwnMessageByMixin,
]


def adjacency(edge_index, num_parts):
    """The transposed adjacency matrix that PyG takes in place of edges."""
    ones = torch.ones(edge_index.shape[1], dtype=torch.float64)
    return torch.sparse_coo_tensor(edge_index.flip(0), ones, (num_parts,) * 2).to_sparse_csr()


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("kind", OWN)
def test_a_subclass_passes_messages_its_own_way(batch_of, received, refuses, kind):
    torch.manual_seed(1)
    block, plain, batch = kind(4, 3).double(), GraphBlock(4, 3).double(), batch_of(SIZES)
    x, edge_index = states(11), complete_graph(batch)
    plain.load_state_dict(block.state_dict())
    ours, theirs = received(block), received(plain)
    given = edge_index
    if kind is OwnMessageAndAggregate:
        given = adjacency(edge_index, 11)
    block(x, given)
    plain(x, edge_index)
    torch.testing.assert_close(ours[0], 2.0 * theirs[0])
    with refuses(ValueError, "edge_index"):
        block(x, batch=batch, batch_size=6)


def test_a_method_put_into_a_block_is_not_ignored(batch_of, received, refuses):
    block, batch, x = build(), batch_of(SIZES), states(11)
    heard = received(block)
    block(x, batch=batch, batch_size=6)
    block.message = lambda message_j: 2.0 * message_j
    block(x, complete_graph(batch))
    torch.testing.assert_close(heard[1], 2.0 * heard[0])
    with refuses(ValueError, "edge_index"):
        block(x, batch=batch, batch_size=6)


def test_a_subclass_that_changes_no_message_needs_no_edges(batch_of):
    batch, x = batch_of(SIZES), states(11)
    torch.manual_seed(1)
    block = Unchanged(4, 3).double()
    expected = block(x, complete_graph(batch))
    torch.testing.assert_close(block(x, batch=batch, batch_size=6), expected)
    assert repr(block) == "Unchanged(4, 3)"


@pytest.mark.parametrize("when", ["forward_pre", "forward"])
@pytest.mark.parametrize("step", ["message", "aggregate", "propagate"])
def test_hooks_on_messages_run_with_edges_and_are_refused_without(batch_of, refuses, step, when):
    block, batch, calls = build(), batch_of(SIZES), []

    def hook(_, args, *out):
        calls.append(1)
        if when == "forward_pre" and step != "propagate":
            return args[0]  # PyG takes what they return
        return None

    expected = block(states(11), batch=batch, batch_size=6)
    handle = getattr(block, f"register_{step}_{when}_hook")(hook)
    torch.testing.assert_close(block(states(11), complete_graph(batch)), expected)
    assert calls == [1]
    with refuses(ValueError, "edge_index"):
        block(states(11), batch=batch, batch_size=6)
    handle.remove()
    torch.testing.assert_close(block(states(11), batch=batch, batch_size=6), expected)


def test_explanations_need_edges(batch_of, refuses):
    block, batch = build(), batch_of(SIZES)
    block.explain = True
    with refuses(ValueError, "edge_index"):
        block(states(11), batch=batch, batch_size=6)


# Other aggregations


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_mean_in_linear_time_equals_the_edge_list_and_a_loop(batch_of, sizes, seed):
    block, batch, count = build(aggr="mean"), batch_of(sizes), len(sizes)
    x = states(len(batch), seed=seed)
    out = block(x, batch=batch, batch_size=count)
    if len(batch) > 0:
        torch.testing.assert_close(out, block(x, edge_index=complete_graph(batch)))
    g, f = table_4(block)
    message = g(x)
    for i, s in enumerate(batch.tolist()):
        others = (batch == s) & (torch.arange(len(batch)) != i)
        mean = message[others].mean(0) if others.any() else torch.zeros_like(x[i])
        torch.testing.assert_close(out[i], f(x[i], mean))


def test_mean_in_half_precision_counts_large_sets_right(batch_of, received):
    # 16 bits cannot hold both 256 and 257.
    block = build(aggr="mean").bfloat16()
    heard = received(block)
    block(torch.ones(258, 4, dtype=torch.bfloat16), batch=batch_of((258,)), batch_size=1)
    message = block.message_net(torch.ones(1, 4, dtype=torch.bfloat16), None, None)
    torch.testing.assert_close(heard[0], message.expand(258, 4), rtol=0.01, atol=0.0)


def test_other_aggregations_run_on_an_edge_list(batch_of, received):
    batch, x = batch_of(SIZES), states(11)
    block = build(aggr="max")
    message, heard = block.message_net(x, None, None), received(block)
    block(x, edge_index=complete_graph(batch))
    for i, s in enumerate(batch.tolist()):
        others = (batch == s) & (torch.arange(11) != i)
        expected = message[others].amax(0) if others.any() else torch.zeros_like(x[i])
        torch.testing.assert_close(heard[0][i], expected)


def test_an_aggregation_may_be_a_module_with_parameters(batch_of):
    batch, x = batch_of(SIZES), states(11)
    block = build(aggr=SoftmaxAggregation(learn=True))
    block(x, complete_graph(batch)).sum().backward()
    (temperature,) = block.aggr_module.parameters()
    assert (temperature.grad != 0).all()
    with torch.no_grad():
        temperature.fill_(5.0)
    block.reset_parameters()
    assert (temperature == 1.0).all()


@pytest.mark.parametrize("aggr", ["add", SumAggregation()])
def test_the_sum_has_several_names(batch_of, aggr):
    batch, x = batch_of(SIZES), states(11)
    expected = build()(x, batch=batch, batch_size=6)
    torch.testing.assert_close(build(aggr=aggr)(x, batch=batch, batch_size=6), expected)


def test_options_of_message_passing_are_handed_on(batch_of, refuses):
    block, batch = build(aggr="softmax", aggr_kwargs={"learn": True}), batch_of(SIZES)
    assert block.aggr_module.learn
    expected = build()(states(11), batch=batch, batch_size=6)
    for options in ({"decomposed_layers": 2}, {"node_dim": 0}):
        block = build(**options)
        torch.testing.assert_close(block(states(11), complete_graph(batch)), expected)
        torch.testing.assert_close(block(states(11), batch=batch, batch_size=6), expected)
    for options, error, name in (
        ({"nonsense": 1}, TypeError, "nonsense"),
        ({"node_dim": 1}, ValueError, "node_dim"),
        ({"flow": "upwards"}, ValueError, "flow"),
        ({"aggr": "nonsense"}, ValueError, "aggr"),
        ({"aggr": 3}, TypeError, "aggr"),
    ):
        with refuses(error, name):
            build(**options)


class Doubled(SumAggregation):
    def forward(self, *args, **kwargs):
        return 2.0 * super().forward(*args, **kwargs)


@pytest.mark.parametrize("aggr", ["max", MaxAggregation(), Doubled(), ["sum", "mean"], None])
def test_aggregations_that_need_edges_say_so(refuses, aggr):
    with refuses(ValueError, "edge_index"):
        build(aggr=aggr)(states(3))


def test_an_aggregation_that_changes_the_size_is_refused(refuses):
    with refuses(ValueError, "aggr"):
        build(aggr=["sum", "max"])(states(3), torch.tensor([[0, 1], [1, 2]]))


def test_repr():
    assert repr(GraphBlock(16, 32)) == "GraphBlock(16, 32)"
    assert repr(GraphBlock(16, 32, aggr="mean")) == "GraphBlock(16, 32, aggr='mean')"
    assert repr(GraphBlock(16, 32, 8)) == "GraphBlock(16, 32, context_channels=8)"


# Wrong arguments


@pytest.mark.parametrize("shape", [(5, 3), (5,), (1, 5, 4)])
def test_states_of_a_wrong_shape_are_refused(refuses, shape):
    with refuses(ValueError, "x"):
        build()(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize(
    ("context_channels", "context", "error"),
    [
        (1, None, TypeError),
        (1, states(3, 1), ValueError),
        (1, states(2, 2), ValueError),
        (0, states(2, 1), ValueError),
    ],
)
def test_context_that_does_not_fit_is_refused(refuses, batch_of, context_channels, context, error):
    block, batch = build(4, 3, context_channels), batch_of((2, 3))
    with refuses(error, "context"):
        block(states(5), batch=batch, context=context)
    with refuses(error, "context"):
        block(states(5), complete_graph(batch), batch, context=context)


@pytest.mark.parametrize("batch", [[0, 0, 1], [0, 1, 0, 1, 1], [0, 0, 0, 2, 2]])
def test_batch_that_does_not_fit_is_refused(refuses, batch):
    with refuses(ValueError, "batch"):
        build()(states(5), batch=torch.tensor(batch))


def test_packed_parts_that_do_not_fit_are_refused(refuses, batch_of):
    parts = PackedParts(states(5), batch_of((2, 3)))
    with refuses(ValueError, "x"):
        build()(states(4), batch=parts)
    with refuses(ValueError, "batch_size"):
        build()(states(5), batch=parts, batch_size=2)


@pytest.mark.parametrize(
    ("edge_index", "error"),
    [
        (torch.tensor([[0.0], [1.0]]), TypeError),
        (torch.tensor([0, 1]), ValueError),
        (torch.tensor([[0], [5]]), IndexError),
        (torch.tensor([[-1], [0]]), IndexError),
        ([[0], [1]], TypeError),
    ],
)
def test_edges_that_are_none_are_refused(refuses, edge_index, error):
    with refuses(error, "edge_index"):
        build()(states(5), edge_index)
