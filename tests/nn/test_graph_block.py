import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch_geometric.nn import MessagePassing, Sequential
from torch_geometric.nn.aggr import MaxAggregation, SoftmaxAggregation, SumAggregation

from compvae_pyg import GraphBlock, Residual

SIZES = (3, 1, 0, 5, 2, 0)


def build(in_channels=4, out_channels=3, **options):
    torch.manual_seed(1)
    return GraphBlock(in_channels, out_channels, **options).double()


def states(num_parts, channels=4, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_parts, channels, generator=generator, dtype=torch.float64)


def complete_graph(batch):
    edges = (batch.unsqueeze(0) == batch.unsqueeze(1)) & ~torch.eye(len(batch), dtype=torch.bool)
    return edges.nonzero().T


def loop_over_sets(block, x, batch, batch_size):
    out = torch.empty(len(x), block.out_channels, dtype=x.dtype)
    for s in range(batch_size):
        own = (batch == s).nonzero().squeeze(1).tolist()
        for i in own:
            received = sum((block.message_net(x[j]) for j in own if j != i), torch.zeros_like(x[i]))
            out[i] = block.update_net(torch.cat([x[i], block.received_net(received)]))
    return out


def padded_and_masked(block, x, batch, batch_size):
    sizes = torch.bincount(batch, minlength=batch_size)
    place = torch.arange(len(x)) - (sizes.cumsum(0) - sizes)[batch]
    widest = int(sizes.max())
    padded = torch.zeros(batch_size, widest, x.shape[1], dtype=x.dtype)
    padded[batch, place] = x
    there = torch.zeros(batch_size, widest, dtype=x.dtype)
    there[batch, place] = 1.0
    adjacency = there.unsqueeze(1) * there.unsqueeze(2) * (1.0 - torch.eye(widest, dtype=x.dtype))
    received = block.received_net(adjacency @ block.message_net(padded))
    return block.update_net(torch.cat([padded, received], dim=-1))[batch, place]


def test_layers_are_those_of_table_4():
    block, x = build(), states(3)
    edge = torch.tensor([[0], [1]])
    first, second, third, last = (m for m in block.modules() if isinstance(m, Residual))
    (lin,) = (
        m
        for m in block.modules()
        if isinstance(m, nn.Linear) and (m.in_features, m.out_features) == (8, 3)
    )
    heard = torch.zeros_like(x)
    heard[1] = second(F.elu(first(x[0])))
    joint = torch.cat([x, third(torch.tanh(heard))], dim=1)
    torch.testing.assert_close(block(x, edge), last(F.elu(lin(joint))))


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_linear_time_path_equals_edge_list_loop_and_padding(batch_of, sizes, seed):
    if sum(sizes) == 0:
        return
    block, batch, count = build(), batch_of(sizes), len(sizes)
    x = states(len(batch), seed=seed)
    out = block(x, batch=batch, batch_size=count)
    torch.testing.assert_close(out, block(x, edge_index=complete_graph(batch)))
    torch.testing.assert_close(out, loop_over_sets(block, x, batch, count))
    torch.testing.assert_close(out, padded_and_masked(block, x, batch, count))


def test_gradients_equal_those_through_the_edge_list(batch_of):
    block, batch = build(), batch_of(SIZES)
    weight = states(len(batch), 3, seed=3)
    gradients = []
    for where in ({"batch": batch, "batch_size": 6}, {"edge_index": complete_graph(batch)}):
        x = states(len(batch)).requires_grad_()
        loss = (weight * block(x, **where)).sum()
        gradients.append(torch.autograd.grad(loss, [x, *block.parameters()]))
    for ours, edges in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, edges)


