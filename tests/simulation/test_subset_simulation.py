import importlib
import math
from statistics import NormalDist

import pytest
import torch

from compvae_pyg.simulation import subset_simulation

subset_simulation_module = importlib.import_module("compvae_pyg.simulation.subset_simulation")

CHANNELS = 20


def tail(level):
    """Probability that a standard normal number exceeds a level."""
    return 0.5 * math.erfc(level / math.sqrt(2.0))


def linear(noise):
    """Standard normal, whatever the dimension."""
    return noise.sum(dim=1) / math.sqrt(noise.shape[1])


def peak(noise):
    """Exceeded in as many directions as there are channels, and their opposites."""
    return noise.abs().amax(dim=1)


def square(noise):
    return noise.square().sum(dim=1)


CASES = {
    "linear, 0.3": (linear, 0.524400513, 0.3),
    "linear, 1e-2": (linear, 2.326347874, 1e-2),
    "linear, 1e-6": (linear, 4.753424309, 1e-6),
    "peak": (peak, 5.0, 1.0 - (1.0 - 2.0 * tail(5.0)) ** CHANNELS),
    # A sum of an even number of squares exceeds b with the chances of fewer than D / 2 events of
    # a Poisson process by the time b / 2.
    "square": (
        square,
        60.0,
        sum(math.exp(-30.0) * 30.0**k / math.factorial(k) for k in range(CHANNELS // 2)),
    ),
}


def simulate(score=linear, seed=0, channels=CHANNELS, **options):
    generator = torch.Generator().manual_seed(seed)
    fixed = {"num_samples": 1000, "dtype": torch.float64, "progress": False}
    return subset_simulation(score, channels, **{**fixed, "generator": generator, **options})


@pytest.mark.filterwarnings("ignore:the interval may be too narrow")
@pytest.mark.parametrize("case", CASES)
def test_mean_of_repeated_runs_is_the_tail_within_its_stated_error(case):
    score, level, truth = CASES[case]
    runs = [simulate(score, seed, level=level, num_samples=500) for seed in range(60)]
    found = torch.tensor([run.probability for run in runs], dtype=torch.float64)
    stated = torch.tensor([run.coefficient_of_variation for run in runs], dtype=torch.float64)
    error = stated.square().mean().sqrt() * truth / math.sqrt(len(runs))
    assert (found.mean() - truth).abs() < 4.0 * error
    # The stated error is that of the runs: their spread is known to about a tenth.
    assert 0.65 < found.log().std() / (1.0 + stated.square()).log().mean().sqrt() < 1.35
    covered = [run.interval()[0] < truth < run.interval()[1] for run in runs]
    assert sum(covered) >= 48


def test_estimate_is_unbiased_with_few_samples():
    # Were the threshold the lowest score of the survivors, it would be some 13 % too high.
    truth = tail(3.0)
    runs = [simulate(seed=seed, level=3.0, num_samples=200) for seed in range(500)]
    found = torch.tensor([run.probability for run in runs], dtype=torch.float64)
    assert (found.mean() - truth).abs() < 3.0 * found.std() / math.sqrt(len(runs))
    assert found.std() / math.sqrt(len(runs)) < 0.04 * truth


@pytest.mark.parametrize("probability", [0.5, 0.1, 1e-3, 3.7e-4])
def test_level_that_is_found_has_the_probability_that_was_asked_for(probability):
    runs = [simulate(seed=seed, probability=probability) for seed in range(30)]
    for run in runs:
        # To the nearest sample, of which a few may repeat.
        assert run.probability == pytest.approx(probability, rel=0.06)
        assert run.probability == run.levels[-1].probability * math.prod(
            level.probability for level in run.levels[:-1]
        )
    truth = torch.tensor([tail(run.level) / run.probability for run in runs])
    stated = torch.tensor([run.coefficient_of_variation for run in runs]).square().mean().sqrt()
    assert (truth.log().mean()).abs() < 4.0 * stated / math.sqrt(len(runs))
    assert 0.6 < truth.log().std() / stated < 1.4


def test_samples_have_the_distribution_given_the_event():
    level = 4.0
    runs = [simulate(seed=seed, level=level, num_samples=1000) for seed in range(30)]
    assert all((run.score > level).all() for run in runs)
    assert all((run.score == linear(run.noise)).all() for run in runs)
    density = math.exp(-0.5 * level**2) / math.sqrt(2.0 * math.pi)
    excess = torch.stack([run.score.mean() for run in runs]) - density / tail(level)
    assert excess.mean().abs() < 4.0 * excess.std() / math.sqrt(len(runs))
    # The event says nothing of the directions that the score does not see.
    across = torch.linspace(-1.0, 1.0, CHANNELS, dtype=torch.float64)
    across = across / across.norm()
    seen = torch.stack([(run.noise @ across).mean() for run in runs])
    assert seen.mean().abs() < 4.0 * seen.std() / math.sqrt(len(runs))
    spread = torch.stack([(run.noise @ across).square().mean() for run in runs]) - 1.0
    assert spread.mean().abs() < 4.0 * spread.std() / math.sqrt(len(runs))
    assert seen.std() < 0.5 and spread.std() < 0.5


def test_more_dimensions_make_no_difference():
    stated = []
    for channels in (2, 2000):
        runs = [
            simulate(seed=seed, channels=channels, level=4.0, num_samples=300) for seed in range(12)
        ]
        found = torch.tensor([run.probability for run in runs]) / tail(4.0)
        assert (found.mean() - 1.0).abs() < 4.0 * found.std() / math.sqrt(len(runs))
        stated.append(sum(run.coefficient_of_variation for run in runs) / len(runs))
        assert all(run.levels[-1].acceptance > 0.25 for run in runs)
    assert stated[1] < 1.3 * stated[0]


def test_an_event_that_is_not_rare_is_counted():
    run = simulate(level=0.5, num_samples=400)
    assert len(run.levels) == 1 and run.num_evaluations == 400
    p = len(run.score) / 400
    assert run.probability == p
    assert run.coefficient_of_variation == pytest.approx(math.sqrt((1 - p) / (p * 399)))
    assert run.num_ancestors == len(run.noise) == len(run.score)
    assert math.isnan(run.levels[0].acceptance) and math.isnan(run.levels[0].step)


def test_levels_tell_how_the_event_was_reached():
    sizes = []

    def score(noise):
        sizes.append(len(noise))
        return linear(noise)

    run = simulate(score, level=4.0)
    thresholds = [level.threshold for level in run.levels]
    assert thresholds == sorted(set(thresholds)) and thresholds[-1] == run.level == 4.0
    assert math.prod(level.probability for level in run.levels) == pytest.approx(run.probability)
    assert run.levels[0].probability == 0.1
    assert all(0.09 <= level.probability <= 0.1 for level in run.levels[:-1])
    assert all(0.3 < level.acceptance < 0.6 and level.step < 1.0 for level in run.levels[1:])
    moves = sum(1.0 - level.probability for level in run.levels[:-1])
    assert run.num_evaluations == sum(sizes) == round(1000 * (1.0 + moves))
    assert 1 < run.num_ancestors <= 100 <= len(run.noise)
    # Rarer events are farther from the bulk, and moves that stay there are shorter.
    assert run.levels[-1].step < run.levels[1].step


def test_correlation_within_and_between_chains_counts_as_an_error():
    run = simulate(level=4.0)
    along = sum(level.coefficient_of_variation**2 for level in run.levels)
    independent = sum((1 / level.probability - 1) / 1000 for level in run.levels)
    assert run.coefficient_of_variation**2 >= along > 1.1 * independent
    # The shares of so many ancestors cannot be more even than equal.
    related = [simulate(seed=seed, level=4.0, num_samples=100) for seed in range(10)]
    for few in related:
        assert few.coefficient_of_variation**2 > 0.999 * (1.0 / few.num_ancestors - 0.01)
    assert min(few.num_ancestors for few in related) == 1


def test_intervals_widen_with_confidence():
    run = simulate(level=4.0)
    low, high = run.interval(0.5)
    lower, higher = run.interval(0.99)
    assert lower < low < run.probability < high < higher
    assert low * high == pytest.approx(run.probability**2)


def test_memory_is_bounded_and_nothing_else_depends_on_it():
    largest = 0

    def score(noise):
        nonlocal largest
        largest = max(largest, len(noise))
        return linear(noise)

    whole, parted = (simulate(score, level=3.0, chunk_size=size) for size in (10_000, 37))
    assert largest == 1000
    assert (whole.noise == parted.noise).all() and whole.levels == parted.levels
    largest = 0
    simulate(score, level=3.0, chunk_size=37)
    assert largest == 37


@pytest.mark.parametrize("chunk_size", [37, 10_000])
def test_a_score_may_change_the_noise_that_it_is_given(chunk_size):
    def rude(noise):
        noise *= 3.0
        return linear(noise) / 3.0

    expected, run = (simulate(score, level=3.0, chunk_size=chunk_size) for score in (linear, rude))
    assert run.probability == pytest.approx(expected.probability)
    assert run.probability == pytest.approx(tail(3.0), rel=0.5)
    torch.testing.assert_close(run.noise, expected.noise, rtol=0.0, atol=0.0)
    # Nor does what it returned have to stay as it was.
    kept = torch.empty(0)

    def reusing(noise):
        nonlocal kept
        kept.fill_(torch.nan)
        kept = linear(noise)
        return kept

    again = simulate(reusing, level=3.0, chunk_size=chunk_size)
    assert again.probability == expected.probability and again.score.isfinite().all()


def test_randomness_is_the_generator_s():
    state = torch.get_rng_state()
    first, again, other = (simulate(seed=seed, level=3.0) for seed in (1, 1, 2))
    assert (torch.get_rng_state() == state).all()
    assert first.probability == again.probability and (first.noise == again.noise).all()
    assert first.probability != other.probability
    torch.manual_seed(3)
    one = simulate(level=3.0, generator=None)
    torch.manual_seed(3)
    assert simulate(level=3.0, generator=None).probability == one.probability


def test_noise_has_the_type_that_is_asked_for_and_no_gradient():
    weight = torch.ones(5, dtype=torch.float64, requires_grad=True)
    run = simulate(lambda noise: noise @ weight, channels=5, level=6.0, num_samples=100)
    assert run.noise.dtype == torch.float64 and not run.score.requires_grad
    single = simulate(lambda noise: noise[:, 0], level=2.0, num_samples=100, dtype=None)
    assert single.noise.dtype == torch.float32


def test_ties_are_no_obstacle():
    # In steps of a half: more than 1.5 means at least 2.
    runs = [
        simulate(lambda noise: torch.floor(2.0 * linear(noise)) / 2.0, seed, level=3.0)
        for seed in range(20)
    ]
    found = torch.tensor([run.probability for run in runs], dtype=torch.float64)
    assert (found.mean() - tail(3.5)).abs() < 4.0 * found.std() / math.sqrt(len(runs))
    # Nearly all scores are the lowest.
    runs = [
        simulate(lambda noise: (linear(noise) - 2.0).relu(), seed, level=0.5) for seed in range(20)
    ]
    found = torch.tensor([run.probability for run in runs], dtype=torch.float64)
    assert (found.mean() - tail(2.5)).abs() < 4.0 * found.std() / math.sqrt(len(runs))
    # Scores may be whole numbers, too.
    run = simulate(lambda noise: torch.floor(linear(noise)).long(), level=1)
    assert (run.score == 2).any() and run.probability == pytest.approx(tail(2.0), rel=0.5)


def test_levels_out_of_reach_are_reported(refuses):
    with refuses(RuntimeError, "scores"):
        simulate(lambda noise: torch.full((len(noise),), 3.0), level=5.0)
    with refuses(RuntimeError, "scores"):
        simulate(lambda noise: linear(noise).clamp(max=1.0), level=5.0)
    with refuses(RuntimeError, "level"):
        simulate(lambda noise: torch.sigmoid(linear(noise)), level=5.0, num_samples=100)
    with refuses(RuntimeError, "level"):
        simulate(level=8.0, min_probability=1e-4, num_samples=100)


def test_scores_that_cannot_be_compared_are_refused(refuses):
    def not_a_number(noise):
        return torch.where(torch.arange(len(noise)) < 3, torch.nan, noise[:, 0])

    with refuses(ValueError, "score"):
        simulate(not_a_number, level=1.0)
    # In later levels as well.
    with refuses(ValueError, "score"):
        simulate(lambda noise: torch.where(linear(noise) > 2.5, torch.nan, linear(noise)), level=4)
    with refuses(ValueError, "score"):
        simulate(lambda noise: noise, level=1.0)
    with refuses(TypeError, "score"):
        simulate(lambda noise: 1.0, level=1.0)


def test_unfit_arguments_are_refused_before_any_score(refuses):
    def unused(noise):
        raise AssertionError

    for options, name in (
        ({}, "level and probability"),
        ({"level": 1.0, "probability": 0.1}, "level and probability"),
        ({"level": math.nan}, "level"),
        ({"probability": 0.0}, "probability"),
        ({"probability": 1.0}, "probability"),
        ({"level": 1.0, "num_samples": 10}, "level_probability"),
        ({"level": 1.0, "level_probability": 1.0}, "level_probability"),
        ({"level": 1.0, "level_probability": math.nan}, "level_probability"),
        ({"level": 1.0, "chunk_size": 0}, "chunk_size"),
    ):
        with refuses(ValueError, name):
            simulate(unused, **options)
    with refuses(ValueError, "num_channels"):
        simulate(unused, channels=0, level=1.0)
    with refuses(TypeError, "num_samples"):
        simulate(unused, level=1.0, num_samples=500.0)
    with refuses(ValueError, "confidence"):
        simulate(level=1.0).interval(95)


def test_progress_is_shown_if_it_is_asked_for(capsys, slow_clock):
    simulate(level=3.0, progress=True)
    assert "P(score > " in capsys.readouterr().err
    simulate(level=3.0, progress=False)
    assert capsys.readouterr().err == ""


def covered(score, num_channels, level, probability, runs=100):
    """How many of the intervals of repeated runs hold the probability."""
    hits = 0
    for seed in range(runs):
        event = subset_simulation(
            score,
            num_channels,
            level=level,
            num_samples=1000,
            generator=torch.Generator().manual_seed(seed),
            progress=False,
        )
        low, high = event.interval()
        assert 0.0 <= low < high <= 1.0
        hits += low <= probability <= high
    return hits / runs


@pytest.mark.parametrize("probability", [0.9999, 0.999, 0.99, 0.9, 0.3])
def test_intervals_cover_what_is_not_rare_as_often_as_they_say(probability):
    level = -NormalDist().inv_cdf(probability)
    # Exact intervals are no narrower; 0.95 less three standard errors of 100 runs.
    assert covered(lambda noise: noise[:, 0], 3, level, probability) >= 0.88


def ring(noise):
    return -(noise.norm(dim=1) - 3.0).abs()


RING = math.exp(-0.5 * 2.999**2) - math.exp(-0.5 * 3.001**2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the interval may be too narrow")
@pytest.mark.parametrize(
    ("score", "num_channels", "level", "probability"),
    [
        (ring, 2, -1e-3, RING),
        (lambda noise: noise[:, 0].abs(), 20, -NormalDist().inv_cdf(5e-5), 1e-4),
        (lambda noise: noise.sum(dim=1), 16, -4 * NormalDist().inv_cdf(1e-5), 1e-5),
        (lambda noise: noise[:, 0], 1, -NormalDist().inv_cdf(0.9999), 0.9999),
        (lambda noise: noise[:, 0], 1, -NormalDist().inv_cdf(0.999), 0.999),
    ],
    ids=["ring", "two tails", "sum", "nearly all", "almost all"],
)
def test_intervals_cover_events_of_all_shapes(score, num_channels, level, probability):
    assert covered(score, num_channels, level, probability, runs=400) >= 0.93


@pytest.mark.parametrize(("count", "size"), [(0, 10), (1, 10), (7, 10), (10, 10), (999, 1000)])
def test_exact_intervals_are_those_of_the_binomial_distribution(count, size):
    low, high = subset_simulation_module._exact_interval(count, size, 0.025)

    def tail(first, last, p):
        numbers = range(first, last + 1)
        return sum(math.comb(size, k) * p**k * (1.0 - p) ** (size - k) for k in numbers)

    if count > 0:
        assert tail(count, size, low) == pytest.approx(0.025, rel=1e-6)
    if count < size:
        assert tail(0, count, high) == pytest.approx(0.025, rel=1e-6)
    assert (low == 0.0) == (count == 0) and (high == 1.0) == (count == size)


@pytest.mark.parametrize(
    ("tail", "freedom", "expected"),
    [(0.025, 30, 2.0423), (0.025, 10, 2.2281), (0.05, 5, 2.0150), (0.025, 4, 2.7764)],
)
def test_quantiles_are_those_of_the_tables(tail, freedom, expected):
    assert subset_simulation_module._student(tail, freedom) == pytest.approx(expected, rel=5e-3)


def test_an_interval_of_few_ancestors_warns():
    event = subset_simulation(ring, 2, level=-1e-3, num_samples=100, progress=False)
    assert event.coefficient_of_variation > 0.5
    with pytest.warns(UserWarning, match="num_samples"):
        event.interval()
