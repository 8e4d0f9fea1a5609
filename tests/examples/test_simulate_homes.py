"""More homes in the pool's format; what draws them is a program of others, to be had or not."""

import numpy as np
import pytest
import torch

pytest.importorskip("tyro")

from compvae_pyg.problems.households import Households, SimulatedPool
from compvae_pyg.problems.households.simulated import stored_homes


def draw_by_formula(residents, day, weekend, light):
    """A load in W that tells what it was asked for, and for which light, at each minute."""
    assert light.shape == (1440,)
    return 100.0 * residents + 10.0 * weekend + light


@pytest.fixture(scope="module")
def weather():
    shipped = dict(stored_homes())
    for split, number in (("training", 12), ("held_out", 4), ("many", 2)):
        shipped[f"{split}_days"] = shipped[f"{split}_days"][:number]
    return shipped


def test_what_is_written_is_a_pool_in_kilowatts(load_example, weather, tmp_path, refuses):
    example, homes = load_example("simulate_homes"), {"training": 2, "held_out": 1, "many": 3}
    arrays = example.simulate(draw_by_formula, weather, homes)
    for name, value in stored_homes().items():
        assert arrays[name].dtype == value.dtype and arrays[name].ndim == value.ndim, name
    path = tmp_path / "homes.npz"
    np.savez_compressed(path, **arrays)

    pool = SimulatedPool("held_out", path)
    day = torch.arange(4).repeat_interleave(5)
    parts = {"residents": torch.arange(1, 6).repeat(4), "heat_pump": torch.zeros(20).long()}
    load = pool.draw(day, parts, day)
    light = torch.tensor(weather["irradiance"][pool.days].reshape(4, 48, 3).mean(-1))
    expected = 100 * parts["residents"] + 10 * pool.conditions[day, 3]
    expected = (expected.unsqueeze(1) + light[day]) / 1000
    assert (load - expected).abs().max() < 0.01  # of light between the middles of ten minutes

    problem = Households(SimulatedPool(path=path))
    assert problem.pool.num_days == 12 and problem.pool.base.shape == (12, 5, 16, 48)
    assert problem.held_out().pool.num_days == 4
    assert problem.sample(torch.tensor([3, 30])).whole.shape == (2, 48)

    del arrays["many"]
    np.savez_compressed(path.with_name("other.npz"), **arrays)
    with refuses(ValueError, "many"):
        SimulatedPool(path=path.with_name("other.npz"))
    path.with_name("text.npz").write_text("no archive")
    with refuses(ValueError, "path"):
        SimulatedPool(path=path.with_name("text.npz"))
    with refuses(FileNotFoundError, "none.npz"):
        SimulatedPool(path=path.with_name("none.npz"))


def test_the_program_draws_homes_by_the_generator_where_it_is_there(load_example, weather):
    pytest.importorskip("richardsonpy")
    draw = load_example("simulate_homes").mended_generator(0)
    light = np.zeros(1440)
    watts = np.stack([draw(n, 10, False, light) for n in (1, 5) for _ in range(40)])
    assert watts.shape == (80, 1440) and watts.min() >= 0.0
    one, five = watts.mean(1).reshape(2, 40).mean(1)
    assert 100.0 < one < five < 1500.0


def test_without_the_generator_a_line_says_what_is_missing(load_example, tmp_path, refuses):
    try:
        import richardsonpy  # noqa: F401
    except ModuleNotFoundError:
        example = load_example("simulate_homes")
        with refuses(ImportError, "richardsonpy"):
            example.main(example.Options(output=tmp_path / "homes.npz"))
        assert not any(tmp_path.iterdir())
    else:
        pytest.skip("the generator is there")