@pytest.mark.parametrize("edges", [False, True])
def test_context_is_as_if_stood_before_the_states_of_all_parts(batch_of, edges):
    block, batch = build(), batch_of(SIZES)
    where = {"batch": batch, "batch_size": 6}
    if edges:
        where["edge_index"] = complete_graph(batch)
    weight, gradients = states(len(batch), 3, seed=3), []
    for given_apart in (True, False):
        context = states(6, 1, seed=4).requires_grad_()
        x = states(len(batch), 3).requires_grad_()
        if given_apart:
            out = block(x, **where, context=context)
        else:
            out = block(torch.cat([context[batch], x], dim=1), **where)
        loss = (weight * out).sum()
        gradients.append((out, *torch.autograd.grad(loss, [x, context, *block.parameters()])))
    for apart, joined in zip(*gradients, strict=True):
        torch.testing.assert_close(apart, joined)


def test_context_alone_may_describe_the_parts(batch_of):
    block, batch, context = build(), batch_of(SIZES), states(6)
    out = block(states(11, 0), batch=batch, batch_size=6, context=context)
    torch.testing.assert_close(out, block(context[batch], batch=batch, batch_size=6))


def test_without_batch_all_parts_are_neighbours():
    block, x = build(), states(4)
    torch.testing.assert_close(block(x), loop_over_sets(block, x, torch.zeros(4).long(), 1))


def test_messages_run_from_source_to_target():
    block, x = build(), states(3)
    heard = []
    hook = block.received_net.register_forward_pre_hook(lambda _, args: heard.append(args[0]))
    block(x, edge_index=torch.tensor([[0, 2, 0], [1, 1, 2]]))
    hook.remove()
    message = block.message_net(x)
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_set_of_one_receives_exactly_zero(batch_of, dtype):
    block = build().to(dtype)
    heard = []
    block.received_net.register_forward_pre_hook(lambda _, args: heard.append(args[0]))
    block(states(6).to(dtype), batch=batch_of((2, 1, 0, 1, 2)), batch_size=5)
    assert (heard[0][[2, 3]] == 0).all()
    assert (heard[0][[0, 1, 4, 5]] != 0).all()


@pytest.mark.parametrize("batch_size", [0, 1, 3])
def test_no_parts_give_no_states(batch_of, batch_size):
    out = build()(states(0), batch=batch_of([]), batch_size=batch_size)
    assert out.shape == (0, 3)


def test_gradcheck(batch_of):
    block, batch = build(3, 2), batch_of((2, 0, 1, 3))
    x = states(6, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: block(x, batch=batch, batch_size=4), x)


def test_no_value_is_read_from_the_device():
    # Reading a value of a tensor on the meta device raises.
    block = GraphBlock(4, 3).to("meta")
    batch = torch.zeros(5, dtype=torch.long, device="meta")
    out = block(torch.randn(5, 4, device="meta"), batch=batch, batch_size=2)
    assert out.shape == (5, 3) and out.device.type == "meta"


def test_is_a_layer_of_pyg():
    assert isinstance(build(), MessagePassing)


def test_runs_in_a_pyg_sequential(batch_of):
    first, second, batch = build(4, 6), build(6, 3), batch_of((2, 3))
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


def test_autocast_keeps_its_numbers(batch_of):
    block, batch = build().float(), batch_of((40, 3, 1))
    x = states(44).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(x, batch=batch, batch_size=3)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), block(x, batch=batch), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("aggr", ["sum", "mean"])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_into_one_graph_for_all_shapes(batch_of, compile_once, backend, aggr):
    block = build(aggr=aggr)
    compiled = compile_once(block, backend)
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        count = int(torch.randint(5, 12, (), generator=generator))
        sizes = torch.randint(0, 6, (count,), generator=generator).tolist()
        batch = batch_of(sizes)
        x = states(len(batch)).requires_grad_()
        eager = block(x, batch=batch, batch_size=count)
        out = compiled(x, batch=batch, batch_size=count)
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
    block = build()
    before = [p.clone() for p in block.parameters()]
    block.reset_parameters()
    assert all((p != q).all() for p, q in zip(before, block.parameters(), strict=True))


