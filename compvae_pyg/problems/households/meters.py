"""Meters of one's own: readings in long format, tables of homes and of days."""

from __future__ import annotations

import datetime
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import torch

from compvae_pyg.networks.fields import Categorical, Continuous
from compvae_pyg.nn.checks import check_choice, check_count, check_type
from compvae_pyg.problems.households.pool import Pool

__all__ = ["read_meters"]

Unit = Literal["kWh", "kW"]
Clock = Literal["utc", "local"]

_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
_STAMP = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[ T]([01]\d|2[0-3]):[0-5]\d"
_OFFSET = r"(?P<offset>Z|[+-]\d\d:?\d\d)$"
_NO_STAMP = np.iinfo(np.int64).min
_KNOWN = {  # columns that are found by themselves, in small letters and without spaces at the ends
    "home": ("home", "lclid", "meter", "meter_id", "id", "household"),
    "time": ("timestamp", "datetime", "time", "tstp", "date_time"),
    "energy": ("kwh", "kw", "energy", "energy(kwh/hh)", "kwh/hh (per half hour)", "load"),
    "day": ("date", "day", "timestamp", "time", "datetime"),
}
_DAY, _HOUR = 86_400, 3_600
_SHOWN = 20  # categories of a field that notes name
_BLOCK = 16 * 2**20  # bytes of text, or rows of Parquet / 16, that are read at a time


