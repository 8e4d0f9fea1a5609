import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from compvae_pyg.nn import (
    at_least_float32,
    resolve_batch,
    set_gather,
    set_sizes,
    set_softmax_with_null,
    set_sum,
)

SIZES = (3, 0, 1, 5, 2, 0)
sizes_of_sets = st.lists(st.integers(0, 6), min_size=1, max_size=6)


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


# resolve_batch


def test_without_batch_all_parts_are_one_set():
    batch, batch_size = resolve_batch(3, None, None)
    assert batch.tolist() == [0, 0, 0] and batch.dtype == torch.long
    assert batch_size == 1


def test_number_of_sets_is_found_from_batch():
    batch, batch_size = resolve_batch(4, torch.tensor([0, 1, 1, 2]), None)
    assert batch.tolist() == [0, 1, 1, 2]
    assert batch_size == 3


@pytest.mark.parametrize("batch", [[1, 1, 3], [0, 2, 3], [0, 0, 0]])
def test_batch_size_announces_empty_sets(batch):
    given_batch = torch.tensor(batch)
    resolved, batch_size = resolve_batch(3, given_batch, 5)
    assert resolved is given_batch
    assert batch_size == 5


@pytest.mark.parametrize(
    ("batch", "batch_size", "expected"),
    [(None, None, 1), (None, 3, 3), (None, 0, 0), ([], None, 0), ([], 3, 3)],
)
def test_no_parts_at_all(batch, batch_size, expected):
    given_batch = None if batch is None else torch.tensor(batch, dtype=torch.long)
    resolved, count = resolve_batch(0, given_batch, batch_size)
    assert resolved.shape == (0,) and resolved.dtype == torch.long
    assert count == expected


@pytest.mark.parametrize(
    ("num_parts", "batch", "batch_size", "message"),
    [
        (2, [0, 0], -1, "batch_size must not be negative (got -1)"),
        (
            3,
            None,
            2,
            "batch is needed to tell 2 sets apart (got batch=None, batch_size=2, 3 parts)",
        ),
        (3, [0, 0], None, "batch must have one entry per part (got shape [2], expected [3])"),
        (2, [[0, 0]], None, "batch must have one entry per part (got shape [1, 2], expected [2])"),
        (4, [0, 2, 1, 1], None, "batch must be sorted (got set 1 after set 2 at part 2)"),
        (4, [0, 2, 1, 1], 3, "batch must be sorted (got set 1 after set 2 at part 2)"),
        (2, [-1, 0], None, "batch must not be negative (got set -1 at part 0)"),
        (2, [-1, 0], 1, "batch must not be negative (got set -1 at part 0)"),
        (
            3,
            [0, 0, 2],
            None,
            "batch must not skip a set (got no part of set 1); give batch_size to say that empty "
            "sets are meant",
        ),
        (
            2,
            [1, 1],
            None,
            "batch must not skip a set (got no part of set 0); give batch_size to say that empty "
            "sets are meant",
        ),
        (3, [0, 1, 2], 2, "batch must lie in [0, 2) (got set 2)"),
    ],
)
def test_batch_that_does_not_fit_is_refused(refuses, num_parts, batch, batch_size, message):
    batch = None if batch is None else torch.tensor(batch)
    with refuses(ValueError, message):
        resolve_batch(num_parts, batch, batch_size)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float32, torch.bool])
def test_batch_of_another_dtype_is_refused(refuses, dtype):
    with refuses(TypeError, f"batch must hold 64-bit integers (got {dtype})"):
        resolve_batch(2, torch.zeros(2, dtype=dtype), 1)


def test_batch_on_another_device_is_refused(refuses):
    batch = torch.zeros(2, dtype=torch.long, device="meta")
    with refuses(ValueError, "batch must be on the parts' device (got meta, not cpu)"):
        resolve_batch(2, batch, 1, torch.device("cpu"))


def test_no_value_is_read_off_the_cpu_when_batch_size_is_given():
    # Reading a value of a tensor on the meta device raises.
    batch = torch.zeros(2, dtype=torch.long, device="meta")
    assert resolve_batch(2, batch, 4, torch.device("meta")) == (batch, 4)


# Sums


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_set_sum_is_the_sum_over_a_loop(batch_of, dim):
    batch = batch_of(SIZES)
    src = torch.randn(4, 4, 4, dtype=torch.float64)
    src = src.repeat_interleave(3, dim=dim).narrow(dim, 0, len(batch))
    total = set_sum(src, batch, len(SIZES), dim=dim)
    for s in range(len(SIZES)):
        mine = (batch == s).nonzero().squeeze(1)
        torch.testing.assert_close(total.select(dim, s), src.index_select(dim, mine).sum(dim))


def test_strided_members_are_the_same_members(batch_of):
    batch, wide = batch_of(SIZES), torch.randn(11, 9, dtype=torch.float64)
    middle = wide[:, 3:6]
    assert torch.equal(set_sum(middle, batch, 6), set_sum(wide, batch, 6)[:, 3:6])
    whole, part = set_softmax_with_null(wide, batch, 6), set_softmax_with_null(middle, batch, 6)
    assert all(torch.equal(p, w[:, 3:6]) for p, w in zip(part, whole, strict=True))


