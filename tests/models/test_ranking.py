import math
import warnings

import pytest
import torch
from torch.distributions import MultivariateNormal

from compvae_pyg import Dots, rank_parts

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
        num_samples=2,
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

        z_channels = 1

        def forward(self, whole, parts, batch, **options):
            posterior = self.inner(whole, parts, batch, **options)
            empty = batch.sizes() == 0
            z = torch.where(empty.unsqueeze(1), torch.nan, posterior.z_sample)
            return posterior._replace(z_sample=z)

    problem = linear_gaussian("paper")
    expected = rank(problem, inputs).log_likelihood
    problem.model.encoder = Overflowing(problem.model.encoder)
    ranking = rank(problem, inputs)
    assert ranking.log_likelihood[2].isnan() and ranking.probability[2] == 0.0
    torch.testing.assert_close(ranking.probability[:2], torch.softmax(expected[:2], dim=0))
    only = torch.tensor([0.0, 0.0, 0.0, -math.inf, 0.0, 0.0]).double()
    with refuses(ValueError, "whole 1"):
        rank(problem, inputs, log_prior=only)


def test_weights_go_with_their_candidates(linear_gaussian, draw, batch_of):
    # The posterior is that of parts without weights, so that the likelihood is only approached.
    problem = linear_gaussian("scaled", slope=0.6)
    generator, whole, parts = problem.model.generator, draw(1, 3), draw(6, 2, seed=1)
    batch = batch_of((2, 1, 3))
    weight = torch.tensor([0.9, 0.95, 1.1, 0.92, 1.0, 0.95], dtype=torch.float64)
    w_sum = generator.w_sum_prior(parts, batch, weight=weight)
    z, x = generator.z_prior, generator.decoder
    through = x.of_sum + x.of_z @ z.weight
    mean = w_sum.mean @ through.T + z.bias @ x.of_z.T + x.bias
    covariance = (through * w_sum.variance.unsqueeze(1)) @ through.T
    covariance = covariance + (x.of_z * z.scale.square()) @ x.of_z.T + torch.diag(x.scale.square())
    expected = MultivariateNormal(mean, covariance).log_prob(whole)
    ranking = rank_parts(
        problem.model, whole, parts, batch, weight=weight, num_samples=2000, chunk_size=2048
    )
    error = (ranking.log_likelihood - expected) / ranking.standard_error
    assert error.abs().max() < 5.0 and ranking.standard_error.max() < 0.02
    unweighted = problem.law(parts, batch, 3).log_prob(whole.expand(3, 3))
    assert ((unweighted - expected).abs() > 10 * ranking.standard_error).any()


# How sure it is


def inexact(linear_gaussian, beside_the_posterior):
    problem = linear_gaussian("scaled", slope=0.6)
    problem.model.encoder = beside_the_posterior(problem.model.encoder)
    return problem


@pytest.mark.parametrize("chunk_size", [1, 2, 5, 256])
def test_the_same_candidate_twice_is_exactly_as_probable(
    linear_gaussian, beside_the_posterior, draw, batch_of, chunk_size
):
    problem, parts = inexact(linear_gaussian, beside_the_posterior), draw(3, 2)
    # Others may stand between the two.
    candidates = torch.cat([parts, draw(2, 2, seed=1), parts, draw(1, 2, seed=2), parts])
    batch = batch_of((3, 2, 3, 1, 3))
    ranking = rank_parts(
        problem.model, draw(1, 3), candidates, batch, num_samples=9, chunk_size=chunk_size
    )
    for name in ("log_likelihood", "standard_error", "probability"):
        first, second, third = getattr(ranking, name)[[0, 2, 4]].tolist()
        assert first == second == third, name
    assert len(ranking.probability.unique()) == 3


def test_the_same_sites_twice_are_exactly_as_probable():
    dots = Dots()
    torch.manual_seed(0)
    model, data = dots.build("small"), dots.sample(torch.tensor([3]))
    once = dots.parts(data)
    other = {"color": (once["color"] + 1) % 5, "pos": once["pos"]}
    parts = {name: torch.cat([value, other[name], value]) for name, value in once.items()}
    ranking = rank_parts(
        model, data.whole, parts, torch.arange(3).repeat_interleave(3), num_samples=4
    )
    assert ranking.probability[0] == ranking.probability[2] != ranking.probability[1]


