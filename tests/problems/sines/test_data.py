import math

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from compvae_pyg.nn import pack
from compvae_pyg.nn.checks import check_categories
from compvae_pyg.problems import Sines, render_sines


def summed(category, amplitude, phase, nonlinearity=3.0, period=100.0, num_samples=200):
    """One curve in float64, sample by sample, as section 4.2 means it."""
    curve = np.zeros(num_samples)
    for t in range(num_samples):
        total = 0.0
        for c, a, kappa in zip(category, amplitude, phase, strict=True):
            total += a * math.cos(2 * math.pi * (c + 1) * t / period + kappa)
        size = len(category)
        curve[t] = size * math.tanh(nonlinearity / size * total)
    return curve


def waves(sizes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    batch, ptr = pack(torch.tensor(sizes))
    count = len(batch)
    category = torch.randint(10, (count,), generator=generator)
    amplitude = 1.0 + 0.3 * torch.randn(count, generator=generator, dtype=dtype)
    phase = 1.5 * torch.randn(count, generator=generator, dtype=dtype)
    return category, amplitude, phase, batch, ptr


def render(category, amplitude, phase, **options):
    batch = torch.zeros(len(category), dtype=torch.long)
    return render_sines(category, amplitude, phase, batch, 1, **options)[0]


@pytest.mark.parametrize(
    "options", [{}, {"nonlinearity": 1.0, "period": 73.0}, {"period": 61.5, "num_samples": 50}]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_curves_are_those_of_the_paper(dtype, tolerance, options):
    sizes = [1, 2, 5, 30]
    category, amplitude, phase, batch, ptr = waves(sizes, dtype=dtype)
    curves = render_sines(category, amplitude, phase, batch, len(sizes), **options)
    assert curves.dtype == dtype
    for s in range(len(sizes)):
        own = slice(int(ptr[s]), int(ptr[s + 1]))
        expected = summed(
            category[own].tolist(), amplitude[own].tolist(), phase[own].tolist(), **options
        )
        np.testing.assert_allclose(curves[s].double().numpy(), expected, atol=tolerance)


def test_curves_of_one_batch_do_not_see_each_other():
    sizes = [3, 1, 8, 2]
    category, amplitude, phase, batch, ptr = waves(sizes)
    together = render_sines(category, amplitude, phase, batch, len(sizes))
    for s in range(len(sizes)):
        own = slice(int(ptr[s]), int(ptr[s + 1]))
        alone = render(category[own], amplitude[own], phase[own])
        torch.testing.assert_close(together[s], alone, rtol=0.0, atol=1e-12)


def test_order_of_waves_does_not_matter():
    category, amplitude, phase, _, _ = waves([7])
    shuffled = torch.randperm(7)
    torch.testing.assert_close(
        render(category, amplitude, phase),
        render(category[shuffled], amplitude[shuffled], phase[shuffled]),
    )


def test_waves_of_one_category_add_under_the_non_linearity():
    """Two equal waves are one of twice the amplitude, on the scale of two."""
    two, phase = torch.tensor([4, 4]), torch.tensor([0.3, 0.3])
    doubled = render(two, torch.tensor([0.7, 0.7]), phase)
    silent = render(two, torch.tensor([1.4, 0.0]), phase)
    torch.testing.assert_close(doubled, silent)
    single = render(two[:1], torch.tensor([0.7]), phase[:1])
    torch.testing.assert_close(doubled, 2.0 * single)
    opposite = render(two, torch.tensor([0.7, 0.7]), torch.tensor([0.3, 0.3 + math.pi]))
    assert opposite.abs().max() < 1e-5


def test_a_curve_without_waves_is_zero_and_leaves_the_others_alone():
    category, amplitude, phase, batch, _ = waves([2, 0, 3, 0])
    curves = render_sines(category, amplitude, phase, batch, 4)
    full, _ = pack(torch.tensor([2, 3]))
    torch.testing.assert_close(
        curves[[0, 2]], render_sines(category, amplitude, phase, full, 2), rtol=0.0, atol=1e-12
    )
    assert not curves[[1, 3]].any()


def test_sample_depends_on_its_generator_alone():
    sizes = torch.tensor([1, 4, 2])
    first = Sines().sample(sizes, torch.Generator().manual_seed(7))
    state = torch.get_rng_state()
    torch.manual_seed(1)
    second = Sines().sample(sizes, torch.Generator().manual_seed(7))
    other = Sines().sample(sizes, torch.Generator().manual_seed(8))
    for name in ("category", "whole"):
        assert torch.equal(first[name], second[name])
    assert not torch.equal(first.whole, other.whole)
    torch.set_rng_state(state)
    Sines().sample(sizes, torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), state)


def test_categories_are_drawn_evenly():
    data = Sines().sample(torch.full((500,), 16), torch.Generator().manual_seed(0))
    count = torch.bincount(data.category, minlength=10)
    assert len(count) == 10
    # Five standard deviations of a binomial of 8,000 draws.
    assert (count - 800).abs().max() < 5 * (8000 * 0.1 * 0.9) ** 0.5
    fewer = Sines(num_categories=9).sample(torch.full((100,), 16))
    assert set(fewer.category.tolist()) == set(range(9))


@pytest.mark.parametrize(
    ("sines", "mean", "std", "phase_std"),
    [(Sines(), 1.0, 0.3, math.pi / 2), (Sines(phase_std=0.8, amplitude_mean=2.0), 2.0, 0.3, 0.8)],
)
def test_amplitudes_and_phases_read_from_curves_are_those_of_the_problem(
    sines, mean, std, phase_std
):
    """Eight waves of one category give the sum of their complex amplitudes, of known moments."""
    count, size = 4000, 8
    category = torch.full((count * size,), 2)
    batch = torch.arange(count).repeat_interleave(size)
    curves = sines.draw(category, batch, count, torch.Generator().manual_seed(0)).double().numpy()
    total = size / 3.0 * np.arctanh(curves / size)
    turns = np.exp(-2j * np.pi * 3 * np.arange(200) / 100)
    found = total @ turns / 100
    # E cos(kappa) = exp(-v / 2) and E cos(2 kappa) = exp(-2 v) for a phase of variance v.
    real = mean * math.exp(-0.5 * phase_std**2)
    square = (mean**2 + std**2) * (1 + math.exp(-2 * phase_std**2)) / 2
    other = (mean**2 + std**2) * (1 - math.exp(-2 * phase_std**2)) / 2
    assert found.real.mean() == pytest.approx(size * real, abs=5 * (size * square / count) ** 0.5)
    assert found.imag.mean() == pytest.approx(0.0, abs=5 * (size * other / count) ** 0.5)
    # The relative error of a variance is about (2 / count)^(1/2), 0.022.
    assert found.real.var() == pytest.approx(size * (square - real**2), rel=0.11)
    assert found.imag.var() == pytest.approx(size * other, rel=0.11)


def test_parameters_reach_the_curves():
    plain = Sines(amplitude_std=0.0, phase_std=0.0, nonlinearity=1.0, period=50.0)
    curve = plain.draw(torch.tensor([1]), torch.tensor([0]), 1)[0]
    np.testing.assert_allclose(
        curve.numpy(), summed([1], [1.0], [0.0], nonlinearity=1.0, period=50.0), atol=1e-5
    )


def test_a_batch_taken_apart_and_collated_again_equals_itself():
    data = Sines().sample(torch.tensor([3, 1, 2]), torch.Generator().manual_seed(0))
    pieces = data.to_data_list()
    assert [piece.num_nodes for piece in pieces] == [3, 1, 2]
    assert [tuple(piece.whole.shape) for piece in pieces] == [(1, 200)] * 3
    again = Batch.from_data_list(pieces)
    assert set(again.keys()) == set(data.keys())
    assert again.num_nodes == data.num_nodes
    assert again.num_graphs == data.num_graphs
    for name in ("category", "whole", "batch", "ptr"):
        assert torch.equal(again[name], data[name]), name


@pytest.mark.parametrize(
    ("parts", "error", "name"),
    [
        ([3, 12], ValueError, "category"),
        ([-1, 3], ValueError, "category"),
        ([[1], [2]], ValueError, "category"),
        ([0.5], TypeError, "category"),
    ],
)
def test_wrong_categories_are_refused(refuses, parts, error, name):
    with refuses(error, name):
        check_categories({"category": torch.tensor(parts)}, 10)


def test_parts_without_a_category_are_refused(refuses):
    with refuses(TypeError, "category"):
        check_categories({"color": torch.tensor([1])}, 10)
    with refuses(TypeError, "parts"):
        check_categories(torch.tensor([1]), 10)


def test_categories_come_back_as_they_are():
    category = torch.tensor([0, 9, 3])
    assert check_categories({"category": category}, 10) is category
    assert check_categories({"category": category[:0]}, 10).shape == (0,)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ({"nonlinearity": 0.0}, "nonlinearity"),
        ({"period": -1.0}, "period"),
        ({"num_categories": 0}, "num_categories"),
        ({"amplitude_std": -0.1}, "amplitude_std"),
        ({"phase_std": math.nan}, "phase_std"),
    ],
)
def test_parameters_out_of_range_are_refused(refuses, option, name):
    with refuses(ValueError, name):
        Sines(**option)


def test_unknown_names_are_refused(refuses):
    with refuses(ValueError, "preset"):
        Sines().build("large")


def test_the_truth_can_be_drawn_again_from_what_it_tells():
    sines = Sines(nonlinearity=2.0)
    data = sines.sample(torch.tensor([2, 0, 3]), torch.Generator().manual_seed(1))
    fields = [data[name] for name in (*sines.part_fields, *sines.intrinsic_fields)]
    assert torch.equal(sines.render(*fields, data.batch, 3), data.whole)
    assert set(sines.parts(data)) == {"category"}
    assert data.get_example(2).phase.tolist() == data.phase[2:].tolist()
