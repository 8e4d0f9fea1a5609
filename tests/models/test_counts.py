"""Multiplicities of parts against the same parts written out."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from compvae_pyg.nn import PackedParts

PART, W, WHOLE = 3, 4, 5
# The rows of four wholes, one of them empty, and how many parts each row stands for.
SIZES, COUNT = (2, 1, 0, 3), torch.tensor([3, 1, 4, 2, 1, 5])
WEIGHT = torch.tensor([1.0, -0.5, 2.0, 0.3, 1.0, 0.7], dtype=torch.float64)
COUNTS = torch.tensor([[3, 0, 1], [0, 0, 0], [2, 5, 1]])


def written_out(counts, kinds):
    """Each part by itself: rows and the ``batch`` vector."""
    count, num_kinds = counts.shape
    kind = torch.arange(num_kinds).repeat(count).repeat_interleave(counts.flatten())
    batch = torch.arange(count).repeat_interleave(counts.sum(1))
    return kinds[kind], batch


def repeated(batch, *values):
    """Rows of ``COUNT`` as so many rows."""
    return batch.repeat_interleave(COUNT), *(value.repeat_interleave(COUNT, 0) for value in values)


# Dense matrices of counts


def test_distribution_of_the_aggregate_is_that_of_the_parts(small_model, draw):
    network, kinds = small_model().generator, draw(3, PART)
    law = network.counts_prior(COUNTS, kinds)
    expected = network.w_sum_prior(*written_out(COUNTS, kinds), 3)
    torch.testing.assert_close(law.mean, expected.mean)
    torch.testing.assert_close(law.stddev, expected.stddev)
    weight = torch.tensor([0.5, 2.0, -1.0])
    law = network.counts_prior(COUNTS, kinds, weight=weight)
    rows, batch = written_out(COUNTS, kinds)
    each, _ = written_out(COUNTS, weight)
    expected = network.w_sum_prior(rows, batch, 3, weight=each)
    torch.testing.assert_close(law.mean, expected.mean)
    torch.testing.assert_close(law.stddev, expected.stddev)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float32])
def test_counts_may_be_of_any_type_of_number(small_model, draw, dtype):
    network, kinds = small_model().generator, draw(3, PART)
    law = network.counts_prior(COUNTS.to(dtype), kinds)
    assert law.mean.dtype == torch.float64
    torch.testing.assert_close(law.mean, network.counts_prior(COUNTS, kinds).mean)


def test_fractions_lie_between(small_model, draw):
    network, kinds = small_model().generator, draw(3, PART)
    one = network.counts_prior(torch.eye(3), kinds)
    law = network.counts_prior(torch.tensor([[2.5, 0.0, 0.25]]), kinds)
    torch.testing.assert_close(law.mean[0], 2.5 * one.mean[0] + 0.25 * one.mean[2])
    torch.testing.assert_close(law.variance[0], 2.5 * one.variance[0] + 0.25 * one.variance[2])


def test_a_million_parts_have_exact_moments(small_model, draw):
    network, kinds = small_model().generator, draw(2, PART)
    prior = network.w_prior(kinds)
    counts = torch.tensor([[1_000_000, 999_983]])
    law = network.counts_prior(counts, kinds)
    expected = 1e6 * prior.mean[0] + 999_983.0 * prior.mean[1]
    torch.testing.assert_close(law.mean[0], expected, rtol=1e-12, atol=0.0)
    expected = (1e6 * prior.variance[0] + 999_983.0 * prior.variance[1]).sqrt()
    torch.testing.assert_close(law.stddev[0], expected, rtol=1e-12, atol=0.0)


def test_autocast_does_not_round_counts(small_model, draw):
    network, kinds = small_model().float().generator, draw(1, PART).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prior = network.w_prior(kinds)
        law = network.counts_prior(torch.tensor([[10_001]]), kinds)
        row = network.w_sum_prior(kinds, count=torch.tensor([10_001]))
    torch.testing.assert_close(law.mean[0], 10_001 * prior.mean[0])
    torch.testing.assert_close(row.mean[0], 10_001 * prior.mean[0])


@pytest.mark.parametrize("observation_noise", [False, True])
def test_wholes_have_the_moments_of_the_model(linear_gaussian, draw, observation_noise):
    problem = linear_gaussian("paper", w=3, z=2, slope=0.5)
    kinds, count = draw(3, 2, seed=1), 20_000
    rows, batch = written_out(COUNTS, kinds)
    mean, covariance = problem.mean_law(rows, batch, 3)
    if observation_noise:
        covariance = problem.law(rows, batch, 3).covariance_matrix
    sample = problem.model.generate_counts(
        COUNTS.repeat(count, 1), kinds, observation_noise=observation_noise
    ).view(count, 3, 3)
    variance = covariance.diagonal(dim1=1, dim2=2)
    assert ((sample.mean(0) - mean) / (variance / count).sqrt()).abs().max() < 4.5
    centred = sample - mean
    found = torch.einsum("nsi,nsj->sij", centred, centred) / count
    spread = (variance.unsqueeze(1) * variance.unsqueeze(2) + covariance.square()) / count
    assert ((found - covariance) / spread.sqrt()).abs().max() < 4.5


def largest_gap(one, other):
    """Two-sample Kolmogorov-Smirnov statistic of each column, times root(n m / (n + m))."""
    both = torch.cat([one, other])
    order = both.argsort(dim=0)
    step = torch.cat(
        [torch.full_like(one, 1.0 / len(one)), torch.full_like(other, -1.0 / len(other))]
    )
    gap = step.gather(0, order).cumsum(0).abs().amax(0)
    return gap * math.sqrt(len(one) * len(other) / len(both))


def test_wholes_have_the_distribution_of_those_made_part_by_part(small_model, draw):
    model, kinds, count = small_model(), draw(3, PART), 10_000
    counts = COUNTS.repeat(count, 1)
    for seed, weight in enumerate([None, torch.tensor([0.5, 2.0, -1.0])]):
        by_counts = model.generate_counts(
            counts, kinds, weight=weight, generator=torch.Generator().manual_seed(seed)
        ).reshape(count, 3 * WHOLE)
        rows, batch = written_out(counts, kinds)
        each = None if weight is None else written_out(counts, weight)[0]
        by_parts = model.generate(rows, batch, 3 * count, weight=each).reshape(count, 3 * WHOLE)
        # Exceeded by one column in 10,000 if the laws are the same.
        assert largest_gap(by_counts, by_parts).max() < 2.23
        # One part more or less is noticed.
        more = model.generate_counts(counts + 1, kinds, weight=weight).reshape(count, 3 * WHOLE)
        assert largest_gap(more, by_parts).max() > 4.0


def test_no_parts_are_the_empty_whole(small_model, draw):
    model, kinds = small_model(), draw(3, PART)
    law = model.generator.counts_prior(torch.zeros(2, 3), kinds)
    assert (law.mean == 0).all() and (law.stddev == 0).all()
    of_counts = model.generate_counts(
        torch.zeros(1, 3), kinds, generator=torch.Generator().manual_seed(1)
    )
    source = torch.Generator().manual_seed(1)
    torch.randn(1, W, generator=source, dtype=torch.float64)
    zero = torch.zeros(1, W, dtype=torch.float64)
    torch.testing.assert_close(of_counts, model.generator.decode(zero, source).mean)
    assert model.generate_counts(torch.zeros(0, 3), kinds).shape == (0, WHOLE)
    assert model.generate_counts(torch.zeros(2, 0), kinds[:0]).shape == (2, WHOLE)


def test_a_whole_without_parts_spoils_no_gradient(small_model, draw):
    network, kinds = small_model().generator, draw(3, PART)
    weight = torch.tensor([0.0, 1.0, 0.0], requires_grad=True)
    laws = (
        network.counts_prior(COUNTS, kinds),
        network.w_sum_prior(kinds, torch.tensor([0, 1, 2]), 3, weight=weight),
    )
    for law in laws:
        network.zero_grad()
        (law.mean + law.stddev).sum().backward()
        gradients = [value.grad for value in network.w_prior.parameters()]
        assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)
    assert weight.grad.isfinite().all()


def test_generating_obeys_its_generator_and_leaves_the_global_one(small_model, draw):
    model, kinds, state = small_model(), draw(3, PART), torch.get_rng_state()
    first, again, other = (
        model.generate_counts(
            COUNTS,
            kinds,
            observation_noise=True,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and (first != other).all() and not first.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("counts", "error", "name"),
    [
        (torch.ones(2, 4), ValueError, "counts"),
        (torch.ones(3), ValueError, "counts"),
        (torch.tensor([[1, 2, 3], [4, -5, 6]]), ValueError, "counts"),
        (torch.tensor([[1.0, torch.nan, 3.0]]), ValueError, "counts"),
        (torch.ones(1, 3, dtype=torch.bool), TypeError, "counts"),
        ([[1, 2, 3]], TypeError, "counts"),
        (torch.ones(1, 3, device="meta"), ValueError, "counts"),
    ],
)
def test_unfit_counts_are_refused_before_anything_is_drawn(
    refuses, small_model, draw, counts, error, name
):
    model, state = small_model(), torch.get_rng_state()
    with refuses(error, name):
        model.generate_counts(counts, draw(3, PART))
    with refuses(ValueError, "weight"):
        model.generate_counts(COUNTS, draw(3, PART), weight=torch.ones(2))
    assert torch.equal(torch.get_rng_state(), state)


# Rows that stand for several parts


def test_the_sum_of_rows_has_the_distribution_of_the_parts_written_out(small_model, batch_of, draw):
    network, rows, batch = small_model().generator, draw(6, PART), batch_of(SIZES)
    each, parts, weight = repeated(batch, rows, WEIGHT)
    for own, others in ((None, None), (WEIGHT, weight)):
        found = network.w_sum_prior(rows, batch, 4, count=COUNT, weight=own)
        expected = network.w_sum_prior(parts, each, 4, weight=others)
        torch.testing.assert_close(found.mean, expected.mean)
        torch.testing.assert_close(found.stddev, expected.stddev)
    dense = torch.zeros(4, 6, dtype=torch.long)
    dense[batch, torch.arange(6)] = COUNT
    by_matrix = network.counts_prior(dense, rows, weight=WEIGHT)
    torch.testing.assert_close(found.mean, by_matrix.mean)
    torch.testing.assert_close(found.stddev, by_matrix.stddev)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float32])
def test_counts_of_rows_may_be_of_any_type_of_number(small_model, draw, dtype):
    network, rows = small_model().generator, draw(6, PART)
    found = network.w_sum_prior(rows, count=COUNT.to(dtype))
    assert found.mean.dtype == torch.float64
    torch.testing.assert_close(found.stddev, network.w_sum_prior(rows, count=COUNT).stddev)


def test_latents_of_rows_are_sums_of_those_of_their_parts(small_model, draw):
    model, copies = small_model().requires_grad_(False), 20_000
    rows, batch = draw(6, PART).repeat(copies, 1), torch.arange(copies).repeat_interleave(6)
    w = model.compose(rows, batch, copies, count=COUNT.repeat(copies)).w.view(copies, 6, W)
    prior = model.generator.w_prior(rows[:6])
    n = COUNT.unsqueeze(1).double()
    mean, variance = n * prior.mean, n * prior.variance
    assert ((w.mean(0) - mean) / (variance / copies).sqrt()).abs().max() < 4.5
    assert ((w.var(0) / variance - 1.0) * (copies / 2) ** 0.5).abs().max() < 4.5


@pytest.mark.parametrize("weighted", [False, True])
def test_wholes_of_rows_have_the_moments_of_the_parts_written_out(linear_gaussian, draw, weighted):
    problem, copies = linear_gaussian("paper", w=3, z=2, slope=0.5), 20_000
    rows, batch = draw(3, 2, seed=1), torch.tensor([0, 0, 1])
    count, weight = torch.tensor([3, 1, 2]), torch.tensor([0.5, -1.0, 2.0]).double()
    weight = weight if weighted else torch.ones(3).double()
    sample = problem.model.generate(
        rows.repeat(copies, 1),
        batch.repeat(copies) + 2 * torch.arange(copies).repeat_interleave(3),
        count=count.repeat(copies),
        weight=weight.repeat(copies),
    ).view(copies, 2, 3)
    # By adding what each part adds to the sum, and what that does to the whole.
    generator = problem.model.generator
    z_prior, decoder, prior = generator.z_prior, generator.decoder, generator.w_prior(rows)
    through = decoder.of_sum + decoder.of_z @ z_prior.weight
    for s in range(2):
        w_mean, w_variance = torch.zeros(3).double(), torch.zeros(3).double()
        for i in (batch == s).nonzero().squeeze(1).tolist():
            for _ in range(int(count[i])):
                w_mean += weight[i] * prior.mean[i]
                w_variance += weight[i] ** 2 * prior.variance[i]
        mean = through @ w_mean + decoder.of_z @ z_prior.bias + decoder.bias
        covariance = (through * w_variance) @ through.T
        covariance = covariance + (decoder.of_z * z_prior.scale.square()) @ decoder.of_z.T
        variance = covariance.diagonal()
        found = sample[:, s]
        assert ((found.mean(0) - mean) / (variance / copies).sqrt()).abs().max() < 4.5
        spread = (torch.outer(variance, variance) + covariance.square()) / copies
        assert ((torch.cov(found.T) - covariance) / spread.sqrt()).abs().max() < 4.5


def test_generating_by_rows_and_by_a_matrix_give_wholes_of_one_distribution(small_model, draw):
    model, kinds, copies = small_model(), draw(3, PART), 10_000
    by_matrix = model.generate_counts(COUNTS.repeat(copies, 1), kinds)
    batch = torch.arange(3 * copies).repeat_interleave(3)
    count = COUNTS.flatten().repeat(copies)
    by_rows = model.generate(kinds.repeat(3 * copies, 1), batch, count=count)
    gap = largest_gap(by_rows.reshape(copies, -1), by_matrix.reshape(copies, -1))
    assert gap.max() < 2.23  # exceeded by one column in 10,000
    more = model.generate(kinds.repeat(3 * copies, 1), batch, count=count + 1)
    assert largest_gap(more.reshape(copies, -1), by_matrix.reshape(copies, -1)).max() > 4.0


def test_a_row_that_stands_for_no_part_is_absent(small_model, batch_of, draw):
    model, rows, batch = small_model(), draw(6, PART), batch_of(SIZES)
    count = torch.tensor([3, 0, 0, 2, 0, 5])
    there = count > 0
    composition = model.compose(rows, batch, 4, count=count)
    assert (composition.w[~there] == 0).all()
    torch.testing.assert_close(composition.remove(~there).decode().mean, composition.decode().mean)
    assert model.generate(rows, batch, 4, count=count).isfinite().all()
    # It spoils no gradient either.
    prior = model.generator.w_sum_prior(rows, batch, 4, count=count)
    (composition.w_sum.sum() + prior.stddev.sum()).backward()
    assert all(p.grad.isfinite().all() for p in model.generator.w_prior.parameters())


class Operations(TorchDispatchMode):
    """Records which operations are done on tensors of which shapes."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        shapes = [tuple(x.shape) for x in args if isinstance(x, torch.Tensor)]
        self.seen.append((func._overloadpacket.__name__, shapes))
        return func(*args, **(kwargs or {}))


