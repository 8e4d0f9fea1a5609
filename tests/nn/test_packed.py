"""Packed sets against loops over the sets."""

from types import MappingProxyType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.data import Batch, Data

from compvae_pyg.nn import PackedParts, pack
from compvae_pyg.nn.rows import at_least_float32, gather

SIZES = (3, 0, 1, 5, 2, 0)
S, N = len(SIZES), sum(SIZES)
CPU = torch.device("cpu")

sizes_of_sets = st.lists(st.integers(0, 5), min_size=1, max_size=5)


def parts_of(sizes, first=0, count=True, weight=True):
    """Parts that are numbered through, each with fields, count and weight made of its number."""
    batch = torch.tensor([s for s, size in enumerate(sizes) for _ in range(size)]).long()
    number = first + torch.arange(len(batch))
    return PackedParts(
        {"number": number, "pos": torch.stack([number, -number], 1).double()},
        batch,
        len(sizes),
        count=number + 1 if count else None,
        weight=0.5 * number if weight else None,
    )


def numbers(parts):
    """The numbers of the parts, a list for each set, when all that has a row for each agrees."""
    number = parts["number"]
    torch.testing.assert_close(parts["pos"], torch.stack([number, -number], 1).double())
    for value, expected in ((parts.count, number + 1), (parts.weight, 0.5 * number)):
        assert value is None or torch.equal(value, expected)
    assert parts.num_parts == len(number) and parts.batch.dtype == torch.long
    assert (parts.batch.diff() >= 0).all() and parts.batch.lt(parts.batch_size).all()
    return [number[parts.batch == s].tolist() for s in range(parts.batch_size)]


def written_out(sizes, first=0):
    """The same numbers without packing."""
    starts = np.cumsum([first, *sizes]).tolist()
    return [list(range(start, start + size)) for start, size in zip(starts, sizes, strict=False)]


def plain(batch, batch_size=None, num_parts=None):
    """Sets without descriptions."""
    return PackedParts(
        torch.zeros(len(batch) if num_parts is None else num_parts), batch, batch_size
    )


# Making one


def test_without_batch_all_parts_are_one_set():
    parts = PackedParts(torch.zeros(3, 2))
    assert parts.batch.tolist() == [0, 0, 0] and parts.batch.dtype == torch.long
    assert parts.batch_size == 1 and parts.num_parts == 3


def test_number_of_sets_is_found_from_batch():
    parts = plain(torch.tensor([0, 1, 1, 2]))
    assert parts.batch.tolist() == [0, 1, 1, 2] and parts.batch_size == 3


@pytest.mark.parametrize("batch", [[1, 1, 3], [0, 2, 3], [0, 0, 0]])
def test_batch_size_announces_empty_sets(batch):
    given_batch = torch.tensor(batch)
    parts = plain(given_batch, 5)
    assert parts.batch is given_batch and parts.batch_size == 5


@pytest.mark.parametrize(
    ("batch", "batch_size", "expected"),
    [(None, None, 1), (None, 3, 3), (None, 0, 0), ([], None, 0), ([], 3, 3)],
)
def test_no_parts_at_all(batch, batch_size, expected):
    given_batch = None if batch is None else torch.tensor(batch, dtype=torch.long)
    parts = PackedParts(torch.zeros(0, 2), given_batch, batch_size)
    assert parts.batch.shape == (0,) and parts.batch.dtype == torch.long
    assert parts.batch_size == expected
    assert parts.sum(torch.zeros(0, 2)).tolist() == [[0.0, 0.0]] * expected


@pytest.mark.parametrize(
    ("num_parts", "batch", "batch_size", "name"),
    [
        (2, [0, 0], -1, "batch_size"),
        (3, None, 2, "batch"),
        (3, [0, 0], None, "batch"),
        (2, [[0, 0]], None, "batch"),
        (4, [0, 2, 1, 1], None, "batch"),
        (4, [0, 2, 1, 1], 3, "batch"),
        (2, [-1, 0], None, "batch"),
        (2, [-1, 0], 1, "batch"),
        (3, [0, 0, 2], None, "batch"),
        (2, [1, 1], None, "batch"),
        (3, [0, 1, 2], 2, "batch"),
    ],
)
def test_batch_that_does_not_fit_is_refused(refuses, num_parts, batch, batch_size, name):
    batch = None if batch is None else torch.tensor(batch)
    with refuses(ValueError, name):
        PackedParts(torch.zeros(num_parts), batch, batch_size)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float32, torch.bool])
