import math

import pytest
import torch

from compvae_pyg import rank_parts

# Three wholes with candidates of these sizes; one candidate has no parts.
SIZES = ((2, 1, 0), (3,), (1, 4))
FLAT = [size for whole in SIZES for size in whole]
WHOLE_OF = torch.tensor([0, 0, 0, 1, 2, 2])


@pytest.fixture
def inputs(batch_of, draw):
    """Wholes, parts, batch, number of candidates, of a linear model."""
    return 2.0 * draw(3, 3), draw(sum(FLAT), 2, seed=1), batch_of(FLAT), len(FLAT)


def rank(problem, inputs, **options):
    options = {"candidate_batch": WHOLE_OF, "num_samples": 2, **options}
    return rank_parts(problem.model, *inputs, **options)


@pytest.mark.parametrize("chunk_size", [1, 4, 256])
@pytest.mark.parametrize("with_prior", [False, True])
def test_posterior_is_that_of_bayes_in_a_linear_model(
    linear_gaussian, inputs, draw, with_prior, chunk_size
):
    problem = linear_gaussian("scaled", slope=0.6)
    whole, parts, batch, count = inputs
    log_prior = draw(count, seed=3) if with_prior else None
    ranking = rank(problem, inputs, log_prior=log_prior, chunk_size=chunk_size)
    expected = problem.law(parts, batch, count).log_prob(whole[WHOLE_OF])
    torch.testing.assert_close(ranking.log_likelihood, expected, rtol=1e-9, atol=1e-9)
    joint = expected if log_prior is None else expected + log_prior
    for s in range(3):
        mine = WHOLE_OF == s
        posterior = torch.softmax(joint[mine], dim=0)
        torch.testing.assert_close(ranking.probability[mine], posterior)
        assert ranking.best[s] == mine.nonzero()[posterior.argmax()]
    torch.testing.assert_close(ranking.log_posterior.exp(), ranking.probability)
    assert (ranking.candidate_batch == WHOLE_OF).all()


def test_order_and_a_constant_of_the_prior_do_not_matter(linear_gaussian, inputs, draw):
    problem = linear_gaussian("paper")
    whole, parts, batch, count = inputs
    log_prior = draw(count, seed=3)
    one = rank(problem, inputs, log_prior=log_prior)
    order = torch.tensor([1, 0, 2, 5, 3, 4, 6, 10, 8, 9, 7])
    raised = log_prior + torch.tensor([5.0, -2.0, 1e3])[WHOLE_OF]
    other = rank(problem, (whole, parts[order], batch, count), log_prior=raised)
    torch.testing.assert_close(one.log_posterior, other.log_posterior)
    assert (one.best == other.best).all()


def test_prior_can_rule_candidates_out(linear_gaussian, inputs):
    problem = linear_gaussian("paper")
    free = rank(problem, inputs)
    log_prior = torch.zeros(len(FLAT)).double()
    log_prior[free.best[0]] = -math.inf
    ruled = rank(problem, inputs, log_prior=log_prior)
    assert ruled.probability[free.best[0]] == 0.0
    assert ruled.best[0] != free.best[0] and ruled.best[2] == free.best[2]
    others = (WHOLE_OF == 0) & (torch.arange(len(FLAT)) != free.best[0])
    torch.testing.assert_close(
        ruled.probability[others], free.probability[others] / free.probability[others].sum()
    )


def test_first_of_equal_candidates_is_best(linear_gaussian, draw, batch_of):
    problem = linear_gaussian("paper")
    parts = draw(1, 2).repeat(3, 1)
    ranking = rank_parts(problem.model, draw(1, 3), parts, batch_of((1, 1, 1)), num_samples=1)
    torch.testing.assert_close(ranking.probability, torch.full((3,), 1 / 3).double())
    tied = ranking.log_posterior == ranking.log_posterior.max()
    assert ranking.best.tolist() == [int(tied.nonzero()[0])]