def test_a_million_parts_take_the_operations_of_one(small_model, draw):
    model, rows, whole = small_model(), draw(2, PART), draw(1, WHOLE)
    done = []
    for count in (torch.ones(2), torch.tensor([1e6, 999_983.0])):
        with Operations() as operations:
            assert model.generate(rows, count=count).isfinite().all()
            assert model.elbo(whole, rows, count=count).elbo.isfinite().all()
            assert model.log_likelihood(whole, rows, count=count, num_samples=3).shape == (1,)
        done.append(operations.seen)
    assert len(done[0]) > 100 and done[0] == done[1]


@pytest.mark.parametrize(("coupling", "slope"), [("paper", 0.0), ("scaled", 0.6)])
def test_likelihood_of_rows_is_exactly_that_of_the_parts_written_out(
    linear_gaussian, batch_of, draw, coupling, slope
):
    exact = linear_gaussian(coupling, slope=slope)
    rows, batch, whole = draw(6, 2, seed=1), batch_of(SIZES), 2.0 * draw(4, 3)
    # In the paper's coupling, only rows of equal scales have this posterior.
    count = COUNT if coupling == "scaled" else torch.full((6,), 3)
    parts, each = rows.repeat_interleave(count, 0), batch.repeat_interleave(count)
    expected = exact.law(parts, each, 4).log_prob(whole)
    for options in ({"count": count}, {}):
        given = (rows, batch, 4) if options else (PackedParts(rows, batch, 4, count=count),)
        out = exact.model.log_likelihood(whole, *given, num_samples=2, chunk_size=3, **options)
        torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)
    assert (exact.model.log_likelihood(whole, rows, batch, 4) - expected).abs().max() > 0.1


