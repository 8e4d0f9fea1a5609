"""Simulate more homes than the package brings along, in the format of its pool.

The loads of appliances in the package were drawn with richardsonpy, a port of the CREST demand
model (Richardson et al., 2010). It is GPL-3 and neither part of this package nor installed with it:
install it yourself, pip install richardsonpy==0.2.3. Three of its defects are mended here, from
outside. What this program writes is trained with as the pool that is shipped is:

    from compvae_pyg.problems.households import Households, SimulatedPool
    homes = Households(SimulatedPool(path="outputs/homes.npz"))

Heat pumps are not in the file: they are drawn from the weather when it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from compvae_pyg.command_line import one_line_errors

if TYPE_CHECKING:
    import numpy as np

HOMES = {"training": 6, "held_out": 12, "many": 200}  # of each size and day, in the shipped pool
# As the library numbers them: of activities, those of a table with six rows for each number of
# active residents; of appliances, from 0.
ACTIVITIES, CLEANING, VACUUM, WATER_HEATING, PROFILE, OWNED = 6, 5, 10, 28, 8, 0


@dataclass(kw_only=True)
class Options:
    output: Path = Path("outputs/homes.npz")
    """The file to write."""

    times: float = 1.0
    """How many times the homes of the shipped pool, whose 25,140 days of homes take twelve
    minutes of a core."""

    seed: int = 0
    """Seed of the homes; the days and their weather are those of the shipped pool."""


def main(options: Options) -> None:
    # Imported here, so that --help answers at once.
    import numpy as np

    from compvae_pyg.problems.households.simulated import stored_homes

    draw = mended_generator(options.seed)
    shipped = stored_homes()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    homes = {split: max(1, round(options.times * number)) for split, number in HOMES.items()}
    with options.output.open("wb") as file:
        np.savez_compressed(file, **simulate(draw, shipped, homes))
    print(f"{options.output}: homes of each size and day: {homes}")


def simulate(
    draw: Callable[[int, int, bool, np.ndarray], np.ndarray],
    weather: dict[str, np.ndarray],
    homes: dict[str, int],
) -> dict[str, np.ndarray]:
    """Return the arrays of a pool: days and weather as they are, and loads that are drawn.

    ``draw`` returns the load of a home in W, minute by minute, by its number of residents, the day
    of the year from 0, whether that is on a weekend, and its irradiance, minute by minute.
    """
    import numpy as np

    from compvae_pyg.progress import progress

    kept = ("temperature", "irradiance", "weekend")
    out = {name: weather[name] for name in (*kept, *(f"{split}_days" for split in homes))}
    total = sum(5 * number * len(out[f"{split}_days"]) for split, number in homes.items())
    bar = progress(None, "simulation", "homes", total=total)
    minutes = np.arange(1440)
    for split, number in homes.items():
        days = out[f"{split}_days"].astype(int)
        loads = np.zeros((len(days), 5, number, 48), np.float16)
        for row, day in enumerate(days):
            light = np.interp(minutes, 10 * np.arange(144) + 4.5, weather["irradiance"][day])
            for residents in range(1, 6):
                for home in range(number):
                    watts = draw(residents, int(day), bool(weather["weekend"][day]), light)
                    loads[row, residents - 1, home] = watts.reshape(48, 30).mean(1) / 1000.0
            bar.update(5 * number)
        out[split] = loads
    bar.close()
    return out


def mended_generator(seed: int) -> Callable[[int, int, bool, np.ndarray], np.ndarray]:
    """Return what draws the load of a home, by richardsonpy, whose defects are mended.

    It looks activities up as if there were five to a number of residents, not six: homes get a
    table by the numbers that it asks for, in which cleaning, whose number would be that of another
    row, has one of its own. To leave out appliances that heat, it leaves out those after them: the
    first, which heats water, is left out here. Its calibration to an annual consumption may give
    rates below zero: cycles per year are those of the demand model.
    """
    import random

    import numpy as np

    try:
        import richardsonpy
    except ModuleNotFoundError as error:
        install = "pip install richardsonpy==0.2.3, which is GPL-3"
        raise ImportError(f"the simulation of homes needs {error.name}: {install}") from None
    from richardsonpy.classes.appliance import Appliances
    from richardsonpy.classes.lighting import load_lighting_profile
    from richardsonpy.classes.occupancy import Occupancy
    from richardsonpy.classes.stochastic_el_load_wrapper import ElectricityProfile

    random.seed(seed)  # its only source
    inputs = Path(richardsonpy.__file__).parent / "inputs"
    bulbs = [load_lighting_profile(str(inputs / "LightBulbs.csv"), k) for k in range(100)]
    own = -1000  # a number that no other activity comes to, whatever the residents

    ElectricityProfile(None, None)  # its tables are there from now on
    for kind, rows in ElectricityProfile.activity_statistics.items():
        table = {}
        for row in rows:
            active, activity = int(row[0]), int(row[1])
            table[(ACTIVITIES - 1) * active + (own if activity == CLEANING else activity)] = row
        ElectricityProfile.activity_statistics[kind] = table

    def draw(residents: int, day: int, weekend: bool, irradiance: np.ndarray) -> np.ndarray:
        owned = Appliances(
            str(inputs / "Appliances.csv"), randomize_appliances=True, prev_heat_dev=True
        )
        owned.data[WATER_HEATING][OWNED] = 0
        owned.estimate_annual_consumption(1.0)  # with this factor of its cycles per year
        owned.data[VACUUM][PROFILE] = own
        present = Occupancy(residents, initial_day=6 if weekend else 1, nb_days=1).occupancy
        home = ElectricityProfile(owned, random.choice(bulbs))
        watts, _, _ = home.power_sim(irradiance, weekend, day + 1, present)
        return np.asarray(watts)

    return draw


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Options, description=__doc__))