# Other aggregations


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_mean_in_linear_time_equals_the_edge_list_and_a_loop(batch_of, sizes, seed):
    block, batch, count = build(aggr="mean"), batch_of(sizes), len(sizes)
    x = states(len(batch), seed=seed)
    out = block(x, batch=batch, batch_size=count)
    if len(batch) > 0:
        torch.testing.assert_close(out, block(x, edge_index=complete_graph(batch)))
    message = block.message_net(x)
    for i, s in enumerate(batch.tolist()):
        others = (batch == s) & (torch.arange(len(batch)) != i)
        mean = message[others].mean(0) if others.any() else torch.zeros_like(x[i])
        expected = block.update_net(torch.cat([x[i], block.received_net(mean)]))
        torch.testing.assert_close(out[i], expected)


def test_a_set_of_one_receives_exactly_zero_from_the_mean_as_well(batch_of):
    block, heard = build(aggr="mean"), []
    block.received_net.register_forward_pre_hook(lambda _, args: heard.append(args[0]))
    block(states(4), batch=batch_of((1, 3)), batch_size=2)
    assert (heard[0][0] == 0).all() and (heard[0][1:] != 0).all()


def test_mean_in_half_precision_counts_large_sets_right(batch_of):
    # 16 bits cannot tell 256 others from 257.
    block, heard = build(aggr="mean").bfloat16(), []
    block.received_net.register_forward_pre_hook(lambda _, args: heard.append(args[0]))
    block(torch.ones(258, 4, dtype=torch.bfloat16), batch=batch_of((258,)), batch_size=1)
    message = block.message_net(torch.ones(1, 4, dtype=torch.bfloat16))
    torch.testing.assert_close(heard[0], message.expand(258, 4), rtol=0.01, atol=0.0)


def test_other_aggregations_run_on_an_edge_list(batch_of):
    batch, x = batch_of(SIZES), states(11)
    block = build(aggr="max")
    message = block.message_net(x)
    heard = []
    block.received_net.register_forward_pre_hook(lambda _, args: heard.append(args[0]))
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


class Doubled(SumAggregation):
    def forward(self, *args, **kwargs):
        return 2.0 * super().forward(*args, **kwargs)


@pytest.mark.parametrize(
    ("aggr", "name"),
    [("max", "'max'"), (MaxAggregation(), "'MaxAggregation()'"), (Doubled(), "'Doubled()'")],
)
def test_aggregations_that_need_edges_say_so(refuses, aggr, name):
    message = (
        f"edge_index must be given with aggr={name} (got None, which only 'sum' and 'mean' can do "
        "without)"
    )
    with refuses(ValueError, message):
        build(aggr=aggr)(states(3))


def test_an_aggregation_that_changes_the_size_is_refused(refuses):
    message = "aggr must keep the size of the messages (got 8 from 4 with ['sum', 'max'])"
    with refuses(ValueError, message):
        build(aggr=["sum", "max"])(states(3), torch.tensor([[0, 1], [1, 2]]))


def test_repr():
    assert repr(GraphBlock(16, 32)) == "GraphBlock(16, 32)"
    assert repr(GraphBlock(16, 32, aggr="mean")) == "GraphBlock(16, 32, aggr='mean')"


@pytest.mark.parametrize("shape", [(5, 3), (5,), (1, 5, 4)])
def test_states_of_a_wrong_shape_are_refused(refuses, shape):
    with refuses(ValueError, f"x must be [N, 4] (got {list(shape)})"):
        build()(torch.zeros(shape, dtype=torch.float64))


def test_context_of_a_wrong_shape_is_refused(refuses, batch_of):
    batch = batch_of((2, 3))
    with refuses(ValueError, "x must be [N, 3] (got [5, 4])"):
        build()(states(5), batch=batch, context=states(2, 1))
    with refuses(ValueError, "context must be [2, C] (got [3, 1])"):
        build()(states(5, 3), batch=batch, context=states(3, 1))


def test_batch_of_a_wrong_length_is_refused(refuses):
    message = "batch must have one entry per part (got shape [3], expected [5])"
    with refuses(ValueError, message):
        build()(states(5), batch=torch.tensor([0, 0, 1]))


def test_unsorted_batch_is_refused(refuses):
    with refuses(ValueError, "batch must be sorted (got set 0 after set 1 at part 2)"):
        build()(states(3), batch=torch.tensor([0, 1, 0]))