def test_mean_bound_of_rows_is_the_likelihood_of_the_parts_written_out(linear_gaussian, draw):
    exact, copies = linear_gaussian("scaled", slope=0.6), 20_000
    rows, whole, count = draw(2, 2, seed=1), 2.0 * draw(1, 3), torch.tensor([3, 2])
    written = rows.repeat_interleave(count, 0)
    expected = exact.law(written, torch.zeros(5, dtype=torch.long), 1).log_prob(whole)
    terms = exact.model.elbo(
        whole.expand(copies, 3),
        rows.repeat(copies, 1),
        torch.arange(copies).repeat_interleave(2),
        copies,
        count=count.repeat(copies),
    )
    error = terms.elbo.mean() - expected
    assert error.abs() < 4.5 * terms.elbo.std() / math.sqrt(copies)
    assert terms.elbo.std() / math.sqrt(copies) < 0.05


def test_ranking_distinguishes_multiplicities(linear_gaussian, draw):
    from compvae_pyg import rank_parts

    exact, row, whole = linear_gaussian("scaled"), draw(1, 2, seed=1), 2.0 * draw(1, 3)
    count = torch.tensor([1, 2, 5])
    ranking = rank_parts(
        exact.model, whole, row.expand(3, 2), torch.arange(3), count=count, num_samples=2
    )
    batch = torch.arange(3).repeat_interleave(count)
    expected = exact.law(row.expand(8, 2), batch, 3).log_prob(whole.expand(3, 3))
    torch.testing.assert_close(ranking.log_likelihood, expected, rtol=1e-9, atol=1e-9)


