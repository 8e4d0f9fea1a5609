"""Seventeen measured homes that ship with CityLearn 2.0.0, read from its wheel."""

from __future__ import annotations

import csv
import io
import zipfile
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from compvae_pyg.networks.fields import Categorical
from compvae_pyg.nn.checks import check_type
from compvae_pyg.problems.households.pool import Pool

__all__ = ["read_citylearn"]

_FOLDER = "citylearn/data/citylearn_challenge_2022_phase_all/"
_HOMES = 17


def read_citylearn(wheel: str | PathLike[str]) -> Pool:
    """Read 17 homes in Fontana, California, over 364 days, hour by hour.

    The wheel, 16 MB under the MIT licence, comes from the package index: ``pip download --no-deps
    CityLearn==2.0.0``. A home is a kind of its own, the field ``home``; conditions are the mean and
    the highest outdoor temperature of the day and whether it is on a weekend.

    Raises:
        TypeError: If the argument is of another type.
        ValueError: If the file is not that wheel.

    Example:
        >>> read_citylearn("CityLearn-2.0.0-py3-none-any.whl")  # before it was downloaded
        Traceback (most recent call last):
            ...
        ValueError: wheel must be that of `pip download --no-deps CityLearn==2.0.0` (got ...
    """
    check_type(wheel, "wheel", str, PathLike)
    try:
        archive = zipfile.ZipFile(Path(wheel))
    except (OSError, zipfile.BadZipFile) as error:
        how = "`pip download --no-deps CityLearn==2.0.0`"
        raise ValueError(f"wheel must be that of {how} (got {wheel}: {error})") from error
    with archive:
        if f"{_FOLDER}weather.csv" not in archive.namelist():
            raise ValueError(f"wheel must hold {_FOLDER} (got {wheel}, which lacks it)")
        homes = [_columns(archive, f"Building_{number}.csv") for number in range(1, _HOMES + 1)]
        weather = _columns(archive, "weather.csv")
    # The first hour is the last of a day: days start with the second.
    hours = (len(homes[0]["Hour"]) - 1) // 24 * 24

    def by_day(values: np.ndarray) -> np.ndarray:
        return values[1 : 1 + hours].reshape(-1, 24)

    load = np.stack([by_day(home["Equipment Electric Power [kWh]"]) for home in homes])
    temperature = by_day(weather["Outdoor Drybulb Temperature [C]"])
    weekend = np.isin(by_day(homes[0]["Day Type"])[:, 0], [1, 7])
    conditions = np.stack([temperature.mean(1), temperature.max(1), weekend], axis=1)
    return Pool(
        "citylearn",
        torch.tensor(load, dtype=torch.float32),
        {"home": torch.arange(_HOMES)},
        {"home": Categorical(_HOMES)},
        torch.tensor(conditions, dtype=torch.float32),
        ("temperature", "highest temperature", "weekend"),
    )


def _columns(archive: zipfile.ZipFile, name: str) -> dict[str, np.ndarray]:
    """Return the columns of numbers of a file, 0 where there is none."""
    with archive.open(_FOLDER + name) as file:
        header, *rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8"))
    values = zip(*rows, strict=True)
    return {
        column.strip(): np.array([float(value or 0.0) for value in some])
        for column, some in zip(header, values, strict=True)
    }