def read_meters(
    readings: str | PathLike[str] | Sequence[str | PathLike[str]],
    homes: str | PathLike[str] | None = None,
    days: str | PathLike[str] | None = None,
    *,
    unit: Unit = "kWh",
    step_minutes: int = 30,
    zone: str = "UTC",
    clock: Clock = "local",
    columns: tuple[str, str, str] | None = None,
    name: str = "meters",
) -> Pool:
    r"""Read meters into a :class:`Pool`, in two passes over the files, a block at a time.

    Memory is two to three times that of the result, 2 bytes a reading, 350 MB for 5,000 homes and
    two years of half hours, and half a gigabyte. A home's day enters it if it is complete. Left
    out, counted and said in ``notes``, are: readings that are missing, no numbers, negative, off
    the grid of steps or without a home or a stamp; all but the first of several with one stamp;
    days of a home with a reading missing; homes and days without any. The mean load is said there
    too, in kW and in kWh a year: kW that are taken for kWh are off by 2.

    Days are those of the local clock, of one number of steps. In spring, when an hour is skipped,
    it is filled by interpolation; in autumn, the two readings of an hour that comes twice are
    averaged.

    Args:
        readings: Parquet or CSV files in long format: home, time stamp of the start of a step,
            energy. Columns are found by their names: those of Low Carbon London (``LCLid``,
            ``DateTime``, ``KWH/hh (per half hour)``), ``home``, ``timestamp`` and ``kWh`` or
            ``kW``, and the like; spaces at the ends of names and values do not matter.
        homes: A table of what is known of the homes, a row each: strings and integers become
            :class:`Categorical` fields, in order, real numbers :class:`Continuous` ones. Without
            it, each home is a kind of its own, the field ``home``.
        days: A table of conditions by date, or by time stamp, of which daily means are taken:
            numbers alone. Whether a day is on a weekend is added.
        unit: Of the readings: energy in a step, ``"kWh"``, or mean power, ``"kW"``.
        step_minutes: Length of a step.
        zone: Time zone of the homes, such as ``"Europe/London"``.
        clock: Of time stamps without an offset: that of the zone, or UTC.
        columns: Names of the columns of home, time stamp and energy, where they are others.
        name: Name of the pool.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a column is missing, nothing is left, unit and column disagree, half of the
            readings are off the grid of steps, or a home has two rows in the table of homes.

    Warns:
        UserWarning: If the column of energy does not say its unit, or readings are in an hour that
            the local clock skips.

    Example:
        >>> import tempfile
        >>> rows = ["home,timestamp,kWh", *(f"a,2026-03-01 {h:02}:00,0.5" for h in range(24))]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (file := Path(folder) / "readings.csv").write_text("\n".join(rows))
        ...     pool = read_meters(file, step_minutes=60)
        >>> pool.load.shape, pool.days
        (torch.Size([1, 1, 24]), ('2026-03-01',))
    """
    check_choice(unit, "unit", get_args(Unit))
    check_choice(clock, "clock", get_args(Clock))
    check_count(step_minutes, "step_minutes")
    if 24 * 60 % step_minutes:
        raise ValueError(f"step_minutes must divide a day (got {step_minutes})")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(
            f"zone must be a time zone, such as Europe/London (got {zone!r})"
        ) from error
    check_type(readings, "readings", str, PathLike, Sequence)
    files = [readings] if isinstance(readings, (str, PathLike)) else list(readings)
    paths = [Path(file) for file in files]
    if not paths:
        raise ValueError("readings must name at least one file (got none)")
    counts: Counter[str] = Counter()
    reader = _Reader(paths, columns, unit, step_minutes, clock, zone)
    names, first, last = reader.scan()
    table = None if homes is None else _table(Path(homes), "homes")
    if table is not None:
        key = _find(table.column_names, "home", homes)
        of_home = {str(h).strip(): row for row, h in enumerate(table[key].to_pylist())}
        counts["homes that are not in the table of homes"] = sum(n not in of_home for n in names)
        counts["homes of the table without readings"] = len(of_home.keys() - set(names))
        if len(of_home) < table.num_rows:
            twice = Counter(str(h).strip() for h in table[key].to_pylist()).most_common(1)[0]
            raise ValueError(f"homes must have a row each (got {twice[1]} of home {twice[0]!r})")
        names = [n for n in names if n in of_home]
        if not names:
            raise ValueError(
                f"homes must name the homes of the readings (got none of them, {homes})"
            )
    load = reader.fill(names, first, last, counts)
    dates = [datetime.date.fromordinal(first + k) for k in range(load.shape[1])]
    skipped, impossible = _fill_clock_changes(load, dates, zone, step_minutes)
    if impossible:
        warnings.warn(
            f"clock must be that of the readings: it may be 'utc' (got {clock!r}, and {impossible} "
            f"readings in an hour that the clock of {zone} skips)",
            stacklevel=2,
        )
    conditions, known = _conditions(days, dates, zone, clock)
    part = np.isnan(load).any(2)
    counts["days of a home with a reading missing"] = int((part & ~np.isnan(load).all(2)).sum())
    load[part] = np.nan
    keep_home, keep_day = ~part.all(1), ~part.all(0)
    if conditions is not None:
        lacks = np.isnan(conditions).any(1)
        counts["days without conditions"] = int((keep_day & lacks).sum())
        keep_day &= ~lacks
        keep_home &= ~part[:, keep_day].all(1)
    counts["homes without a complete day"] = int((~keep_home).sum())
    if not keep_home.any() or not keep_day.any():
        every = step_minutes * reader.every
        hint = (
            f", and readings every {every} minutes, not {step_minutes}" if reader.every > 1 else ""
        )
        raise ValueError(
            f"readings must hold a complete day of a home (got none in {paths[0]}{hint})"
        )
    names = [n for n, keep in zip(names, keep_home, strict=True) if keep]
    if table is None:
        parts: dict[str, torch.Tensor] = {"home": torch.arange(len(names))}
        fields: dict[str, Any] = {"home": Categorical(len(names))}
        categories: dict[str, tuple[str, ...]] = {"home": tuple(names)}
    else:
        parts, fields, categories = _fields(table, key, [of_home[n] for n in names])
    total = sum(float(np.nansum(home, dtype=np.float64)) for home in load)  # without a copy
    mean = total / (load.shape[2] * int((~part).sum()))
    size = f"{mean:.3g} kW a home, {8760 * mean:,.0f} kWh a year"
    if not reader.says_unit:
        warnings.warn(
            f"readings should say their unit: {reader.energy!r} is taken for {unit} in "
            f"{step_minutes} minutes, which makes {size}",
            stacklevel=2,
        )
    notes = (
        *(f"left out: {number} {what}" for what, number in counts.items() if number),
        *([f"filled: {skipped} days of a home with an hour that the clock skips"] * (skipped > 0)),
        *(
            f"{name}: {', '.join(f'{k} = {kind}' for k, kind in enumerate(kinds))}"
            for name, kinds in categories.items()
            if len(kinds) <= _SHOWN
        ),
        f"mean load: {size}",
    )
    kept = [k for k in range(len(dates)) if keep_day[k]]
    chosen = torch.from_numpy(load[np.ix_(keep_home, keep_day)])
    return Pool(
        name,
        chosen,
        parts,
        fields,
        None if conditions is None else torch.tensor(conditions[keep_day], dtype=torch.float32),
        known,
        tuple(dates[k].isoformat() for k in kept),
        step_minutes / 60.0,
        notes,
        categories,
    )