def test_batch_of_another_dtype_is_refused(refuses, dtype):
    with refuses(TypeError, "batch"):
        plain(torch.zeros(2, dtype=dtype), 1)


@pytest.mark.parametrize("batch_size", [2.0, "2", True])
def test_batch_size_that_is_no_integer_is_refused(refuses, batch_size):
    with refuses(TypeError, "batch_size"):
        plain(torch.zeros(2, dtype=torch.long), batch_size)


def test_batch_on_another_device_is_refused(refuses):
    with refuses(ValueError, "batch"):
        PackedParts(torch.zeros(2), torch.zeros(2, dtype=torch.long, device="meta"), 1)


def test_no_value_is_read_off_the_cpu_when_batch_size_is_given():
    # Reading a value of a tensor on the meta device raises.
    batch = torch.zeros(2, dtype=torch.long, device="meta")
    ones = torch.ones(2, device="meta")
    parts = PackedParts({"size": ones}, batch, 4, count=ones, weight=ones)
    assert parts.batch is batch and parts.batch_size == 4
    assert parts.sum(ones).shape == parts.sizes().shape == (4,)
    assert parts.broadcast(torch.ones(4, device="meta")).shape == (2,)
    assert parts.softmax_with_null(ones).log_null.shape == (4,)
    assert [chunk.batch_size for _, chunk in parts.split(4)] == [4]
    assert parts.repeat(3).batch_size == 12 and parts.pad(7).num_parts == 7


@pytest.mark.parametrize(
    "fields",
    [
        torch.zeros(3),
        torch.zeros(3, 2, 2),
        {"color": torch.zeros(3)},
        MappingProxyType({"color": torch.zeros(3), "pos": torch.zeros(3, 2)}),
    ],
)
def test_rows_and_device_of_every_form_of_fields(fields):
    parts = PackedParts(fields)
    assert (parts.num_parts, parts.device) == (3, CPU)
    assert parts.fields is fields


def test_device_is_that_of_the_fields():
    parts = PackedParts(torch.zeros(0, 2, device="meta"))
    assert (parts.num_parts, parts.device) == (0, torch.device("meta"))


@pytest.mark.parametrize(
    ("fields", "error", "name"),
    [
        ([1, 2], TypeError, "parts"),
        ({}, TypeError, "parts"),
        (None, TypeError, "parts"),
        ({"color": [1, 2]}, TypeError, "color"),
        (torch.tensor(1), ValueError, "parts"),
        ({"color": torch.zeros(3), "size": torch.tensor(1)}, ValueError, "size"),
        ({"color": torch.zeros(3), "pos": torch.zeros(2, 2)}, ValueError, "pos"),
        ({"color": torch.zeros(3), "pos": torch.zeros(3, device="meta")}, ValueError, "pos"),
    ],
)
def test_unfit_fields_are_refused(refuses, fields, error, name):
    for make in (PackedParts, PackedParts.of):
        with refuses(error, name):
            make(fields)


@pytest.mark.parametrize("name", ["count", "weight"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([1.0, 1.0], TypeError),
        (torch.ones(2) > 0, TypeError),
        (torch.ones(2, dtype=torch.complex64), TypeError),
        (torch.ones(2, 1), ValueError),
        (torch.ones(3), ValueError),
        (torch.ones(2, device="meta"), ValueError),
        (torch.tensor([1.0, torch.nan]), ValueError),
        (torch.tensor([torch.inf, 1.0]), ValueError),
    ],
)
def test_unfit_counts_and_weights_are_refused(refuses, name, value, error):
    for make in (PackedParts, PackedParts.of):
        with refuses(error, name):
            make(torch.zeros(2), **{name: value})


def test_counts_are_not_negative_and_weights_may_be(refuses):
    with refuses(ValueError, "count"):
        PackedParts(torch.zeros(2), count=torch.tensor([1, -1]))
    assert PackedParts(torch.zeros(2), weight=torch.tensor([1, -1])).weight.tolist() == [1, -1]
    assert PackedParts(torch.zeros(2), count=torch.tensor([0.0, 0.5])).count.tolist() == [0.0, 0.5]


