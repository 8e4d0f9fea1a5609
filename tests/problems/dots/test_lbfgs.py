"""Steps down many errors at once."""

import pytest
import torch
from torch.testing import assert_close

from compvae_pyg.problems.dots.networks import lbfgs_step

SIZES = (3, 1, 5)


@pytest.fixture
def quadratics():
    """Curvature matrices and minima of an error for each whole, in float64."""
    generator = torch.Generator().manual_seed(0)
    curvatures, minima = [], []
    for size in SIZES:
        root = torch.randn(size, size, generator=generator, dtype=torch.float64)
        curvatures.append(root @ root.T + torch.eye(size, dtype=torch.float64))
        minima.append(torch.rand(size, generator=generator, dtype=torch.float64))
    return curvatures, minima


def descend(slope_at, batch, batch_size, num_steps):
    guess = torch.zeros(len(batch), dtype=torch.float64)
    slope, steps, changes = slope_at(guess), [], []
    for _ in range(num_steps):
        steps.append(lbfgs_step(slope, steps, changes, batch, batch_size))
        guess = guess + steps[-1]
        before, slope = slope, slope_at(guess)
        changes.append(slope - before)
    return guess, steps


def test_minima_of_quadratic_errors_are_found(quadratics):
    curvatures, minima = quadratics
    batch = torch.arange(len(SIZES)).repeat_interleave(torch.tensor(SIZES))
    curvature, minimum = torch.block_diag(*curvatures), torch.cat(minima)
    found, _ = descend(lambda x: curvature @ (x - minimum), batch, len(SIZES), 20)
    assert_close(found, minimum)


def test_wholes_do_not_see_each_other(quadratics):
    curvatures, minima = quadratics
    batch = torch.arange(len(SIZES)).repeat_interleave(torch.tensor(SIZES))
    curvature, minimum = torch.block_diag(*curvatures), torch.cat(minima)
    together, _ = descend(lambda x: curvature @ (x - minimum), batch, len(SIZES), 4)
    for one, (own, lowest, size) in enumerate(zip(curvatures, minima, SIZES, strict=True)):
        same = torch.zeros(size, dtype=torch.long)
        alone, _ = descend(lambda x, own=own, lowest=lowest: own @ (x - lowest), same, 1, 4)
        assert_close(together[batch == one], alone)


def test_it_is_the_recursion_s_matrix_times_the_slope(quadratics):
    """The matrix of two updates of BFGS from the scaled identity, written out."""
    curvature, slope = quadratics[0][2], quadratics[1][2]
    steps = [0.1 * torch.eye(5, dtype=torch.float64)[0], 0.1 * quadratics[1][2].flip(0)]
    changes = [curvature @ step for step in steps]
    eye = torch.eye(5, dtype=torch.float64)
    inverse = eye * (steps[1] @ changes[1]) / changes[1].square().sum()
    for step, change in zip(steps, changes, strict=True):
        left = eye - torch.outer(step, change) / (step @ change)
        inverse = left @ inverse @ left.T + torch.outer(step, step) / (step @ change)
    slope = 0.1 * slope
    zeros = torch.zeros(5, dtype=torch.long)
    assert_close(lbfgs_step(slope, steps, changes, zeros, 1), -inverse @ slope)


def test_what_curves_downwards_is_left_out_and_steps_are_bounded():
    slope = torch.tensor([-100.0, 1.0, 0.5])
    batch = torch.tensor([0, 1, 2])
    # Of the first whole the slope has fallen along the step, of the others it has risen.
    steps, changes = [torch.tensor([1.0, -1.0, -1.0])], [torch.tensor([-9.0, -1.0, -0.25])]
    step = lbfgs_step(slope, steps, changes, batch, 3)
    assert_close(step, torch.tensor([100.0 / 102.0, -1.0, -1.5]))
