"""Readings of meters become loads of homes on days; what does not fit is left out and counted."""

import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from compvae_pyg.problems.households import Households, read_meters

LCL = "LCLid,stdorToU,DateTime,KWH/hh (per half hour) ,Acorn"


def stamps(first, last, minutes=30):
    """Time stamps in UTC from one moment to another, without the last."""
    step = datetime.timedelta(minutes=minutes)
    moment, end = (datetime.datetime.fromisoformat(t) for t in (first, last))
    while moment < end:
        yield moment
        moment += step


def write(path, rows, header=LCL):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def lcl(home, moment, value):
    return f"{home},Std,{moment:%Y-%m-%d %H:%M:%S}.0000000, {value} ,ACORN-A"


def test_files_of_low_carbon_london_are_read_as_they_are(tmp_path):
    rows, values = [], np.random.default_rng(0).uniform(0.0, 1.0, (2, 3, 48)).round(3)
    for h, home in enumerate(("MAC000002", "MAC000003")):
        for k, moment in enumerate(stamps("2013-01-07T00:00", "2013-01-10T00:00")):
            rows.append(lcl(home, moment, values[h, k // 48, k % 48]))
    rows.append(rows[5])  # a stamp twice
    rows.insert(0, lcl("MAC000002", datetime.datetime(2013, 1, 9, 12, 0, 44), "Null"))
    rows[60] = lcl("MAC000002", datetime.datetime(2013, 1, 8, 5, 30), "Null")
    rows[200] = lcl("MAC000003", datetime.datetime(2013, 1, 8, 3, 30), "-1.5")
    pool = read_meters(write(tmp_path / "block_0.csv", rows), zone="Europe/London")
    assert pool.load.shape == (2, 2, 48) and pool.step_hours == 0.5
    assert pool.days == ("2013-01-07", "2013-01-09")
    expected = torch.tensor(2.0 * values).half()  # kW
    got = pool.load.float()
    torch.testing.assert_close(got, expected[:, [0, 2]].float(), rtol=0, atol=2e-3)
    notes = " ".join(pool.notes)
    assert "2 readings that are missing" in notes
    assert "1 negative" in notes and "1 readings with a stamp" in notes
    assert "2 days of a home" in notes


@pytest.mark.parametrize("form", ["utc", "offset", "local"])
def test_days_of_clock_changes_have_as_many_steps_as_all_others(tmp_path, form):
    # In London the clock skips 01:00-02:00 on 31 March 2013 and repeats it on 27 October.
    for first, last, number in (
        ("2013-03-31T00:00", "2013-03-31T23:00", 46),
        ("2013-10-26T23:00", "2013-10-28T00:00", 50),
    ):
        moments = list(stamps(first, last))
        assert len(moments) == number
        rows = []
        for k, moment in enumerate(moments):
            zone = datetime.timezone.utc
            local = moment.replace(tzinfo=zone).astimezone(ZoneInfo("Europe/London"))
            text = {
                "utc": f"{moment:%Y-%m-%d %H:%M}:00",
                "offset": local.isoformat(),
                "local": f"{local:%Y-%m-%d %H:%M}:00",
            }[form]
            rows.append(f"a,{text},{1.0 + k}")
        # The days around it, whole, so that what is interpolated has neighbours.
        day = moments[len(moments) // 2].date()
        for shift in (-1, 1):
            other = day + datetime.timedelta(days=shift)
            for k in range(48):
                local = datetime.datetime.combine(other, datetime.time()) + k * datetime.timedelta(
                    minutes=30
                )
                aware = local.replace(tzinfo=ZoneInfo("Europe/London"))
                utc = aware.astimezone(datetime.timezone.utc)
                text = {
                    "utc": f"{utc:%Y-%m-%d %H:%M}:00",
                    "offset": aware.isoformat(),
                    "local": f"{local:%Y-%m-%d %H:%M}:00",
                }[form]
                rows.append(f"a,{text},0.5")
        file = write(tmp_path / f"{number}.csv", rows, "home,timestamp,kWh")
        clock = "utc" if form == "utc" else "local"
        pool = read_meters(file, zone="Europe/London", clock=clock)
        assert len(pool.days) == 3 and pool.days[1] == day.isoformat()
        assert any("1 days of a home with an hour" in n for n in pool.notes) == (number == 46)
        load = pool.load[0, 1].float() / 2.0
        if number == 46:
            expected = torch.tensor([1.0, 2.0, 2.0 + 1 / 3, 2.0 + 2 / 3, *range(3, 47)])
        else:
            twice = [(3.0 + 5.0) / 2, (4.0 + 6.0) / 2]
            expected = torch.tensor([1.0, 2.0, *twice, *range(7, 51)])
        torch.testing.assert_close(load, expected, rtol=2e-3, atol=0)


def table(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def hourly(homes, days, start="2024-01-01"):
    moments = [np.datetime64(start) + np.timedelta64(h, "h") for h in range(24 * days)]
    value = np.random.default_rng(0).uniform(0.1, 2.0, (homes, len(moments)))
    columns = {
        "home": np.repeat([f"h{k}" for k in range(homes)], len(moments)),
        "timestamp": np.tile(np.array(moments, "datetime64[s]"), homes),
        "kW": value.ravel(),
    }
    return columns, value.reshape(homes, days, 24)


def test_tables_of_homes_and_weather_become_fields_and_conditions(tmp_path):
    columns, value = hourly(4, 5)
    readings = table(tmp_path / "readings.parquet", **columns)
    homes = table(
        tmp_path / "homes.parquet",
        home=["h3", "h0", "h1", "h9"],
        tariff=["b", "a", "b", "a"],
        rooms=[10, 2, 3, 1],
        area=[90.0, 40.0, 60.0, 10.0],
    )
    weather = [datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=6 * k) for k in range(16)]
    days = table(tmp_path / "days.parquet", timestamp=weather, temperature=np.arange(16.0))
    pool = read_meters(readings, homes, days, unit="kW", step_minutes=60)
    assert pool.parts["tariff"].tolist() == [0, 1, 1] and pool.parts["area"].tolist() == [
        40,
        60,
        90,
    ]
    assert pool.categories == {"tariff": ("a", "b"), "rooms": ("2", "3", "10")}
    assert "rooms: 0 = 2, 1 = 3, 2 = 10" in pool.notes and pool.parts["rooms"].tolist() == [0, 1, 2]
    assert "homes=3" in repr(pool) and len(repr(pool)) < 200
    assert pool.names == ("temperature", "weekend")
    assert pool.conditions.tolist() == [[1.5, 0.0], [5.5, 0.0], [9.5, 0.0], [13.5, 0.0]]
    torch.testing.assert_close(
        pool.load.float(), torch.tensor(value[[0, 1, 3], :4]).float(), rtol=1e-3, atol=0
    )
    notes = " ".join(pool.notes)
    assert "1 homes that are not in the table" in notes and "1 homes of the table" in notes
    assert "1 days without conditions" in notes
    problem = Households(pool)
    data = problem.sample(torch.tensor([1, 3]), torch.Generator().manual_seed(0))
    assert data.whole.shape == (2, 24) and data.context.shape == (2, 2)
    assert problem.build("small").generate(data).shape == (2, 24)


def test_blocks_of_files_give_what_one_block_gives(tmp_path, monkeypatch):
    columns, value = hourly(3, 4)
    rows = [f"{h},{t},{v}" for h, t, v in zip(*columns.values(), strict=True)]
    half = len(rows) // 2
    files = [
        write(tmp_path / "a.csv", rows[:half], "home,timestamp,kW"),
        write(tmp_path / "b.csv", rows[half:], "home,timestamp,kW"),
    ]
    monkeypatch.setattr("compvae_pyg.problems.households.meters._BLOCK", 1024)
    pool = read_meters(files, unit="kW", step_minutes=60)
    torch.testing.assert_close(pool.load.float(), torch.tensor(value).float(), rtol=1e-3, atol=0)


def test_what_cannot_be_read_is_said_in_a_line(tmp_path, refuses):
    columns, _ = hourly(1, 1)
    readings = table(tmp_path / "r.parquet", **columns)
    with refuses(ValueError, "unit"):
        read_meters(readings, unit="kWh", step_minutes=60)
    with refuses(ValueError, "zone"):
        read_meters(readings, unit="kW", zone="Atlantis")
    with refuses(ValueError, "step_minutes"):
        read_meters(readings, unit="kW", step_minutes=7)
    with refuses(ValueError, "files"):
        read_meters(tmp_path / "none.csv")
    with refuses(ValueError, "home"):
        read_meters(write(tmp_path / "x.csv", ["1,2"], "who,when"))
    with refuses(ValueError, "columns"):
        read_meters(readings, unit="kW", columns=("home", "when", "kW"))
    with refuses(ValueError, "complete day"):  # half hours are asked for, hours are there
        read_meters(readings, unit="kW", step_minutes=30)
    with refuses(ValueError, "step_minutes"):  # half of the readings would be halved
        read_meters(readings, unit="kW", step_minutes=120)
    homes = table(tmp_path / "homes.parquet", home=["other"], area=[1.0])
    with refuses(ValueError, "homes"):
        read_meters(readings, homes, unit="kW", step_minutes=60)
    twice = table(tmp_path / "twice.parquet", home=["h0", "h0"], area=[1.0, 2.0])
    with refuses(ValueError, "homes"):
        read_meters(readings, twice, unit="kW", step_minutes=60)
    days = table(tmp_path / "days.parquet", date=[datetime.date(2023, 1, 1)], temperature=[1.0])
    with refuses(ValueError, "days"):
        read_meters(readings, None, days, unit="kW", step_minutes=60)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "ragged.csv").write_text("home,timestamp,kWh\na,2024-01-01 00:00\n")
    for name in ("empty", "ragged"):
        with refuses(ValueError, "readings"):
            read_meters(tmp_path / f"{name}.csv")


def test_a_clock_that_is_not_known_leaves_out_the_day_of_23_hours(tmp_path):
    rows = [lcl("a", t, 0.5) for t in stamps("2013-03-30T00:00", "2013-04-02T00:00")]
    skipped = [row for row in rows if "2013-03-31 01:" not in row]
    pool = read_meters(write(tmp_path / "local.csv", skipped))  # as if it were UTC
    assert pool.days == ("2013-03-30", "2013-04-01")
    assert any("1 days of a home with a reading missing" in note for note in pool.notes)


def test_readings_in_an_hour_that_the_clock_skips_are_warned_of(tmp_path):
    rows = [lcl("a", t, 0.5) for t in stamps("2013-03-30T00:00", "2013-04-02T00:00")]
    file = write(tmp_path / "utc.csv", rows)
    with pytest.warns(UserWarning, match="clock .*utc.* 2 readings"):
        read_meters(file, zone="Europe/London")
    read_meters(file, zone="Europe/London", clock="utc")  # warnings are errors


@pytest.mark.parametrize("offset", ["", "+01:00"])
def test_unreadable_stamps_and_readings_without_a_home_are_counted(tmp_path, offset):
    rows = [
        f"a,{t.isoformat()}{offset},0.5" for t in stamps("2013-01-08T00:00", "2013-01-09T00:00")
    ]
    rows += [
        f"a,2013-13-45T00:00{offset},0.5",
        f"a,2013-02-30T00:00{offset},0.5",
        f"a,noon{offset},0.5",
        f",{rows[0][2:]}",
    ]
    pool = read_meters(write(tmp_path / "r.csv", rows, "home,timestamp,kWh"), zone="Europe/Berlin")
    assert pool.load.shape == (1, 1, 48) and pool.categories == {"home": ("a",)}
    assert "left out: 3 readings without a time stamp" in pool.notes
    assert "left out: 1 readings without a home" in pool.notes


def test_dates_are_those_of_the_local_clock(tmp_path):
    columns, _ = hourly(1, 3)
    dates = [datetime.date(2024, 1, k) for k in (1, 2, 3)]
    days = table(tmp_path / "days.parquet", date=dates, temperature=[1.0, 2.0, 3.0])
    readings = table(tmp_path / "r.parquet", **columns)
    how = {"unit": "kW", "step_minutes": 60, "zone": "America/New_York", "clock": "utc"}
    pool = read_meters(readings, None, days, **how)
    assert pool.days == ("2024-01-01", "2024-01-02")
    assert pool.conditions[:, 0].tolist() == [1.0, 2.0]


def test_homes_without_readings_are_counted_and_refused_in_a_pool(tmp_path, refuses):
    columns, _ = hourly(2, 2)
    columns["kW"][48:] = np.nan
    homes = table(tmp_path / "h.parquet", home=["h0", "h1", "h7"], area=[1.0, 2.0, 3.0])
    pool = read_meters(table(tmp_path / "r.parquet", **columns), homes, unit="kW", step_minutes=60)
    assert pool.load.shape == (1, 2, 24)
    notes = " ".join(pool.notes)
    assert "1 homes without a complete day" in notes and "1 homes of the table without" in notes


def test_units_that_no_column_says_are_warned_of_with_what_they_make(tmp_path):
    columns, value = hourly(1, 2)
    columns["load"] = columns.pop("kW")
    readings = table(tmp_path / "r.parquet", **columns)
    with pytest.warns(UserWarning, match="'load' is taken for kWh in 60 minutes.*kWh a year"):
        pool = read_meters(readings, step_minutes=60)
    assert pool.notes[-1].startswith(f"mean load: {value.mean():.3g} kW a home")