def test_an_unclear_lead_is_warned_of_and_a_clear_one_is_not(
    linear_gaussian, beside_the_posterior, draw
):
    problem = inexact(linear_gaussian, beside_the_posterior)
    whole, parts = 2.0 * draw(1, 3), draw(1, 2, seed=1)
    near, far = (torch.cat([parts, parts + step]) for step in (1e-3, 20.0))
    batch, options = torch.tensor([0, 1]), {"num_samples": 16}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clear = rank_parts(problem.model, whole, far, batch, **options)
    assert clear.lead > 2.0 * clear.lead_error
    # Independent of each other, estimates would not tell these two apart.
    close = rank_parts(problem.model, whole, near, batch, **options)
    assert close.lead_error < 0.2 * close.standard_error.max()
    with pytest.warns(UserWarning, match="two standard errors") as caught:
        unclear = rank_parts(problem.model, whole, draw(2, 2, seed=1), batch, num_samples=1)
    assert unclear.lead_error.isinf()
    assert [warning.filename for warning in caught] == [__file__]


def test_a_candidate_without_a_rival_leads_for_sure(linear_gaussian, draw):
    problem = linear_gaussian("paper")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranking = rank_parts(problem.model, draw(1, 3), draw(2, 2), num_samples=2)
    assert ranking.lead.tolist() == [math.inf] and ranking.probability.tolist() == [1.0]


def test_errors_are_the_spread_of_repeated_runs(linear_gaussian, beside_the_posterior, draw):
    problem = inexact(linear_gaussian, beside_the_posterior)
    whole, parts, batch = 2.0 * draw(1, 3), draw(4, 2, seed=1), torch.tensor([0, 0, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = [
            rank_parts(
                problem.model,
                whole,
                parts,
                batch,
                num_samples=64,
                generator=torch.Generator().manual_seed(seed),
            )
            for seed in range(200)
        ]
    assert len({int(run.best) for run in runs}) == 1
    lead, stated = (torch.stack([getattr(r, n) for r in runs]) for n in ("lead", "lead_error"))
    assert 0.8 < lead.std() / stated.square().mean().sqrt() < 1.25
    found = torch.stack([run.log_likelihood for run in runs])
    stated = torch.stack([run.standard_error for run in runs]).square().mean(0).sqrt()
    assert (0.8 < found.std(0) / stated).all() and (found.std(0) / stated < 1.25).all()
    expected = problem.law(parts, batch, 2).log_prob(whole.expand(2, 3))
    assert ((found.mean(0) - expected) / found.std(0)).abs().max() < 0.3


def test_randomness_is_the_generator_s(linear_gaussian, beside_the_posterior, inputs):
    problem, state = inexact(linear_gaussian, beside_the_posterior), torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, again, other = (
            rank(problem, inputs, generator=torch.Generator().manual_seed(seed)).log_likelihood
            for seed in (1, 1, 2)
        )
    assert torch.equal(one, again) and (one != other).all()
    assert torch.equal(torch.get_rng_state(), state)


def test_memory_is_bounded(linear_gaussian, inputs):
    problem, sizes = linear_gaussian("paper"), []
    problem.model.encoder.register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))
    rank(problem, inputs, num_samples=5, chunk_size=4)
    assert max(sizes) == 4


def test_unfit_input_is_refused(refuses, linear_gaussian, inputs):
    problem = linear_gaussian("paper")
    whole, parts, batch, count = inputs
    with refuses(ValueError, "whole 2"):
        rank(problem, inputs, candidate_batch=torch.tensor([0, 0, 0, 1, 1, 1]))
    with refuses(ValueError, "candidate_batch"):
        rank(problem, inputs, candidate_batch=WHOLE_OF[1:])
    with refuses(TypeError, "log_prior"):
        rank(problem, inputs, log_prior=[0.0] * 6)
    with refuses(TypeError, "whole"):
        rank(problem, ([[0.0] * 3] * 3, parts, batch, count))
    with refuses(ValueError, "log_prior"):
        rank(problem, inputs, log_prior=torch.zeros(3))
    for bad in (math.nan, math.inf):
        log_prior = torch.zeros(6)
        log_prior[4] = bad
        with refuses(ValueError, "log_prior"):
            rank(problem, inputs, log_prior=log_prior)
    with refuses(ValueError, "weight"):
        rank(problem, inputs, weight=torch.ones(12))
    with refuses(ValueError, "num_samples"):
        rank(problem, inputs, num_samples=0)
    with refuses(ValueError, "chunk_size"):
        rank(problem, inputs, chunk_size=0)
    whole = whole.clone()
    whole[1, 0] = math.nan
    with refuses(ValueError, "whole"):
        rank(problem, (whole, parts, batch, count))