def test_unchecked_sets_say_their_sets(refuses):
    batch = torch.tensor([1, 0])
    assert PackedParts(torch.zeros(2), batch, 2, validate=False).batch is batch
    for given_sets in ((None, 2), (batch, None)):
        with refuses(ValueError, "batch"):
            PackedParts(torch.zeros(2), *given_sets, validate=False)


def test_fields_are_found_by_name():
    parts = parts_of(SIZES)
    assert torch.equal(parts["number"], torch.arange(N))
    for bare, name in ((parts, "size"), (PackedParts(torch.zeros(2)), "number")):
        with pytest.raises(KeyError, match=name):
            bare[name]


def test_repr():
    assert repr(PackedParts(torch.zeros(3))) == "PackedParts(num_parts=3, batch_size=1)"
    expected = "PackedParts(num_parts=11, batch_size=6, fields=['number', 'pos'], count, weight)"
    assert repr(parts_of(SIZES)) == expected


# What comes into public methods


def test_packed_parts_are_returned_as_they_are():
    parts = parts_of(SIZES)
    assert PackedParts.of(parts) is parts


def test_what_parts_have_is_not_given_twice(refuses):
    parts, graph = parts_of(SIZES), Data(pos=torch.zeros(N, 2), num_nodes=N)
    for given_parts in (parts, graph):
        with refuses(ValueError, "batch"):
            PackedParts.of(given_parts, torch.zeros(N, dtype=torch.long))
        with refuses(ValueError, "batch_size"):
            PackedParts.of(given_parts, None, 2)
    for name in ("count", "weight"):
        with refuses(ValueError, name):
            PackedParts.of(parts, **{name: torch.ones(N)})


def test_node_attributes_of_graphs_are_the_fields():
    # As many edges as parts, and as many graphs: only what belongs to parts is a field.
    graphs = [
        Data(
            kind=torch.arange(size),
            pos=torch.full((size, 2), float(size)),
            edge_index=torch.zeros(2, size, dtype=torch.long),
            whole=torch.zeros(1, 4),
            note="text",
            num_nodes=size,
        )
        for size in SIZES
    ]
    one = PackedParts.of(graphs[0])
    assert sorted(one.fields) == ["kind", "pos"] and one.batch_size == 1
    many = PackedParts.of(Batch.from_data_list(graphs))
    assert sorted(many.fields) == ["kind", "pos"] and many.batch_size == S
    assert many.sizes().tolist() == list(SIZES)
    assert many["kind"].tolist() == [k for size in SIZES for k in range(size)]
    weight = torch.ones(N)
    assert PackedParts.of(Batch.from_data_list(graphs), weight=weight).weight is weight


def test_wholes_of_one_part_each_are_no_field():
    graphs = [Data(kind=torch.zeros(1), whole=torch.zeros(1, 4), num_nodes=1) for _ in range(3)]
    assert list(PackedParts.of(Batch.from_data_list(graphs)).fields) == ["kind"]


# Sums


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_sum_is_the_sum_over_a_loop(dim):
    parts = parts_of(SIZES)
    values = torch.randn(4, 4, 4, dtype=torch.float64)
    values = values.repeat_interleave(3, dim=dim).narrow(dim, 0, N)
    total = parts.sum(values, dim=dim)
    for s in range(S):
        mine = (parts.batch == s).nonzero().squeeze(1)
        torch.testing.assert_close(total.select(dim, s), values.index_select(dim, mine).sum(dim))


def test_strided_members_are_the_same_members():
    parts, wide = parts_of(SIZES), torch.randn(N, 9, dtype=torch.float64)
    middle = wide[:, 3:6]
    assert torch.equal(parts.sum(middle), parts.sum(wide)[:, 3:6])
    whole, part = parts.softmax_with_null(wide), parts.softmax_with_null(middle)
    assert all(torch.equal(p, w[:, 3:6]) for p, w in zip(part, whole, strict=True))


def test_empty_sets_sum_to_exactly_zero():
    assert (parts_of(SIZES).sum(torch.randn(N, 2))[[1, 5]] == 0).all()
    assert parts_of((0, 0)).sum(torch.randn(0, 2)).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_sums_are_not_lost_to_rounding(dtype):
    # Added in 8 bits, ones stall at 256; 4,096 thousandths stall in both formats.
    total = PackedParts(torch.zeros(1000)).sum(torch.ones(1000, dtype=dtype))
    assert total.dtype == dtype
    assert total.item() == 1000.0
    small = torch.full((4096,), 2.0**-10, dtype=dtype)
    assert PackedParts(small).sum(small).item() == 4.0