def test_counts_stay_with_their_rows(small_model, batch_of, draw):
    model = small_model()
    a = model.infer(draw(4, WHOLE), draw(6, PART), batch_of(SIZES), 4, count=COUNT)
    assert torch.equal(a.parts.count, COUNT)
    b = a.add(draw(2, PART), [0, 2], count=torch.tensor([7, 8]))
    assert b.parts.count.tolist() == [3, 1, 7, 4, 8, 2, 1, 5]
    assert torch.equal(b.remove([2, 4]).parts.count, COUNT)
    assert a.add(draw(1, PART), 2).parts.count.tolist() == [3, 1, 4, 1, 2, 1, 5]
    assert a.select([3, 0]).parts.count.tolist() == [2, 1, 5, 3, 1]
    assert torch.equal(a.replace(1, draw(1, PART)).parts.count, COUNT)
    # The noise of a row is that of its sum.
    prior, n = model.generator.w_prior(a.parts.fields), COUNT.unsqueeze(1)
    torch.testing.assert_close(a.w_eps, (a.w - n * prior.mean) / (n.sqrt() * prior.stddev))


@pytest.mark.parametrize(
    ("count", "error"),
    [
        (torch.ones(5), ValueError),
        (torch.ones(6, 1), ValueError),
        (-torch.ones(6), ValueError),
        (torch.full((6,), torch.inf), ValueError),
        (torch.ones(6, dtype=torch.bool), TypeError),
        ([1] * 6, TypeError),
    ],
)
def test_unfit_counts_of_rows_are_refused_before_anything_is_drawn(
    refuses, small_model, batch_of, draw, count, error
):
    model, state = small_model(), torch.get_rng_state()
    rows, batch, whole = draw(6, PART), batch_of(SIZES), draw(4, WHOLE)
    for call in (model.generate, model.compose, model.generator.w_sum_prior):
        with refuses(error, "count"):
            call(rows, batch, 4, count=count)
    for call in (model.elbo, model.infer, model.log_likelihood, model.posterior):
        with refuses(error, "count"):
            call(whole, rows, batch, 4, count=count)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_observed_has_no_rows_of_no_part(refuses, small_model, batch_of, draw):
    model, count = small_model(), torch.tensor([3, 0, 4, 2, 1, 5])
    for call in (model.elbo, model.infer, model.log_likelihood):
        with refuses(ValueError, "count"):
            call(draw(4, WHOLE), draw(6, PART), batch_of(SIZES), 4, count=count)


def test_counts_are_given_once(refuses, small_model, draw):
    model, parts = small_model(), PackedParts(draw(6, PART), count=COUNT)
    with refuses(ValueError, "count"):
        model.generate(parts, count=COUNT)