def test_parts_that_made_a_whole_are_mostly_found(linear_gaussian, draw):
    # The posterior is calibrated: the best is right as often as it says.
    problem = linear_gaussian("scaled", slope=0.6)
    count, candidates = 400, 4 * draw(3, 2, seed=2)
    truth = torch.randint(3, (count,), generator=torch.Generator().manual_seed(1))
    whole = problem.law(candidates[truth], torch.arange(count), count).sample()
    ranking = rank_parts(
        problem.model,
        whole,
        candidates.repeat(count, 1),
        torch.arange(3 * count),
        candidate_batch=torch.arange(count).repeat_interleave(3),
        num_samples=1,
    )
    right = (ranking.best - 3 * torch.arange(count) == truth).double()
    confidence = ranking.probability[ranking.best]
    error = ((confidence * (1.0 - confidence)).sum() / count**2).sqrt()
    assert (right.mean() - confidence.mean()).abs() < 4.0 * error
    assert 0.5 < right.mean() < 0.99


def test_likelihoods_that_overflow_are_impossible(refuses, linear_gaussian, inputs):
    class Overflowing(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, whole, parts, batch, batch_size, **options):
            posterior = self.inner(whole, parts, batch, batch_size, **options)
            empty = torch.bincount(batch, minlength=batch_size) == 0
            z = torch.where(empty.unsqueeze(1), torch.nan, posterior.z_sample)
            return posterior._replace(z_sample=z)

    problem = linear_gaussian("paper")
    expected = rank(problem, inputs).log_likelihood
    problem.model.encoder = Overflowing(problem.model.encoder)
    ranking = rank(problem, inputs)
    assert ranking.log_likelihood[2].isnan() and ranking.probability[2] == 0.0
    torch.testing.assert_close(ranking.probability[:2], torch.softmax(expected[:2], dim=0))
    only = torch.tensor([0.0, 0.0, 0.0, -math.inf, 0.0, 0.0]).double()
    with refuses(ValueError, "no candidate for whole 1 has a finite likelihood and prior"):
        rank(problem, inputs, log_prior=only)


def test_weights_go_with_their_candidates(small_model, seeded, draw, batch_of):
    model, whole, parts = small_model(), draw(1, 5), draw(6, 3, seed=1)
    batch, weight = batch_of((2, 1, 3)), draw(6, seed=2)
    options = {"num_samples": 3, "weight": weight}
    with seeded(7):
        ranking = rank_parts(model, whole, parts, batch, chunk_size=2, **options)
    with seeded(7):
        expected = model.log_likelihood(
            whole.expand(3, 5), parts, batch, 3, chunk_size=2, **options
        )
    torch.testing.assert_close(ranking.log_likelihood, expected)


def test_memory_is_bounded(linear_gaussian, inputs):
    problem, sizes = linear_gaussian("paper"), []
    problem.model.encoder.register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))
    rank(problem, inputs, num_samples=5, chunk_size=4)
    assert max(sizes) == 4


def test_unfit_input_is_refused(refuses, linear_gaussian, inputs):
    problem = linear_gaussian("paper")
    whole, parts, batch, count = inputs
    with refuses(ValueError, "every whole must have a candidate (got none for whole 2)"):
        rank(problem, inputs, candidate_batch=torch.tensor([0, 0, 0, 1, 1, 1]))
    wrong = "batch must have one entry per part (got shape [5], expected [6])"
    with refuses(ValueError, f"candidate_batch, of candidates as parts: {wrong}"):
        rank(problem, inputs, candidate_batch=WHOLE_OF[1:])
    with refuses(TypeError, "log_prior must be a tensor (got list)"):
        rank(problem, inputs, log_prior=[0.0] * 6)
    with refuses(TypeError, "whole must be a tensor (got list)"):
        rank(problem, ([[0.0] * 3] * 3, parts, batch, count))
    with refuses(ValueError, "log_prior must be [6] (got [3])"):
        rank(problem, inputs, log_prior=torch.zeros(3))
    for bad in (math.nan, math.inf):
        log_prior = torch.zeros(6)
        log_prior[4] = bad
        with refuses(ValueError, f"log_prior must be finite or -inf (got {bad} at candidate 4)"):
            rank(problem, inputs, log_prior=log_prior)
    message = "weight must have one entry per part (got shape [12], expected [11])"
    with refuses(ValueError, message):
        rank(problem, inputs, weight=torch.ones(12))
    with refuses(ValueError, "num_samples must be at least 1 (got 0)"):
        rank(problem, inputs, num_samples=0)
    with refuses(ValueError, "chunk_size must be at least 1 (got 0)"):
        rank(problem, inputs, chunk_size=0)
    whole = whole.clone()
    whole[1, 0] = math.nan
    with pytest.raises(ValueError, match="whole must be finite"):
        rank(problem, (whole, parts, batch, count))
