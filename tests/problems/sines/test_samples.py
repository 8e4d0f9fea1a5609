import pytest
import torch

from compvae_pyg.problems.repeatable import isolated, stream
from compvae_pyg.problems.sines import (
    Sines,
    recompose_sines,
    sines_nonlinearity,
    sines_variety,
    spectrum,
)


@pytest.fixture(scope="module")
def sines():
    return Sines()


@pytest.fixture(scope="module")
def small(sines):
    torch.manual_seed(3)
    return sines.build("small")


def test_ground_truth_curves_are_made_of_the_waves_of_their_row(small, sines):
    """Linear in the waves once the non-linearity is undone, each by its own number of waves."""
    series = recompose_sines(small, sines, category=[0, 4, 4, 8])

    def waves(curves, counts):
        return spectrum(curves, torch.tensor(counts)).coefficient

    alone = waves(series.true_parts, [1] * 4)
    for part, category in enumerate([0, 4, 4, 8]):
        others = alone[part].abs().clone()
        assert others[category] > 0.1
        others[category] = 0.0
        assert others.max() < 1e-2
    close = {"rtol": 0.0, "atol": 1e-2}
    torch.testing.assert_close(waves(series.true_wholes, [1, 2, 3, 4]), alone.cumsum(0), **close)
    torch.testing.assert_close(waves(series.true_without, [3] * 4), alone.sum(0) - alone, **close)


def test_the_model_decodes_sums_of_the_latents_that_it_inferred(small, sines, record_decoder):
    category = torch.tensor([0, 2, 2, 7])
    recorded = record_decoder(small)
    series = recompose_sines(small, sines, category=category.tolist(), seed=5)
    w_sum, z = recorded.w_sum, recorded.z
    with isolated(small, 5):
        composition = small.infer(series.true_wholes[-1:], {"category": category})
        reconstruction = composition.decode().mean
        prior = small.generator.z_prior(w_sum)
    alone, so_far, without = w_sum.chunk(3)
    close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(alone, composition.w)
    torch.testing.assert_close(so_far, composition.w.cumsum(0), **close)
    torch.testing.assert_close(alone + without, so_far[-1:].expand_as(alone), **close)
    # The eps of z is the same for all, and all parts together reconstruct what was observed.
    noise = (z - prior.mean) / prior.stddev
    torch.testing.assert_close(noise, noise[:1].expand_as(noise), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(series.wholes[-1:], reconstruction, **close)
    torch.testing.assert_close(series.without[-1], series.wholes[-2], **close)


def test_true_variety_is_that_of_one_wave_of_the_category(small, sines):
    variety = sines_variety(small, sines, category=[3, 9], num_draws=400)
    assert variety.generated.shape == variety.truth.shape == (2, 400, 200)
    for category, curves in zip([3, 9], variety.truth, strict=True):
        amplitude = spectrum(curves, torch.ones(400, dtype=torch.long), reach=2.2).amplitude
        assert float(amplitude[:, category].mean()) == pytest.approx(1.0, abs=0.06)
        assert float(amplitude[:, category].std()) == pytest.approx(0.3, abs=0.05)
        amplitude[:, category] = 0.0
        assert float(amplitude.mean()) < 0.01


def test_curves_saturate_as_their_nonlinearity_says(sines):
    found = sines_nonlinearity(sines, nonlinearity=[0.5, 4.0], category=[0, 1, 5])
    torch.testing.assert_close(
        found.whole, 3.0 * torch.tanh(found.linear / 3.0), rtol=0.0, atol=1e-4
    )
    torch.testing.assert_close(found.linear[1], 8.0 * found.linear[0])
    # The waves are those of the problem's own nonlinearity, too.
    (own,) = sines_nonlinearity(sines, nonlinearity=[3.0], category=[0, 1, 5]).whole
    features = sines.features(3, stream(0, 3))
    one = torch.zeros(3, dtype=torch.long)
    torch.testing.assert_close(own, sines.render(torch.tensor([0, 1, 5]), *features, one, 1)[0])


def test_samples_depend_on_the_seed_alone(small, sines):
    def draw(seed):
        series = recompose_sines(small, sines, category=[1, 2], seed=seed)
        return torch.cat([series.wholes, sines_variety(small, sines, seed=seed).generated[0]])

    first = draw(0)
    torch.rand(3)
    state = torch.get_rng_state()
    assert torch.equal(draw(0), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(draw(1)[:2], first[:2])
    assert not torch.equal(draw(1)[2:], first[2:])


@pytest.mark.parametrize(
    "category", [pytest.param([], id="none"), pytest.param([3, 10], id="large"), [-1]]
)
def test_categories_that_do_not_exist_are_refused(small, sines, refuses, category):
    with refuses(ValueError, "category"):
        recompose_sines(small, sines, category=category)
    with refuses(ValueError, "category"):
        sines_variety(small, sines, category=category)
    with refuses(ValueError, "category"):
        sines_nonlinearity(sines, category=category)


def test_no_draws_and_no_nonlinearity_are_refused(small, sines, refuses):
    with refuses(ValueError, "num_draws"):
        sines_variety(small, sines, num_draws=0)
    with refuses(ValueError, "nonlinearity"):
        sines_nonlinearity(sines, nonlinearity=[0.0])
