import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from compvae_pyg import Composition
from compvae_pyg.nn import PackedParts

SIZES = (2, 0, 3, 1, 0)
S, N, W, Z = 5, 6, 4, 2


class Named(nn.Module):
    """A prior of parts whose two fields are named."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, parts):
        return self.inner(torch.cat([parts["pos"], parts["size"].unsqueeze(1)], dim=1))


def named(rows):
    return {"pos": rows[:, :2], "size": rows[:, 2]}


@pytest.fixture(params=["tensor", "dict"])
def model(request, small_model):
    model = small_model()
    model.describe = (lambda rows: rows) if request.param == "tensor" else named
    if request.param == "dict":
        model.generator.w_prior = Named(model.generator.w_prior)
    return model.requires_grad_(False)


@pytest.fixture
def a(model, batch_of, draw):
    """Six parts in five wholes, two of them empty."""
    return model.compose(model.describe(draw(N, 3)), batch_of(SIZES), S)


def fields(parts):
    named = parts.fields
    return [named] if isinstance(named, torch.Tensor) else [named[name] for name in sorted(named)]


def with_weight(composition, weight):
    parts = composition.parts
    packed = PackedParts(parts.fields, parts.batch, parts.batch_size, weight=weight)
    return dataclasses.replace(composition, parts=packed)


def same_numbers(one, other):
    return one is other is None or (one is not None and torch.equal(one, other))


def same(one, other):
    """Whether two compositions are the same to the bit, in the same order."""
    return (
        one.batch_size == other.batch_size
        and all(map(torch.equal, fields(one.parts), fields(other.parts)))
        and torch.equal(one.batch, other.batch)
        and torch.equal(one.w, other.w)
        and torch.equal(one.z_eps, other.z_eps)
        and same_numbers(one.parts.count, other.parts.count)
        and same_numbers(one.parts.weight, other.parts.weight)
    )


def assert_same_wholes(one, other):
    """Whether two compositions decode to the same law, up to rounding."""
    first, second = one.decode(), other.decode()
    torch.testing.assert_close(first.mean, second.mean)
    torch.testing.assert_close(first.stddev, second.stddev)


# What it is


def test_composition_of_parts_is_what_generate_draws(model, batch_of, draw):
    parts, batch = model.describe(draw(N, 3)), batch_of(SIZES)
    composed = model.compose(parts, batch, S, generator=torch.Generator().manual_seed(3))
    expected = model.generate(parts, batch, S, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(composed.decode().mean, expected)


def test_latents_of_parts_follow_the_prior_and_so_does_z(small_model, batch_of, draw):
    model, count = small_model().requires_grad_(False), 4000
    parts = draw(1, 3).repeat(count, 1)
    composition = model.compose(parts, torch.arange(count))
    prior = model.generator.w_prior(parts[:1])
    torch.testing.assert_close(composition.w, prior.mean + prior.stddev * composition.w_eps)
    for noise in (composition.w_eps, composition.z_eps):
        assert (noise.mean(0) * count**0.5).abs().max() < 4.5
        assert ((noise.var(0) - 1.0) * (count / 2) ** 0.5).abs().max() < 4.5


def test_sum_and_z_are_those_of_the_formula(a):
    w = a.w
    expected = torch.stack([w[:2].sum(0), 0 * w[0], w[2:5].sum(0), w[5], 0 * w[0]])
    torch.testing.assert_close(a.w_sum, expected)
    prior = a.generator.z_prior(expected)
    torch.testing.assert_close(a.z, prior.mean + prior.stddev * a.z_eps)
    law = a.decode()
    assert law.batch_shape == (S,) and law.event_shape == (5,)
    expected = a.generator.decoder(a.w_sum, a.z)
    torch.testing.assert_close(law.mean, expected.mean)
    torch.testing.assert_close(law.stddev, expected.stddev)


def test_samples_are_of_the_decoded_distribution_and_obey_their_generator(a):
    many = a.select(torch.zeros(20_000, dtype=torch.long))
    law = a.decode()
    sample = many.sample(torch.Generator().manual_seed(1))
    error = (sample.mean(0) - law.mean[0]) / law.stddev[0] * 20_000**0.5
    assert error.abs().max() < 4.5
    spread = (sample.var(0) / law.variance[0] - 1.0) * 10_000**0.5
    assert spread.abs().max() < 4.5
    assert torch.equal(sample, many.sample(torch.Generator().manual_seed(1)))


def test_is_frozen_and_operations_leave_it_as_it_is(a, model, draw):
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.w = torch.zeros(N, W)
    kept = dataclasses.replace(a, w=a.w.clone(), z_eps=a.z_eps.clone())
    one = model.describe(draw(1, 3, seed=5))
    b = a.add(one, 1).replace(0, one).remove([2, 3])
    (a + a - a).select([0, 1]).resample_z().with_latents(w=0.0 * a.w[:2], z=0.0 * a.z[:2])
    assert same(a, kept) and not same(a, b)


# Laws


@given(
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    joins=st.lists(st.integers(0, 4), max_size=6),
    seed=st.integers(0, 1000),
)
def test_parts_that_are_added_and_removed_leave_no_trace(
    small_model, batch_of, draw, sizes, joins, seed
):
    model, count = small_model().requires_grad_(False), len(sizes)
    a = model.compose(draw(sum(sizes), 3, seed=seed), batch_of(sizes), count)
    joins = torch.tensor([s % count for s in joins], dtype=torch.long)
    b = a.add(draw(len(joins), 3, seed=seed + 1), joins)
    # New parts stand at the end of their set.
    new = torch.tensor(
        [
            place >= sizes[s]
            for s in range(count)
            for place in range(sizes[s] + int((joins == s).sum()))
        ],
        dtype=torch.bool,
    )
    assert (b.batch[1:] >= b.batch[:-1]).all()
    assert torch.equal(b.w[~new], a.w) and torch.equal(b.z_eps, a.z_eps)
    assert b.batch[new].tolist() == sorted(joins.tolist())
    assert same(b.remove(new), a)
    assert same(b.remove(new.nonzero().squeeze(1)), a)
    assert same(b.remove(new.nonzero().squeeze(1).flip(0).tolist()), a)


def test_adding_is_concatenation(a, model, batch_of, draw):
    rows, w = draw(3, 3, seed=5), draw(3, W, seed=6)
    sets = torch.tensor([4, 0, 2])
    added = a.add(model.describe(rows), sets, w=w)
    assert added.batch.tolist() == [0, 0, 0, 2, 2, 2, 2, 3, 4]
    assert torch.equal(added.w, torch.cat([a.w[:2], w[1:2], a.w[2:5], w[2:], a.w[5:], w[:1]]))
    torch.testing.assert_close(added.w_sum, a.w_sum.index_add(0, sets, w))
    old = torch.cat([x if x.dim() == 2 else x.unsqueeze(1) for x in fields(a.parts)], 1)
    new = torch.cat([x if x.dim() == 2 else x.unsqueeze(1) for x in fields(added.parts)], 1)
    assert torch.equal(new[[0, 1, 3, 4, 5, 7]], old)
    assert torch.equal(new[[8, 2, 6]], rows)


def test_order_of_adding_and_of_parts_does_not_matter(a, model, draw):
    rows, w = draw(4, 3, seed=5), draw(4, W, seed=6)
    sets, order = torch.tensor([0, 2, 2, 1]), torch.tensor([3, 1, 0, 2])
    at_once = a.add(model.describe(rows), sets, w=w)
    moved = a.add(model.describe(rows[order]), sets[order], w=w[order])
    one_by_one = a
    for i in order.tolist():
        one_by_one = one_by_one.add(model.describe(rows[i : i + 1]), int(sets[i]), w=w[i : i + 1])
    assert_same_wholes(moved, at_once)
    assert_same_wholes(one_by_one, at_once)
    within = [1, 0, 4, 2, 3, 5]
    shuffled = dataclasses.replace(a, w=a.w[within])
    assert_same_wholes(shuffled, a)


def test_a_union_has_the_parts_of_both_and_the_noise_of_the_left(a, model, batch_of, draw):
    b = model.compose(model.describe(draw(4, 3, seed=7)), batch_of((1, 2, 1, 0, 0)), S)
    c = model.compose(model.describe(draw(2, 3, seed=8)), batch_of((0, 0, 1, 0, 1)), S)
    union = a + b
    assert same(union, a.merge(b)) and same(union, a.add(b.parts, b.batch, w=b.w))
    assert union.batch.tolist() == sorted(a.batch.tolist() + b.batch.tolist())
    torch.testing.assert_close(union.w_sum, a.w_sum + b.w_sum)
    assert torch.equal(union.z_eps, a.z_eps)
    # Commutative up to the noise, which is that of the left operand.
    torch.testing.assert_close((b + a).w_sum, union.w_sum)
    assert_same_wholes(dataclasses.replace(b + a, z_eps=a.z_eps), union)
    # Who joins first does not matter, and neither do brackets.
    assert_same_wholes(a + b + c, a + c + b)
    assert same(a + b + c, a + (b + c))
    empty = a.remove(range(N))
    assert same(a + empty, a)


def test_subtracting_undoes_merging_to_the_bit(a, model, batch_of, draw):
    b = model.compose(model.describe(draw(4, 3, seed=7)), batch_of((1, 2, 1, 0, 0)), S)
    assert same(a + b - b, a)
    assert same(a + a - a, a)
    assert (a - a).num_parts == 0 and torch.equal((a - a).z_eps, a.z_eps)
    some = torch.tensor([True, False, False, True, True, False])
    assert same(a - a.remove(some), a.remove(~some))
    # Latents tell parts apart, not their descriptions.
    twin = a.add(model.describe(draw(1, 3)), 0, w=draw(1, W, seed=9))
    assert same(twin - (twin - a), a)


def test_a_part_is_subtracted_once_for_each_time_that_it_comes(a, model):
    three, one = (a + a + a).select([2]), a.select([2])
    assert (three - one).num_parts == 6 and (three - one - one - one).num_parts == 0
    torch.testing.assert_close((three - one).w_sum, 2.0 * one.w_sum)


def test_split_and_merged_again_a_whole_is_what_it_was(a):
    some = torch.tensor([True, False, False, True, True, False])
    assert_same_wholes(a.remove(some) + a.remove(~some), a)


def test_replacing_is_removing_and_adding(a, model, draw):
    rows, w = draw(2, 3, seed=5), draw(2, W, seed=6)
    replaced = a.replace([4, 0], model.describe(rows), w=w)
    assert torch.equal(replaced.w[[1, 2, 3, 5]], a.w[[1, 2, 3, 5]])
    assert torch.equal(replaced.w[[4, 0]], w) and torch.equal(replaced.batch, a.batch)
    assert_same_wholes(
        replaced, a.remove([0, 4]).add(model.describe(rows), torch.tensor([2, 0]), w=w)
    )
    mask = torch.tensor([True, False, False, False, True, False])
    assert same(a.replace(mask, model.describe(rows.flip(0)), w=w.flip(0)), replaced)


def test_a_part_that_changes_may_keep_its_noise(a, model, draw):
    other = model.describe(draw(2, 3, seed=5))
    changed = a.replace([1, 5], other, keep_noise=True)
    torch.testing.assert_close(changed.w_eps, a.w_eps)
    assert (changed.w[[1, 5]] != a.w[[1, 5]]).all()
    back = changed.replace([1, 5], model.describe(draw(N, 3)[[1, 5]]), keep_noise=True)
    torch.testing.assert_close(back.w, a.w)


def test_selected_wholes_are_what_they_were_in_the_order_asked_for(a):
    chosen = a.select([3, 2, 1, 2])
    assert chosen.batch.tolist() == [0, 1, 1, 1, 3, 3, 3] and chosen.batch_size == 4
    assert torch.equal(chosen.w, a.w[[5, 2, 3, 4, 2, 3, 4]])
    law, chosen_law = a.decode(), chosen.decode()
    torch.testing.assert_close(chosen_law.mean, law.mean[[3, 2, 1, 2]])
    mask = torch.tensor([True, False, False, True, True])
    assert same(a.select(mask), a.select([0, 3, 4])) and same(a.select(range(S)), a)
    many = a.select([2] * 7 + [0])
    assert many.batch_size == 8 and many.num_parts == 23
    torch.testing.assert_close(many.decode().mean, law.mean[[2] * 7 + [0]])
    assert a.select([]).decode().mean.shape == (0, 5)


def test_only_the_wholes_that_are_touched_change(a, model, draw):
    before = a.decode().mean
    one = model.describe(draw(1, 3, seed=5))
    for changed, s in (
        (a.add(one, 1), 1),
        (a.remove(3), 2),
        (a.replace(5, one), 3),
    ):
        after = changed.decode().mean
        others = torch.arange(S) != s
        torch.testing.assert_close(after[others], before[others])
        assert (after[s] != before[s]).any()


def test_wholes_change_smoothly_and_a_fresh_draw_is_an_option(a, model, draw):
    step = draw(N, W, seed=3)
    moved = [(a.with_latents(w=a.w + t * step).z - a.z).abs().max() for t in (1e-3, 1e-6)]
    assert moved[1] < 1e-2 * moved[0] < 1e-2
    fresh = a.resample_z(torch.Generator().manual_seed(1))
    assert (fresh.z_eps != a.z_eps).all() and torch.equal(fresh.w, a.w)
    again = a.resample_z(torch.Generator().manual_seed(1))
    assert same(fresh, again)
    added = [a.add(model.describe(draw(1, 3)), 0, generator=torch.Generator().manual_seed(1))] * 2
    assert same(*added)


def test_a_choice_is_a_mask_or_numbers(a):
    def left(choice):
        gone = a.remove(choice).w
        return [i for i in range(N) if not (gone == a.w[i]).all(dim=1).any()]

    for choice in (2, [2], (2,), range(2, 3), torch.tensor(2), torch.tensor([2]).int()):
        assert left(choice) == [2]
    some = [True, False, True, False, False, False]
    for choice in ([2, 0], some, np.array([2, 0]), np.array(some), torch.tensor(some)):
        assert left(choice) == [0, 2]
    for nothing in ([], torch.zeros(N, dtype=torch.bool), torch.zeros(0, dtype=torch.long)):
        assert left(nothing) == []


def test_packed_parts_join_the_sets_that_they_are_in(a, model, batch_of, draw):
    b = model.compose(model.describe(draw(4, 3, seed=7)), batch_of((1, 2, 1, 0, 0)), S)
    assert same(a.add(b.parts, w=b.w), a + b)


# The empty whole


def test_a_whole_that_lost_all_parts_is_decoded_from_a_sum_of_zero(a, model, draw):
    empty = a.remove(torch.ones(N, dtype=torch.bool))
    assert empty.num_parts == 0 and empty.batch_size == S
    assert (empty.w_sum == 0).all() and torch.equal(empty.z_eps, a.z_eps)
    prior = a.generator.z_prior(torch.zeros(S, W, dtype=torch.float64))
    z = prior.mean + prior.stddev * a.z_eps
    expected = a.generator.decoder(torch.zeros(S, W, dtype=torch.float64), z)
    torch.testing.assert_close(empty.decode().mean, expected.mean)
    # It can be filled again, and what was removed comes back.
    assert same(empty.add(a.parts, a.batch, w=a.w), a)


def test_no_parts_can_be_added_and_none_removed(a, model, draw):
    none = model.describe(draw(0, 3))
    assert same(a.add(none, 0), a) and same(a.add(none, torch.zeros(0).long()), a)
    assert same(a.remove([]), a) and same(a.replace([], none), a)


# Inferred wholes


def test_inferred_wholes_keep_their_z_and_answer_to_its_noise(small_model, batch_of, draw, seeded):
    model = small_model().requires_grad_(False)
    inputs = draw(S, 5), draw(N, 3, seed=1), batch_of(SIZES), S
    with seeded(7):
        composition = model.infer(*inputs)
    with seeded(7):
        z = model.encoder(*model.embedding(*inputs[:3]), *inputs[2:]).z_sample
    torch.testing.assert_close(composition.z, z)
    less = composition.remove(0)
    prior = model.generator.z_prior(less.w_sum)
    expected = prior.mean + prior.stddev * composition.z_eps
    torch.testing.assert_close(less.z, expected)
    assert (less.z[0] != z[0]).all()
    torch.testing.assert_close(less.z[1:], z[1:])


# Latents of one's own


def test_latents_can_be_set_and_z_follows_unless_it_is_set_too(a, draw):
    w, z = draw(N, W, seed=3), draw(S, Z, seed=4)
    moved = a.with_latents(w=w)
    assert torch.equal(moved.w, w) and torch.equal(moved.z_eps, a.z_eps)
    torch.testing.assert_close(a.with_latents(z=z).z, z)
    both = a.with_latents(w=w, z=z)
    torch.testing.assert_close(both.z, z)
    torch.testing.assert_close(both.w_sum, moved.w_sum)


def test_gradients_flow_through_every_operation_to_the_latents(a, model, draw):
    def decoded(w, new, z):
        composition = a.with_latents(w=w).add(model.describe(draw(2, 3)), [1, 2], w=new)
        composition = (composition + a).remove(0).select([2, 0, 1]).with_latents(z=z)
        return composition.decode().mean

    # The first part is removed: of it there can be no gradient.
    w, new, z = draw(N, W, seed=3), draw(2, W, seed=4), draw(3, Z, seed=5)
    leaves = [x.requires_grad_() for x in (w, new, z)]
    assert torch.autograd.gradcheck(decoded, leaves)
    of_w, of_new, of_z = torch.autograd.grad(decoded(*leaves).square().sum(), leaves)
    assert (of_w[0] == 0).all() and (of_w[1:5] != 0).all() and (of_w[5] == 0).all()
    assert (of_new != 0).all() and (of_z != 0).all()


def test_latents_can_be_optimised_towards_a_whole(a, model, batch_of, draw):
    target = model.compose(model.describe(draw(N, 3)), batch_of(SIZES), S).decode().mean
    w = a.w.clone().requires_grad_()
    optimizer = torch.optim.Adam([w], lr=0.05)
    losses = []
    for _ in range(60):
        loss = (a.with_latents(w=w).decode().mean - target)[[0, 2, 3]].square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_gradients_flow_to_the_parts_and_to_the_networks(small_model, draw):
    model, rows = small_model(), draw(2, 3).requires_grad_()
    model.compose(rows).decode().mean.sum().backward()
    assert (rows.grad != 0).all()
    assert all(p.grad is not None for p in model.generator.parameters())


# Weights


def test_weights_scale_the_latents_in_the_sum(a, draw):
    weight = draw(N, seed=2)
    weighted = with_weight(a, weight)
    expected = dataclasses.replace(a, w=weight.unsqueeze(1) * a.w)
    assert_same_wholes(weighted, expected)


def test_weights_of_one_are_none_and_a_weight_of_zero_is_absence(a):
    assert_same_wholes(with_weight(a, torch.ones(N)), a)
    weight = torch.tensor([1, 0, 1, 0, 0, 1])
    assert_same_wholes(with_weight(a, weight), a.remove(weight == 0))


def test_weights_go_with_their_parts(a, model, batch_of, draw):
    rows = draw(2, 3, seed=5)
    weight = draw(N, seed=2)
    weighted = with_weight(a, weight)
    added = weighted.add(model.describe(rows), [0, 3], weight=torch.tensor([7.0, 8.0]))
    assert added.parts.weight.dtype == torch.float64
    expected = [*weight[:2].tolist(), 7.0, *weight[2:6].tolist(), 8.0]
    assert added.parts.weight.tolist() == expected
    assert same(added.remove([2, 7]), weighted)
    assert weighted.add(model.describe(rows), [0, 3]).parts.weight[[2, 7]].tolist() == [1.0, 1.0]
    assert (
        a.add(model.describe(rows), [0, 3], weight=torch.ones(2)).parts.weight.tolist() == [1.0] * 8
    )
    chosen = weighted.select([3, 0])
    assert torch.equal(chosen.parts.weight, weight[[5, 0, 1]])
    assert torch.equal(weighted.replace(1, model.describe(rows[:1])).parts.weight, weight)
    assert (weighted + a).parts.weight.tolist()[:4] == [*weight[:2].tolist(), 1.0, 1.0]
    assert same(weighted + a - a, weighted)


def test_the_same_latent_of_another_weight_is_another_part(a, refuses):
    half = with_weight(a, torch.full((N,), 0.5))
    with refuses(ValueError, "other"):
        a - half
    assert same(a + half - a, half)
    torch.testing.assert_close((a + half - half).w_sum, a.w_sum)


# Types and devices


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_operation_keeps_the_type(small_model, batch_of, draw, dtype):
    model = small_model().to(dtype)
    parts, batch = draw(N, 3).to(dtype), batch_of(SIZES)
    a = model.compose(parts, batch, S, weight=torch.ones(N, dtype=torch.long))
    b = model.infer(draw(S, 5).to(dtype), parts, batch, S)
    for composition in (
        a,
        b,
        a + b,
        a + b - b,
        a.add(parts[:1], 0),
        a.remove(0),
        a.replace(0, parts[:1], keep_noise=True),
        a.select([2]),
        a.resample_z(),
        a.with_latents(z=b.z),
    ):
        for value in (composition.w, composition.z_eps, composition.z, composition.w_sum):
            assert value.dtype == dtype
        assert composition.sample().dtype == dtype


def test_latents_survive_in_32_bits_as_well(small_model, batch_of, draw):
    model = small_model().float().requires_grad_(False)
    a = model.compose(draw(N, 3).float(), batch_of(SIZES), S)
    assert same(a.add(draw(2, 3).float(), [0, 4]).remove([2, 7]), a)
    assert same(a + a - a, a)


# Bad input


def test_unfit_indices_are_refused(refuses, a, model, draw):
    one = model.describe(draw(1, 3))
    for call in (a.remove, lambda index: a.replace(index, one)):
        with refuses(ValueError, "index"):
            call(6)
        with refuses(ValueError, "index"):
            call([-1])
        with refuses(ValueError, "index"):
            call(torch.ones(5, dtype=torch.bool))
        with refuses(TypeError, "index"):
            call(torch.zeros(1))
        with refuses(ValueError, "index"):
            call(torch.zeros(1, 1, dtype=torch.long))
    with refuses(ValueError, "sets"):
        a.select([0, 5])
    with refuses(ValueError, "index"):
        a.replace([2, 2], model.describe(draw(2, 3)))
    with refuses(ValueError, "parts"):
        a.replace([2, 3], one)


def test_unfit_additions_are_refused_before_anything_is_drawn(refuses, a, model, draw):
    one, state = model.describe(draw(1, 3)), torch.get_rng_state()
    with refuses(ValueError, "batch"):
        a.add(one, 5)
    with refuses(ValueError, "batch"):
        a.add(one)
    with refuses(ValueError, "batch"):
        a.add(one, [0, 1])
    with refuses(ValueError, "parts"):
        a.add(PackedParts(one, torch.tensor([1]), 2))
    with refuses(ValueError, "w"):
        a.add(one, 0, w=torch.zeros(1, 5))
    with refuses(TypeError, "w"):
        a.add(one, 0, w=torch.zeros(1, 4))
    with refuses(ValueError, "weight"):
        a.add(one, 0, weight=torch.ones(2))
    with refuses(ValueError, "weight"):
        a.add(one, 0, weight=torch.tensor([torch.nan]))
    with refuses(ValueError, "w"):
        a.replace(0, one, w=a.w[:1], keep_noise=True)
    with refuses(ValueError, "w"):
        a.with_latents(w=a.w[1:])
    with refuses(ValueError, "z"):
        a.with_latents(z=a.z[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_parts_that_are_described_otherwise_are_refused(refuses, small_model, draw):
    model = small_model()
    model.generator.w_prior = Named(model.generator.w_prior)
    a, rows = model.compose(named(draw(2, 3))), draw(1, 3)
    with refuses(ValueError, "parts"):
        a.add({"pos": rows[:, :2]})
    with refuses(ValueError, "parts"):
        a.add(rows)
    with refuses(ValueError, "pos"):
        a.add({"pos": rows, "size": rows[:, 0]})
    with refuses(TypeError, "size"):
        a.add({"pos": rows[:, :2], "size": torch.zeros(1, dtype=torch.long)})
    with refuses(ValueError, "size"):
        a.add({"pos": rows[:, :2], "size": torch.zeros(2).double()})


def test_parts_of_an_unknown_category_are_refused_even_with_latents(refuses):
    from compvae_pyg import Sines

    a = Sines().build("small").compose({"category": torch.tensor([0, 4])})
    unknown = {"category": torch.tensor([12])}
    for w in (None, a.w[:1]):
        with refuses(ValueError, "category"):
            a.add(unknown, w=w)
        with refuses(ValueError, "category"):
            a.replace(1, unknown, w=w)


def test_wholes_that_do_not_belong_together_are_refused(refuses, a, small_model, model, draw):
    for join in (a.merge, a.subtract):
        with refuses(ValueError, "other"):
            join(a.select([0, 1]))
        other = dataclasses.replace(a, generator=small_model().generator)
        with refuses(ValueError, "other"):
            join(other)
    b = a.add(model.describe(draw(1, 3)), 3)
    with refuses(ValueError, "other"):
        a - b
    # The same part in another whole is not the one.
    elsewhere = PackedParts(a.parts.fields, torch.tensor([0, 0, 2, 2, 2, 4]), S)
    moved = dataclasses.replace(a, parts=elsewhere)
    with refuses(ValueError, "other"):
        a - moved
    with pytest.raises(TypeError):
        a + 1
    with pytest.raises(TypeError):
        a - a.w


def test_unfit_latents_are_refused_on_construction(refuses, a):
    with refuses(ValueError, "w"):
        dataclasses.replace(a, w=a.w[1:])
    with refuses(ValueError, "z_eps"):
        dataclasses.replace(a, z_eps=a.z_eps[1:])
    with refuses(TypeError, "parts"):
        dataclasses.replace(a, parts=a.parts.fields)


def test_repr(a):
    assert isinstance(a, Composition)
    assert repr(a) == "Composition(num_parts=6, batch_size=5, w_channels=4, z_channels=2)"