@dataclass
class _Reader:
    """Blocks of readings: homes, seconds of the local clock since 1970, kW."""

    paths: list[Path]
    columns: tuple[str, str, str] | None
    unit: str
    step_minutes: int
    clock: str
    zone: str
    energy: str = ""  # column of the readings, and whether its name says their unit
    says_unit: bool = True
    every: int = 0  # steps that all readings lie on

    def scan(self) -> tuple[list[str], int, int]:
        """Return the names of homes and the first and the last day, as ordinals."""
        found: dict[str, None] = {}
        low, high = np.inf, -np.inf
        for home, seconds, _ in self.blocks(values=False):
            found |= dict.fromkeys(home.unique().to_pylist())
            good = seconds[seconds > _NO_STAMP]
            if len(good):
                low, high = min(low, good.min()), max(high, good.max())
        for nameless in ("", None):
            found.pop(nameless, None)  # type: ignore[arg-type]
        if not found or low > high:
            raise ValueError(
                "readings must hold homes and time stamps, such as 2013-01-31 00:30 (got none in "
                f"{self.paths[0]})"
            )
        epoch = datetime.date(1970, 1, 1).toordinal()
        return sorted(found), epoch + int(low // _DAY), epoch + int(high // _DAY)

    def fill(self, names: list[str], first: int, last: int, counts: Counter[str]) -> np.ndarray:
        """Return readings in kW, ``[H, D, T]`` of 16 bits, NaN where there is none."""
        import pyarrow as pa

        step = 60 * self.step_minutes
        load = np.full((len(names), last - first + 1, _DAY // step), np.nan, np.float16)
        flat = load.reshape(-1)
        known = pa.array(names)
        start = (first - datetime.date(1970, 1, 1).toordinal()) * _DAY
        twice = _repeated_hours(first, last, self.zone)
        factor = 3600.0 / step if self.unit == "kWh" else 1.0
        on_grid = off_grid = 0
        for home, seconds, value in self.blocks():
            row = pa.compute.index_in(home, value_set=known).fill_null(-1).to_numpy()
            nameless = pa.compute.equal(home.fill_null(""), "")
            counts["readings without a home"] += pa.compute.sum(nameless).as_py() or 0
            bad = np.isnan(value)
            counts["readings that are missing or no numbers"] += int((bad & (row >= 0)).sum())
            negative = value < 0.0
            counts["negative readings"] += int((negative & (row >= 0)).sum())
            lost = (seconds == _NO_STAMP) & ~bad
            counts["readings without a time stamp"] += int((lost & (row >= 0)).sum())
            offset = seconds - start
            between = (offset % step != 0) & ~bad & ~lost
            off_grid += int((between & (row >= 0)).sum())
            good = (row >= 0) & ~bad & ~negative & ~lost & ~between
            on_grid += int(good.sum())
            self.every = int(np.gcd.reduce(offset[good] // step, initial=self.every))
            at = row[good] * load[0].size + offset[good] // step
            kw, local = factor * value[good], seconds[good]
            _, one = np.unique(at, return_index=True)
            rest = np.setdiff1d(np.arange(len(at)), one, assume_unique=True)
            for chosen in (one, rest):
                place, new = at[chosen], kw[chosen]
                free = np.isnan(flat[place])
                flat[place[free]] = new[free]
                second = np.isin(local[chosen] // _HOUR, twice) & ~free
                flat[place[second]] = 0.5 * (flat[place[second]] + new[second])
                counts["readings with a stamp that another one has"] += int((~free & ~second).sum())
        counts["readings off the grid of steps"] = off_grid
        if off_grid and off_grid >= on_grid:
            raise ValueError(
                f"step_minutes must be that of the readings (got {self.step_minutes}, and "
                f"{off_grid} of {off_grid + on_grid} readings are between such steps)"
            )
        return load

    def blocks(self, values: bool = True) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        import pyarrow.compute as pc

        for path in self.paths:
            with _readable(path, "readings"):
                for batch, (home, time, energy) in _batches(path, self.columns, self.unit):
                    names = pc.utf8_trim_whitespace(batch[home].cast("string"))
                    if not _unit_of(energy):
                        self.energy, self.says_unit = energy, False
                    seconds = self._local(batch[time])
                    value = _numbers(batch[energy]) if values else np.empty(0)
                    yield names, seconds, value

    def _local(self, column: Any) -> np.ndarray:
        """Return seconds of the local clock; the smallest number where there is no stamp."""
        import pyarrow as pa
        import pyarrow.compute as pc

        utc = self.clock == "utc"
        if pa.types.is_timestamp(column.type):
            utc = utc or column.type.tz is not None
            stamps = column.cast(pa.timestamp("s"), safe=False)
        elif pa.types.is_date(column.type):
            utc, stamps = False, column.cast(pa.timestamp("s"))
        else:
            text = pc.utf8_trim_whitespace(column.cast("string"))
            offset = pc.extract_regex(text, _OFFSET)
            stamps = pc.utf8_slice_codeunits(text, 0, 19)
            stamps = pc.if_else(pc.match_substring_regex(stamps, _STAMP), stamps, None)
            stamps = _stamps(stamps)
            if offset.null_count < len(offset):
                given = np.array([_minutes(o) for o in offset.field(0).to_pylist()])
                seconds = stamps.cast("int64").fill_null(_NO_STAMP).to_numpy()
                seconds = np.where(seconds == _NO_STAMP, seconds, seconds - 60 * given)
                return _to_local(seconds, self.zone)
        seconds = stamps.cast("int64").fill_null(_NO_STAMP).to_numpy()
        return _to_local(seconds, self.zone) if utc else seconds


def _stamps(text: Any) -> Any:
    """Return times, none for days that there are not, such as 30 February."""
    import pyarrow as pa

    try:
        return text.cast(pa.timestamp("s"))
    except pa.ArrowInvalid:
        return pa.array([_stamp(each) for each in text.to_pylist()], pa.timestamp("s"))


def _stamp(text: str | None) -> datetime.datetime | None:
    try:
        return None if text is None else datetime.datetime.fromisoformat(text)
    except ValueError:
        return None


def _minutes(offset: str | None) -> int:
    if not offset or offset == "Z":
        return 0
    sign = -1 if offset[0] == "-" else 1
    return sign * (60 * int(offset[1:3]) + int(offset[-2:]))


def _offset(seconds: int, zone: ZoneInfo) -> int:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).astimezone(zone)
    found = moment.utcoffset()
    return 0 if found is None else int(found.total_seconds())


def _to_local(utc: np.ndarray, zone: str) -> np.ndarray:
    """Return seconds of the local clock, an hour at a time."""
    good = utc > _NO_STAMP
    if not good.any():
        return utc
    hours, inverse = np.unique(utc[good] // _HOUR, return_inverse=True)
    info = ZoneInfo(zone)
    shift = np.array([_offset(int(h) * _HOUR, info) for h in hours])
    out = np.full_like(utc, _NO_STAMP)
    out[good] = utc[good] + shift[inverse]
    return out


def _changes(first: int, last: int, zone: str) -> Iterator[tuple[int, int]]:
    """Yield the local second at which the clock changes, before it does, and by how much."""
    info, epoch = ZoneInfo(zone), datetime.date(1970, 1, 1).toordinal()
    hours = range((first - epoch) * 24 - 24, (last - epoch + 1) * 24 + 24)
    before = _offset(hours.start * _HOUR, info)
    for hour in hours:
        now = _offset(hour * _HOUR, info)
        if now != before:
            yield hour * _HOUR + before, now - before
        before = now


def _repeated_hours(first: int, last: int, zone: str) -> np.ndarray:
    """Return the hours of the local clock that come twice."""
    return np.array(
        [(at + by) // _HOUR for at, by in _changes(first, last, zone) if by < 0], dtype=np.int64
    )


def _fill_clock_changes(
    load: np.ndarray, dates: list[datetime.date], zone: str, step_minutes: int
) -> tuple[int, int]:
    """Fill the hours that the local clock skips by interpolation, in place.

    Return how many are filled, and how many readings are in such hours, where none can be.
    """
    first = dates[0].toordinal()
    epoch = datetime.date(1970, 1, 1).toordinal()
    flat = load.reshape(len(load), -1)
    filled = impossible = 0
    for at, by in _changes(first, dates[-1].toordinal(), zone):
        start = (at - (first - epoch) * _DAY) // (60 * step_minutes)
        number = by // (60 * step_minutes)
        if by <= 0 or start < 1 or start + number >= flat.shape[1]:
            continue
        impossible += int((~np.isnan(flat[:, start : start + number])).sum())
        low, high = flat[:, start - 1], flat[:, start + number]
        filled += int((np.isnan(flat[:, start]) & ~np.isnan(low) & ~np.isnan(high)).sum())
        for k in range(number):
            share = (k + 1) / (number + 1)
            gap = np.isnan(flat[:, start + k])
            flat[gap, start + k] = ((1 - share) * low + share * high)[gap]
    return filled, impossible


@contextmanager
def _readable(path: Path, what: str) -> Iterator[None]:
    """Say of which file it is that something cannot be read."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        said = str(error).partition("\n")[0]
        raise ValueError(f"{what} must be in CSV or Parquet files (got {path}: {said})") from error


def _batches(
    path: Path, columns: tuple[str, str, str] | None, unit: str | None = None
) -> Iterator[tuple[Any, tuple[str, str, str]]]:
    """Yield batches of a file, names without spaces at the ends, and which column is which."""
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    if not path.is_file():
        raise ValueError(f"readings must be files (got {path}, which is none)")
    if path.suffix in (".parquet", ".pq"):
        source: Any = pq.ParquetFile(path).iter_batches(batch_size=_BLOCK // 16)
    else:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline().strip().split(",")
        text = {name.strip('"'): pa.string() for name in header}
        source = csv.open_csv(
            path,
            read_options=csv.ReadOptions(block_size=_BLOCK),
            convert_options=csv.ConvertOptions(column_types=text),
        )
    which: tuple[str, ...] = ()
    for batch in source:
        batch = batch.rename_columns([name.strip() for name in batch.schema.names])
        if not which:
            names = batch.schema.names
            if columns is not None:
                which = tuple(column.strip() for column in columns)
                if lacks := [column for column in which if column not in names]:
                    raise ValueError(f"columns must be those of {path.name}, {names} (got {lacks})")
            else:
                which = tuple(_find(names, what, path) for what in ("home", "time", "energy"))
            says = _unit_of(which[2])
            if unit and says and says != unit.lower():
                raise ValueError(f"unit must be that of the column {which[2]!r} (got {unit!r})")
        yield batch, (which[0], which[1], which[2])


def _unit_of(column: str) -> str:
    """Return the unit that the name of a column says, in small letters, or nothing."""
    says = re.search(r"(?<![a-z])kwh?(?![a-z])", column.lower())
    return says.group() if says else ""


def _find(names: Sequence[str], what: str, path: Any) -> str:
    """Return the name of a column among those that are known for what is looked for."""
    by_small = {name.strip().lower(): name for name in names}
    for known in _KNOWN[what]:
        if known in by_small:
            return by_small[known]
    raise ValueError(
        f"{Path(path).name} must have a column of the {what}, such as {_KNOWN[what][0]!r} "
        f"(got {list(names)})"
    )


def _numbers(column: Any) -> np.ndarray:
    """Return numbers in 64 bits, NaN for all else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(column.type) and not pa.types.is_integer(column.type):
        text = pc.utf8_trim_whitespace(column.cast("string"))
        column = pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None)
    out: np.ndarray = column.cast("float64").to_numpy(zero_copy_only=False).astype(np.float64)
    return out


def _table(path: Path, what: str) -> Any:
    """Return a small table, of names without spaces at the ends."""
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    if not path.is_file():
        raise ValueError(f"{what} must be a file (got {path}, which is none)")
    with _readable(path, what):
        table = pq.read_table(path) if path.suffix in (".parquet", ".pq") else csv.read_csv(path)
    return table.rename_columns([name.strip() for name in table.column_names])


def _fields(
    table: Any, key: str, rows: list[int]
) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, tuple[str, ...]]]:
    """Return the fields of homes, what they are, and the names of categories."""
    import pyarrow as pa

    parts: dict[str, torch.Tensor] = {}
    fields: dict[str, Any] = {}
    categories: dict[str, tuple[str, ...]] = {}
    for name in table.column_names:
        if name == key:
            continue
        column = table[name].combine_chunks().take(pa.array(rows))
        if column.null_count:
            at = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise ValueError(f"homes must have a {name!r} each (got none of home {at})")
        if pa.types.is_floating(column.type):
            parts[name] = torch.tensor(column.to_pylist(), dtype=torch.float32)
            fields[name] = Continuous()
        else:
            values = column.to_pylist()
            values = [value.strip() if isinstance(value, str) else value for value in values]
            kinds = sorted(set(values))
            parts[name] = torch.tensor([kinds.index(value) for value in values])
            fields[name] = Categorical(len(kinds))
            categories[name] = tuple(str(kind) for kind in kinds)
    if not parts:
        raise ValueError(f"homes must have a column beside {key!r} (got none)")
    return parts, fields, categories


def _conditions(
    days: str | PathLike[str] | None, dates: list[datetime.date], zone: str, clock: str
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return conditions of days, NaN where there are none, and their names."""
    if days is None:
        return None, ()
    import pyarrow as pa

    table = _table(Path(days), "days")
    key = _find(table.column_names, "day", days)
    seconds = _Reader([], None, "kWh", 30, clock, zone)._local(table[key].combine_chunks())
    ordinal = seconds // _DAY + datetime.date(1970, 1, 1).toordinal()
    names = [
        name
        for name in table.column_names
        if name != key
        and (pa.types.is_floating(table[name].type) or pa.types.is_integer(table[name].type))
    ]
    if not names:
        raise ValueError(f"days must have a column of numbers beside {key!r} (got none)")
    at = ordinal - dates[0].toordinal()
    inside = (at >= 0) & (at < len(dates))
    if not inside.any():
        raise ValueError(
            f"days must be those of the readings, {dates[0]} to {dates[-1]}, written as these "
            f"(got none of them, {days})"
        )
    found = np.full((len(dates), len(names) + 1), np.nan)
    number = np.bincount(at[inside], minlength=len(dates))
    for k, name in enumerate(names):
        values = _numbers(table[name].combine_chunks())
        total = np.bincount(at[inside], values[inside], minlength=len(dates))
        found[:, k] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    found[:, -1] = [date.weekday() >= 5 for date in dates]
    return found, (*names, "weekend")
