import math

import pytest
import torch

from compvae_pyg import CompVAE
from compvae_pyg.simulation import rare_wholes


def peak(whole):
    return whole.amax(dim=1)


def simulate(model, parts, score=peak, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return rare_wholes(model, parts, score, generator=generator, progress=False, **options)


def mean_of_runs(runs, truth):
    """The mean of the runs, less the truth, over its stated error."""
    found = torch.tensor([run.probability for run in runs], dtype=torch.float64)
    stated = torch.tensor([run.coefficient_of_variation for run in runs], dtype=torch.float64)
    return (found.mean() - truth) / (stated.square().mean() / len(runs)).sqrt() / truth


@pytest.mark.parametrize("observation_noise", [False, True])
@pytest.mark.parametrize(("sigmas", "num_runs"), [(2.5, 30), (4.753424, 60)])
def test_tail_of_a_linear_model_is_that_of_its_closed_form(
    build_model, parts, moments, observation_noise, sigmas, num_runs
):
    model, weight = build_model(), torch.tensor([1.0, -2.0, 0.5, 1.0], dtype=torch.float64)
    mean, covariance = moments(model, parts, observation_noise)
    level = float(weight @ mean + sigmas * (weight @ covariance @ weight).sqrt())
    runs = [
        simulate(
            model,
            parts,
            lambda whole: whole @ weight,
            seed,
            level=level,
            num_samples=500,
            observation_noise=observation_noise,
        )
        for seed in range(num_runs)
    ]
    assert mean_of_runs(runs, 0.5 * math.erfc(sigmas / math.sqrt(2.0))).abs() < 4.0


def agree_with_brute_force(model, parts, score, *, probability, num_wholes, num_runs):
    """Wholes that the model generates one by one exceed the levels as often as is said."""
    runs = [
        simulate(model, parts, score, seed, probability=probability) for seed in range(num_runs)
    ]
    level = sum(run.level for run in runs) / num_runs
    batch_size, beyond = 2_000, 0
    source = torch.Generator().manual_seed(1234)
    num_parts = len(next(iter(parts.values()))) if isinstance(parts, dict) else len(parts)
    batch = torch.arange(batch_size).repeat_interleave(num_parts)
    fields = parts if isinstance(parts, dict) else {"": parts}
    many = {
        name: field.repeat(batch_size, *[1] * (field.dim() - 1)) for name, field in fields.items()
    }
    for _ in range(num_wholes // batch_size):
        whole = model.generate(
            many if isinstance(parts, dict) else many[""], batch, batch_size, generator=source
        )
        beyond += int((score(whole) > level).sum())
    count = num_wholes // batch_size * batch_size
    stated = sum(run.coefficient_of_variation**2 for run in runs) / num_runs**2
    assert abs(beyond / count / probability - 1.0) < 4.0 * math.sqrt(
        1.0 / (count * probability) + stated
    )
    assert stated < 0.01


def test_levels_are_those_of_brute_force(build_model, parts):
    agree_with_brute_force(
        build_model(bounded=True), parts, peak, probability=1e-3, num_wholes=500_000, num_runs=10
    )


def brightness(whole):
    return whole.mean(dim=(1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parts", "score"),
    [
        ("sines-small", {"category": torch.tensor([0, 3, 3, 7])}, peak),
        ("sines-small", {"category": torch.tensor([1, 2, 4, 5, 5, 6, 8, 9])}, peak),
        (
            "dots-small",
            {"color": torch.tensor([4, 3]), "pos": torch.tensor([[-0.5, 0.0], [0.5, 0.0]])},
            brightness,
        ),
    ],
)
def test_levels_of_shipped_models_are_those_of_brute_force(name, parts, score):
    try:
        model = CompVAE.from_pretrained(name)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    agree_with_brute_force(model, parts, score, probability=1e-3, num_wholes=200_000, num_runs=6)


def test_what_comes_out_belongs_together(build_model, parts):
    model = build_model(bounded=True)
    rare = simulate(model, parts, probability=1e-3, num_samples=500, chunk_size=64)
    assert (rare.score > rare.level).all() and len(rare.score) >= 45
    torch.testing.assert_close(peak(rare.whole), rare.score)
    torch.testing.assert_close(rare.from_noise(rare.noise), rare.whole)
    decoded = model.generator.decoder(rare.w_sum, rare.z).mean
    torch.testing.assert_close(decoded, rare.whole)
    torch.testing.assert_close(rare.draw_w().sum(dim=1), rare.w_sum)
    assert not rare.whole.requires_grad and rare.noise.dtype == torch.float64


def test_wholes_are_decoded_a_few_at_a_time(build_model, parts):
    sizes = []
    model = build_model()
    model.generator.decoder.register_forward_hook(
        lambda _, inputs, __: sizes.append(len(inputs[0]))
    )
    simulate(model, parts, level=2.0, num_samples=300, chunk_size=32)
    assert max(sizes) == 32


def test_counts_make_wholes_of_many_parts(build_model, parts):
    count = torch.tensor([3, 0, 2])
    model = build_model(bounded=True)
    by_count = simulate(model, parts, probability=0.01, count=count)
    one_by_one = simulate(model, parts.repeat_interleave(count, 0), probability=0.01)
    assert by_count.level == pytest.approx(one_by_one.level)
    assert by_count.draw_w().shape[1] == 3 and one_by_one.draw_w().shape[1] == 5


def test_a_score_may_change_the_wholes_that_it_is_given(build_model, parts):
    def rude(whole):
        out = peak(whole)
        whole.zero_()
        return out

    model = build_model(bounded=True)
    expected, run = (simulate(model, parts, s, probability=0.01) for s in (peak, rude))
    assert run.level == expected.level and torch.equal(run.whole, expected.whole)


def test_scores_that_are_not_numbers_are_refused(refuses, build_model, parts):
    with refuses(ValueError, "score"):
        simulate(build_model(), parts, lambda whole: whole[:, 0] / 0.0 * 0.0, level=1.0)
    with refuses(ValueError, "score"):
        simulate(build_model(), parts, lambda whole: whole, level=1.0)
    with refuses(ValueError, "level and probability"):
        simulate(build_model(), parts)