def test_empty_sets_sum_to_exactly_zero(batch_of):
    total = set_sum(torch.randn(11, 2), batch_of(SIZES), len(SIZES))
    assert (total[[1, 5]] == 0).all()
    assert set_sum(torch.randn(0, 2), batch_of([0, 0]), 2).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_sums_are_not_lost_to_rounding(dtype):
    # Added in 8 bits, ones stall at 256; 4,096 thousandths stall in both formats.
    ones = torch.ones(1000, dtype=dtype)
    total = set_sum(ones, torch.zeros(1000, dtype=torch.long), 1)
    assert total.dtype == dtype
    assert total.item() == 1000.0
    small = torch.full((4096,), 2.0**-10, dtype=dtype)
    assert set_sum(small, torch.zeros(4096, dtype=torch.long), 1).item() == 4.0


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
    with AddedDtypes() as added:
        set_sum(torch.ones(3, dtype=dtype), torch.tensor([0, 0, 1]), 2)
    assert added.seen == {torch.float32, torch.long}


def test_set_sizes_count_members(batch_of):
    sizes = set_sizes(batch_of(SIZES), len(SIZES), torch.float64)
    assert sizes.dtype == torch.float64
    assert sizes.tolist() == list(SIZES)


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


@given(
    sizes=sizes_of_sets,
    spread=st.sampled_from([0.1, 3.0, 100.0]),
    seed=st.integers(0, 2**31),
)
def test_softmax_equals_the_one_with_the_null_entry_written_out(batch_of, sizes, spread, seed):
    batch = batch_of(sizes)
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(len(batch), 2, generator=generator, dtype=torch.float64)
    out = set_softmax_with_null(logits, batch, len(sizes))
    log_prob, log_null = softmax_with_explicit_null(logits, batch, len(sizes))
    torch.testing.assert_close(out.log_null, log_null, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(out.prob, log_prob.exp(), rtol=1e-12, atol=1e-15)
    total = set_sum(out.prob, batch, len(sizes)) + out.log_null.exp()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_softmax_of_low_precision_logits_is_exact_to_32_bits(batch_of, dtype):
    batch = batch_of(SIZES)
    logits = (4.0 * torch.randn(len(batch), 3)).to(dtype)
    out = set_softmax_with_null(logits, batch, len(SIZES))
    log_prob, log_null = softmax_with_explicit_null(logits, batch, len(SIZES))
    assert {x.dtype for x in out} == {torch.float32}
    torch.testing.assert_close(out.prob.double(), log_prob.exp(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(out.log_null.double(), log_null, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_huge_logits_keep_values_and_gradients_finite_and_right(batch_of, dtype):
    batch = batch_of([3, 1, 2, 1, 2])
    huge = torch.tensor([1e4, 0, -1e4, 1e4, -1e4, -1e4, -1e4, 1e4, 1e4], dtype=dtype)
    logits = huge.clone().requires_grad_()
    out = set_softmax_with_null(logits, batch, 5)
    reference = huge.double().requires_grad_()
    log_prob, log_null = softmax_with_explicit_null(reference, batch, 5)
    torch.testing.assert_close(out.prob.double(), log_prob.exp())
    torch.testing.assert_close(out.log_null.double(), log_null)
    weight = torch.randn(9, dtype=dtype)
    ((weight * out.prob).sum() + (weight[:5] * out.log_null).sum()).backward()
    weight = weight.double()
    ((weight * log_prob.exp()).sum() + (weight[:5] * log_null).sum()).backward()
    assert torch.isfinite(logits.grad).all()
    torch.testing.assert_close(logits.grad.double(), reference.grad, rtol=1e-6, atol=1e-6)


def test_null_share_survives_where_a_subtraction_gives_zero():
    out = set_softmax_with_null(torch.full((2,), 40.0), torch.zeros(2, dtype=torch.long), 1)
    assert 1.0 - out.prob.sum() == 0.0
    assert out.log_null.item() == pytest.approx(-40.6931471805599)


def test_empty_sets_give_all_to_the_null(batch_of):
    out = set_softmax_with_null(torch.randn(11, 2), batch_of(SIZES), len(SIZES))
    assert (out.log_null[[1, 5]] == 0).all()


def test_softmax_gradients_are_its_derivatives(batch_of):
    batch = batch_of((2, 0, 1, 3))
    logits = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tuple(set_softmax_with_null(x, batch, 4)), logits)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 5)])
@pytest.mark.parametrize("index", [[0, 0, 0, 2, 3, 3], [3, 0, 2, 0], []])
def test_gathered_rows_are_those_of_their_sets(shape, index):
    src, batch = torch.randn(5, *shape), torch.tensor(index, dtype=torch.long)
    assert torch.equal(set_gather(src, batch), src[batch])


def test_gathering_is_the_transpose_of_the_sum(batch_of):
    r"""sum_i <x_s(i), y_i> = sum_s <x_s, sum_i y_i>, and so is its gradient; twice."""
    batch = batch_of(SIZES)
    src = torch.randn(len(SIZES), 3, dtype=torch.float64, requires_grad=True)
    members = torch.randn(len(batch), 3, dtype=torch.float64)
    total = set_sum(members, batch, len(SIZES))
    found = (set_gather(src, batch) * members).sum()
    torch.testing.assert_close(found, (src * total).sum())
    torch.testing.assert_close(torch.autograd.grad(found, src)[0], total)
    assert torch.autograd.gradgradcheck(lambda x: set_gather(x, batch).sin(), src)


def test_a_row_that_is_not_there_is_an_error():
    with pytest.raises(RuntimeError, match="out of bounds"):
        set_gather(torch.zeros(2, 3), torch.tensor([0, 2]))