class AddedDtypes(TorchDispatchMode):
    """Records the dtypes in which members are added up."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "scatter" in func.name() or "index_add" in func.name():
            self.seen.update(x.dtype for x in args if isinstance(x, torch.Tensor))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_added_in_32_bits_on_devices_whose_kernels_do_not(dtype):
    # On the CPU torch adds half precision in 32 bits of itself; with atomics it does not.
    parts = plain(torch.tensor([0, 0, 1]))
    with AddedDtypes() as added:
        parts.sum(torch.ones(3, dtype=dtype))
    assert added.seen == {torch.float32, torch.long}


LONG = {
    "one set": (1_000_000,),
    "of all sizes": (0, 3, 400_000, 0, 17, 599_979, 1, 0),
    "short ones": (0, *(1, 2, 16, 17, 0, 33) * 60, 5),
    "just long": (2049,),
}


@pytest.mark.parametrize("sizes", LONG.values(), ids=LONG)
@pytest.mark.parametrize("dim", [0, 1])
def test_sums_of_many_rows_are_those_of_64_bits(sizes, dim):
    batch, _ = pack(torch.tensor(sizes))
    parts = plain(batch, len(sizes))
    values = torch.rand(len(batch), 2) + 1.0
    total = parts.sum(values if dim == 0 else values.T, dim=dim)
    exact = torch.zeros(len(sizes), 2).double().index_add(0, batch, values.double())
    total, bound = total if dim == 0 else total.T, 2e-7 if max(sizes) > 2048 else 1e-6
    torch.testing.assert_close(total.double(), exact, rtol=bound, atol=0)
    assert parts.sizes().tolist() == list(sizes)


@pytest.mark.parametrize("sizes", [LONG["short ones"], (1_000_000,)])
def test_gradients_of_many_rows_are_those_of_64_bits(sizes):
    batch, _ = pack(torch.tensor(sizes))
    parts = plain(batch, len(sizes))
    found = []
    for dtype in (torch.float32, torch.float64):
        of_sets = torch.linspace(0.5, 1.0, len(sizes), dtype=dtype).requires_grad_()
        of_parts = torch.linspace(0.2, 1.0, len(batch), dtype=dtype).requires_grad_()
        spread = parts.broadcast(of_sets)
        if dtype == torch.float32:
            assert torch.equal(spread, of_sets[batch])
        total = parts.sum(of_parts * spread.square()).square().sum()
        first = torch.autograd.grad(total, (of_sets, of_parts), create_graph=True)
        second = torch.autograd.grad((first[0].square()).sum(), (of_sets, of_parts))
        found.append((total, *first, *second))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-9)


def test_sizes_count_members():
    sizes = parts_of(SIZES).sizes(torch.float64)
    assert sizes.dtype == torch.float64
    assert sizes.tolist() == list(SIZES)


def test_weighted_sum_is_the_sum_over_a_loop():
    parts, values = parts_of(SIZES), torch.randn(N, 3, 2, dtype=torch.float64)
    total = parts.weighted_sum(values)
    for s, own in enumerate(written_out(SIZES)):
        expected = sum((0.5 * i * values[i] for i in own), torch.zeros(3, 2).double())
        torch.testing.assert_close(total[s], expected)
    bare = parts_of(SIZES, weight=False)
    assert torch.equal(bare.weighted_sum(values), bare.sum(values))


def test_weights_are_of_the_type_of_the_values_and_none_cost_no_copy():
    values, weight = torch.ones(3, 2), torch.tensor([1, 2, 3])
    weighted = PackedParts(values, weight=weight).weighted(values)
    assert weighted.dtype == torch.float32 and weighted.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert PackedParts(values).weighted(values) is values


# What belongs to sets, once for each part


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_each_part_gets_what_its_set_has(dim):
    parts = parts_of(SIZES)
    values = torch.randn(S, S, S)
    spread = parts.broadcast(values, dim=dim)
    for i, s in enumerate(parts.batch.tolist()):
        assert torch.equal(spread.select(dim, i), values.select(dim, s))


@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 5)])
@pytest.mark.parametrize("index", [[0, 0, 0, 2, 3, 3], [3, 0, 2, 0], []])
def test_gathered_rows_are_those_that_the_index_names(shape, index):
    table, index = torch.randn(5, *shape), torch.tensor(index, dtype=torch.long)
    assert torch.equal(gather(table, index), table[index])


def test_gathered_rows_along_another_dimension():
    table, index = torch.randn(2, 5, 3), torch.tensor([4, 0, 0])
    assert torch.equal(gather(table, index, 1), table[:, index])
    assert torch.equal(gather(table.transpose(1, 2), index, -1), table.transpose(1, 2)[..., index])


def test_broadcasting_is_the_transpose_of_the_sum():
    r"""sum_i <x_s(i), y_i> = sum_s <x_s, sum_i y_i>, and so is its gradient; twice."""
    parts = parts_of(SIZES)
    values = torch.randn(S, 3, dtype=torch.float64, requires_grad=True)
    members = torch.randn(N, 3, dtype=torch.float64)
    total = parts.sum(members)
    found = (parts.broadcast(values) * members).sum()
    torch.testing.assert_close(found, (values * total).sum())
    torch.testing.assert_close(torch.autograd.grad(found, values)[0], total)
    assert torch.autograd.gradgradcheck(lambda x: parts.broadcast(x).sin(), values)


def test_a_row_that_is_not_there_is_an_error():
    with pytest.raises(RuntimeError, match="out of bounds"):
        gather(torch.zeros(2, 3), torch.tensor([0, 2]))


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_only_half_precision_is_widened(dtype, expected):
    x = torch.tensor([1.5, -2.0], dtype=dtype)
    out = at_least_float32(x)
    assert out.dtype == expected
    assert out.tolist() == x.tolist()


# Softmax with a null entry


def softmax_with_explicit_null(logits, batch, batch_size):
    """By sets, in 64 bits, with the null logit written out: log rho, log(1 - R)."""
    log_prob = torch.empty_like(logits, dtype=torch.float64)
    log_null = torch.empty(batch_size, *logits.shape[1:], dtype=torch.float64)
    for s in range(batch_size):
        own = logits[batch == s].double()
        entries = torch.cat([own, own.new_zeros(1, *own.shape[1:])])
        entries = torch.log_softmax(entries, dim=0)
        log_prob[batch == s], log_null[s] = entries[:-1], entries[-1]
    return log_prob, log_null


@given(
    sizes=sizes_of_sets,
    spread=st.sampled_from([0.1, 3.0, 100.0]),
    seed=st.integers(0, 2**31),
)
def test_softmax_equals_the_one_with_the_null_entry_written_out(sizes, spread, seed):
    parts = parts_of(sizes)
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(sum(sizes), 2, generator=generator, dtype=torch.float64)
    out = parts.softmax_with_null(logits)
    log_prob, log_null = softmax_with_explicit_null(logits, parts.batch, len(sizes))
    torch.testing.assert_close(out.log_null, log_null, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(out.prob, log_prob.exp(), rtol=1e-12, atol=1e-15)
    total = parts.sum(out.prob) + out.log_null.exp()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_softmax_of_low_precision_logits_is_exact_to_32_bits(dtype):
    parts = parts_of(SIZES)
    logits = (4.0 * torch.randn(N, 3)).to(dtype)
    out = parts.softmax_with_null(logits)
    log_prob, log_null = softmax_with_explicit_null(logits, parts.batch, S)
    assert {x.dtype for x in out} == {torch.float32}
    torch.testing.assert_close(out.prob.double(), log_prob.exp(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(out.log_null.double(), log_null, rtol=1e-6, atol=1e-6)


def test_softmax_of_many_logits_is_exact_to_32_bits():
    sizes = (0, 3, 100_000, 0, 17)
    batch, _ = pack(torch.tensor(sizes))
    logits = 4.0 * torch.randn(len(batch), 2)
    out = plain(batch, len(sizes)).softmax_with_null(logits)
    log_prob, log_null = softmax_with_explicit_null(logits, batch, len(sizes))
    torch.testing.assert_close(out.prob.double(), log_prob.exp(), rtol=1e-5, atol=0.0)
    torch.testing.assert_close(out.log_null.double(), log_null, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_huge_logits_keep_values_and_gradients_finite_and_right(dtype):
    parts = parts_of((3, 1, 2, 1, 2))
    huge = torch.tensor([1e4, 0, -1e4, 1e4, -1e4, -1e4, -1e4, 1e4, 1e4], dtype=dtype)
    logits = huge.clone().requires_grad_()
    out = parts.softmax_with_null(logits)
    reference = huge.double().requires_grad_()
    log_prob, log_null = softmax_with_explicit_null(reference, parts.batch, 5)
    torch.testing.assert_close(out.prob.double(), log_prob.exp())
    torch.testing.assert_close(out.log_null.double(), log_null)
    weight = torch.randn(9, dtype=dtype)
    ((weight * out.prob).sum() + (weight[:5] * out.log_null).sum()).backward()
    weight = weight.double()
    ((weight * log_prob.exp()).sum() + (weight[:5] * log_null).sum()).backward()
    assert torch.isfinite(logits.grad).all()
    torch.testing.assert_close(logits.grad.double(), reference.grad, rtol=1e-6, atol=1e-6)


def test_null_share_survives_where_a_subtraction_gives_zero():
    out = PackedParts(torch.zeros(2)).softmax_with_null(torch.full((2,), 40.0))
    assert 1.0 - out.prob.sum() == 0.0
    assert out.log_null.item() == pytest.approx(-40.6931471805599)


def test_small_shares_survive_beside_the_null():
    # 1 + e^-30, formed by a sum, is 1.
    out = PackedParts(torch.zeros(2)).softmax_with_null(torch.full((2,), -30.0))
    assert out.log_null.item() == pytest.approx(-2.0 * 9.3576e-14, rel=1e-4, abs=0.0)


def test_empty_sets_give_all_to_the_null():
    assert (parts_of(SIZES).softmax_with_null(torch.randn(N, 2)).log_null[[1, 5]] == 0).all()


def test_softmax_gradients_are_its_derivatives():
    parts = parts_of((2, 0, 1, 3))
    logits = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tuple(parts.softmax_with_null(x)), logits)
    assert torch.autograd.gradgradcheck(lambda x: tuple(parts.softmax_with_null(x)), logits)


# Other rows, other sets


@given(sizes=sizes_of_sets, data=st.data())
def test_some_sets_in_any_order(sizes, data):
    parts, lists = parts_of(sizes), written_out(sizes)
    chosen = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=6))
    assert numbers(parts.select(chosen)) == [lists[s] for s in chosen]
    mask = data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    expected = [own for own, keep in zip(lists, mask, strict=True) if keep]
    assert numbers(parts.select(torch.tensor(mask))) == expected
    assert numbers(parts.select(chosen[0] if chosen else 0)) == [lists[chosen[0] if chosen else 0]]


@given(sizes=sizes_of_sets, data=st.data())
def test_some_parts_go_and_sets_stay(sizes, data):
    parts, total = parts_of(sizes), sum(sizes)
    gone = data.draw(st.lists(st.integers(0, total - 1), max_size=6)) if total else []
    expected = [[i for i in own if i not in gone] for own in written_out(sizes)]
    assert numbers(parts.without(gone)) == expected
    mask = torch.zeros(total, dtype=torch.bool)
    mask[gone] = True
    assert numbers(parts.without(mask)) == expected
    kept = (~mask).nonzero().squeeze(1)
    assert numbers(parts.take(kept)) == expected
    assert numbers(parts) == written_out(sizes)


@given(
    sizes=sizes_of_sets,
    others=st.lists(st.integers(0, 4), min_size=5, max_size=5),
    seed=st.integers(0, 2**31),
)
def test_parts_of_others_go_to_the_ends_of_their_sets(sizes, others, seed):
    one, other = parts_of(sizes), parts_of(others[: len(sizes)], first=100)
    lists = written_out(others[: len(sizes)], 100)
    expected = [a + b for a, b in zip(written_out(sizes), lists, strict=True)]
    assert numbers(one.cat(other)) == expected
    # Out of order, they keep the order in which they come.
    order = torch.randperm(other.num_parts, generator=torch.Generator().manual_seed(seed))
    mixed = parts_of([other.num_parts], first=100)
    mixed = PackedParts(
        mixed.map(lambda value: value[order]).fields,
        other.batch[order],
        len(sizes),
        count=mixed.count[order],
        weight=mixed.weight[order],
        validate=False,
    )
    found = numbers(one.cat(mixed))
    came = (order + 100).tolist()
    for own, own_expected in zip(found, expected, strict=True):
        assert own == sorted(own_expected, key=lambda i: came.index(i) if i >= 100 else i - 100)


@pytest.mark.parametrize("name", ["count", "weight"])
def test_counts_and_weights_that_others_lack_are_one(name):
    plain_parts, own = {"id": torch.arange(2)}, {name: torch.tensor([2.5, 0.0])}
    batch = torch.tensor([0, 1])
    bare, full = PackedParts(plain_parts, batch), PackedParts(plain_parts, batch, **own)
    assert getattr(bare.cat(full), name).tolist() == [1.0, 2.5, 1.0, 0.0]
    assert getattr(full.cat(bare), name).tolist() == [2.5, 1.0, 0.0, 1.0]
    both = full.cat(full)
    assert getattr(both, name).tolist() == [2.5, 2.5, 0.0, 0.0]
    assert {"count", "weight"} - {name} == {
        n for n in ("count", "weight") if getattr(both, n) is None
    }


def test_parts_that_differ_in_kind_are_not_joined(refuses):
    parts = parts_of(SIZES)
    with refuses(ValueError, "other"):
        parts.cat(parts_of((1, 2)))
    with refuses(ValueError, "parts"):
        parts.cat(parts.with_fields({"number": parts["number"]}))
    with refuses(ValueError, "parts"):
        parts.cat(parts.with_fields(parts["number"]))
    with refuses(TypeError, "pos"):
        parts.cat(parts.to(dtype=torch.float32))
    with refuses(ValueError, "pos"):
        parts.cat(parts.map(lambda value: value[:, :1] if value.dim() > 1 else value))


@pytest.mark.parametrize("times", [0, 1, 3])
@given(sizes=sizes_of_sets)
def test_copies_come_one_of_all_after_the_other(times, sizes):
    assert numbers(parts_of(sizes).repeat(times)) == written_out(sizes) * times


@given(sizes=sizes_of_sets, chunk_size=st.integers(1, 7))
def test_pieces_hold_all_sets_in_order(sizes, chunk_size):
    pieces = list(parts_of(sizes).split(chunk_size))
    assert [own for _, piece in pieces for own in numbers(piece)] == written_out(sizes)
    assert [s for sets, _ in pieces for s in range(len(sizes))[sets]] == list(range(len(sizes)))
    assert all(piece.batch_size == sets.stop - sets.start for sets, piece in pieces)
    assert [piece.batch_size for _, piece in pieces[:-1]] == [chunk_size] * (len(pieces) - 1)
    assert 0 < pieces[-1][1].batch_size <= chunk_size


@pytest.mark.parametrize(
    ("chunk_size", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError)]
)
def test_pieces_have_at_least_one_set(refuses, chunk_size, error):
    with refuses(error, "chunk_size"):
        list(parts_of(SIZES).split(chunk_size))


@pytest.mark.parametrize(("num_parts", "num_sets"), [(N, None), (N + 1, 7), (30, 12), (40, None)])
def test_padding_takes_the_slack_alone(num_parts, num_sets):
    padded = parts_of(SIZES).pad(num_parts, num_sets)
    count = S + 1 if num_sets is None else num_sets
    empty = [[]] * (count - S - 1)
    assert numbers(padded) == [*written_out(SIZES), *empty, [0] * (num_parts - N)]


def test_padding_that_does_not_fit_is_refused(refuses):
    parts = parts_of(SIZES)
    for num_parts, num_sets, name in ((N - 1, None, "num_parts"), (30, S, "num_sets")):
        with refuses(ValueError, name):
            parts.pad(num_parts, num_sets)
    with refuses(ValueError, "num_parts"):
        parts_of((0, 0)).pad(3)
    with refuses(TypeError, "num_parts"):
        parts.pad(30.0)
    with refuses(TypeError, "num_sets"):
        parts.pad(30, "8")


def test_functions_apply_to_each_field():
    parts = PackedParts({"color": torch.tensor([1, 2]), "pos": torch.zeros(2, 2)})
    doubled = parts.map(lambda value: 2 * value)
    assert doubled["color"].tolist() == [2, 4] and doubled["pos"].shape == (2, 2)
    both = parts.map(torch.add, doubled)
    assert both["color"].tolist() == [3, 6] and list(both.fields) == ["color", "pos"]
    joint = PackedParts(torch.zeros(2)).map(torch.sub, PackedParts(torch.ones(2)))
    assert joint.fields.tolist() == [-1.0, -1.0]
    kept = parts_of(SIZES).map(lambda value: value)
    assert numbers(kept) == written_out(SIZES) and kept.count is not None


def test_other_descriptions_keep_sets_counts_and_weights():
    parts = parts_of(SIZES)
    other = parts.with_fields(torch.zeros(N, 3))
    assert other.fields.shape == (N, 3) and other.batch is parts.batch and other.batch_size == S
    assert other.count is parts.count and other.weight is parts.weight


def test_parts_move_and_only_real_fields_change_their_type():
    parts = parts_of(SIZES)
    moved = parts.to("meta", torch.float16)
    assert moved.device == moved.count.device == moved["pos"].device == torch.device("meta")
    assert (moved["pos"].dtype, moved["number"].dtype) == (torch.float16, torch.long)
    assert (moved.count.dtype, moved.weight.dtype) == (torch.long, torch.float32)
    assert parts.to() is parts.to("cpu") is parts.to(CPU) is parts
    narrow = parts.to(dtype=torch.float32)
    assert narrow["pos"].dtype == torch.float32 and numbers(narrow.to(dtype=torch.float64))
    assert narrow.count is parts.count and narrow.batch is parts.batch


def test_nothing_in_it_changes():
    parts = parts_of(SIZES)
    before = {k: v.clone() for k, v in {**parts.fields, "batch": parts.batch}.items()}
    parts.cat(parts), parts.without(0), parts.select([2, 0]), parts.repeat(2), parts.pad(20)
    parts.to(dtype=torch.float32), list(parts.split(2)), parts.map(lambda value: value + 1)
    after = {**parts.fields, "batch": parts.batch}
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_choice_is_a_mask_or_numbers():
    parts = parts_of((1, 1, 1))
    for choice in (2, [2], (2,), range(2, 3), torch.tensor(2), torch.tensor([2]).int()):
        assert numbers(parts.select(choice)) == [[2]]
        assert numbers(parts.without(choice)) == [[0], [1], []]
    assert numbers(parts.select(0)) == [[0]]
    assert numbers(parts.select([True, False, True])) == [[0], [2]]
    assert numbers(parts.select(np.array([2, 0]))) == [[2], [0]]
    assert numbers(parts.select(np.array([True, False, True]))) == [[0], [2]]
    assert numbers(parts.select(torch.tensor([False, True, False]))) == [[1]]
    for nothing in ([], torch.zeros(3, dtype=torch.bool), torch.zeros(0, dtype=torch.long)):
        assert parts.select(nothing).batch_size == parts.select(nothing).num_parts == 0
        assert numbers(parts.without(nothing)) == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("choice", "error"),
    [
        ("all", TypeError),
        (None, TypeError),
        ([0.5], TypeError),
        (torch.ones(3), TypeError),
        (3, ValueError),
        ([0, -1], ValueError),
        ([True, False], ValueError),
        (torch.zeros(1, 2, dtype=torch.long), ValueError),
    ],
)
def test_unfit_choices_are_refused(refuses, choice, error):
    parts = parts_of((1, 1, 1))
    with refuses(error, "index"):
        parts.without(choice)
    with refuses(error, "sets"):
        parts.select(choice)


# Packing sizes


@given(sizes=st.lists(st.integers(0, 6), max_size=6))
def test_sizes_are_packed(sizes):
    batch, ptr = pack(torch.tensor(sizes, dtype=torch.long))
    assert batch.tolist() == [s for s, size in enumerate(sizes) for _ in range(size)]
    assert ptr.tolist() == np.cumsum([0, *sizes]).tolist()
    assert batch.dtype == ptr.dtype == torch.long


def test_packed_sizes_go_to_a_device():
    batch, ptr = pack(torch.tensor([2, 1]), torch.device("meta"))
    assert (batch.device.type, batch.shape, ptr.shape) == ("meta", (3,), (3,))


@pytest.mark.parametrize(
    ("sizes", "error"),
    [
        ([2, 1], TypeError),
        (3, TypeError),
        (torch.tensor(3), ValueError),
        (torch.ones(2), ValueError),
        (torch.ones(2, dtype=torch.int32), ValueError),
        (torch.tensor([[1]]), ValueError),
        (torch.tensor([2, -1]), ValueError),
    ],
)
def test_sizes_that_are_none_are_refused(refuses, sizes, error):
    with refuses(error, "num_parts"):
        pack(sizes)
