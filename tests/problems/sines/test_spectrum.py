import math

import pytest
import torch

from compvae_pyg.nn import pack
from compvae_pyg.problems.sines import Sines, render_sines, spectrum

SIZES = [1, 2, 3, 4, 5, 6, 7, 8]


def known_waves(sizes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    batch, _ = pack(torch.tensor(sizes))
    count = len(batch)
    category = torch.randint(10, (count,), generator=generator)
    amplitude = 1.0 + 0.3 * torch.randn(count, generator=generator, dtype=dtype)
    phase = math.pi / 2 * torch.randn(count, generator=generator, dtype=dtype)
    expected = torch.zeros(len(sizes), 10, dtype=torch.complex128)
    expected.index_put_((batch, category), torch.polar(amplitude, phase).cdouble(), accumulate=True)
    return (category, amplitude, phase, batch, len(sizes)), expected


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-3)])
def test_known_amplitudes_and_phases_are_found(dtype, tolerance):
    """In 32 bits, curves of one wave come near saturation, where little is left of them."""
    known, expected = known_waves(SIZES, dtype)
    found = spectrum(render_sines(*known), torch.tensor(SIZES))
    torch.testing.assert_close(found.coefficient, expected, rtol=0.0, atol=tolerance)
    torch.testing.assert_close(found.amplitude, expected.abs(), rtol=0.0, atol=tolerance)
    assert found.outside.max() < tolerance**2
    assert not found.clipped.any()


@pytest.mark.parametrize("period", [100.0, 73.0, 61.5])
def test_known_waves_are_found_where_frequencies_are_not_orthogonal(period):
    known, expected = known_waves(SIZES)
    curves = render_sines(*known, period=period, nonlinearity=1.5, num_samples=150)
    found = spectrum(curves, torch.tensor(SIZES), period=period, nonlinearity=1.5)
    torch.testing.assert_close(found.coefficient, expected, rtol=0.0, atol=1e-6)


def test_energy_at_no_frequency_of_the_problem_is_outside():
    """A wave of the 20th frequency beside one of the third, of a quarter of its energy."""
    time = torch.arange(200, dtype=torch.float64)
    total = (2 * math.pi * 3 * time / 100).cos() + 0.5 * (2 * math.pi * 20 * time / 100).sin()
    curve = 4 * torch.tanh(3 / 4 * total).unsqueeze(0)
    found = spectrum(curve, torch.tensor([4]))
    assert found.outside.tolist() == pytest.approx([0.2])
    expected = torch.zeros(1, 10, dtype=torch.float64)
    expected[0, 2] = 1.0
    torch.testing.assert_close(found.amplitude, expected, rtol=0.0, atol=1e-9)


def test_samples_beyond_the_reach_are_clipped_and_counted():
    curve = torch.tensor([[0.5, -0.5, 3.0, -3.0] * 50])
    found = spectrum(curve, torch.tensor([2]), reach=2.0)
    assert found.clipped.tolist() == [0.5]
    steps = torch.tensor([[0.5, -0.5, 2 * math.tanh(6.0), -2 * math.tanh(6.0)] * 50])
    inside = spectrum(steps.double(), torch.tensor([2]))
    torch.testing.assert_close(found.coefficient, inside.coefficient, rtol=0.0, atol=1e-6)


def test_saturated_samples_give_finite_waves():
    found = spectrum(torch.tensor([[1.0, -1.0, 7.0, -math.inf] * 50]), torch.tensor([1]))
    assert torch.isfinite(found.coefficient.abs()).all()
    assert found.clipped.tolist() == [1.0]


def test_a_silent_curve_has_no_energy_outside():
    found = spectrum(torch.zeros(2, 200), torch.tensor([1, 3]))
    assert not found.amplitude.any()
    assert not found.outside.any()


def test_true_curves_have_the_amplitudes_of_their_distribution():
    """Of categories present once: N(1, 0.3); of absent ones: nothing."""
    sines = Sines()
    for size in (1, 4, 16, 30):
        data = sines.sample(torch.full((1500,), size), torch.Generator().manual_seed(size))
        times = torch.zeros(1500, 10)
        times.index_put_((data.batch, data.category), torch.ones(1500 * size), accumulate=True)
        amplitude = spectrum(data.whole, data.ptr.diff()).amplitude
        once = amplitude[times == 1]
        assert float(once.mean()) == pytest.approx(1.0, abs=4 * 0.3 / len(once) ** 0.5)
        assert float(once.std()) == pytest.approx(0.3, abs=4 * 0.3 / (2 * len(once)) ** 0.5)
        assert float(amplitude[times == 0].mean()) < 1e-3


@pytest.mark.parametrize(
    ("whole", "num_parts", "options", "name"),
    [
        ((2, 200), [1], {}, "num_parts"),
        ((200,), [1], {}, "whole"),
        ((1, 19), [1], {}, "frequencies"),
        ((1, 200), [1], {"period": 20.0}, "frequencies"),
        ((1, 200), [1], {"reach": 0.0}, "reach"),
    ],
)
def test_unfit_curves_and_parameters_are_refused(refuses, whole, num_parts, options, name):
    with refuses(ValueError, name):
        spectrum(torch.zeros(whole), torch.tensor(num_parts), **options)
