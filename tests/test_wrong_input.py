"""Public entry points with one wrong argument: an error of one line that names it, from here."""

import re
import traceback
from pathlib import Path

import pytest
import torch
import torch_geometric
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wrong_input import at_random, layers, models, problems, tools, training
from wrong_input.values import Entry, cases

import compvae_pyg

PACKAGE = str(Path(compvae_pyg.__file__).parent)
PYG = str(Path(torch_geometric.__file__).parent)


TABLES = (layers, models, problems, tools, training)


def fault(entry: Entry, argument: str, label: str) -> str | None:
    """Call with one wrong argument; return what is wrong with what happens."""
    value = entry.wrong[argument][label](entry.arguments.get(argument))
    try:
        result = entry.call(**{**entry.arguments, argument: value})
    except (ValueError, TypeError, IndexError) as error:
        text = str(error)
        innermost = traceback.extract_tb(error.__traceback__)[-1].filename
        # What does not fit may be told of either of the two.
        fitted = {"batch_size": ("batch", "whole"), "name": ("schedule",)}.get(argument, ())
        names = (argument, *fitted, *entry.also.get(argument, ()))
        if "\n" in text:
            return f"an error of several lines: {text!r}"
        if not innermost.startswith((PACKAGE, PYG)):
            return f"an error from {innermost}: {text}"
        if not any(re.search(rf"\b{name}\b", text) for name in names):
            return f"an error that does not name it: {text}"
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"no error, but {type(result).__name__}"


SIZES = [3, 1, 2]
# Which table has which entry; no two have the same.
TABLE_OF = {name: table for table in TABLES for name in table.entries(SIZES)}
NAMES = sorted(TABLE_OF)
ALL_CASES = [
    (name, *case)
    for table in TABLES
    for name, entry in table.entries(SIZES).items()
    for case in cases(entry)
]


@pytest.mark.parametrize("name", NAMES)
def test_valid_arguments_are_taken(name):
    entry = TABLE_OF[name].entries(SIZES)[name]
    entry.call(**entry.arguments)


@pytest.mark.parametrize("name", NAMES)
def test_each_wrong_argument_is_named_in_one_line(name):
    entry = TABLE_OF[name].entries(SIZES)[name]
    faults = {case: fault(entry, *case) for case in cases(entry)}
    assert not {case: text for case, text in faults.items() if text}


@pytest.mark.slow
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=6).filter(lambda s: sum(s) >= 3),
    choice=st.sampled_from(ALL_CASES),
    seed=st.integers(0, 2**32 - 1),
)
def test_wrong_arguments_are_named_in_one_line_whatever_the_sizes(sizes, choice, seed):
    torch.manual_seed(seed)
    name, argument, label = choice
    assert fault(TABLE_OF[name].entries(sizes)[name], argument, label) is None


def test_the_cases_are_many():
    assert len(ALL_CASES) > 1900
    assert len(NAMES) == sum(len(table.entries(SIZES)) for table in TABLES)


def unclear(number, seed, folder, monkeypatch):
    """Share of calls drawn at random that end in an error which names no argument of theirs."""
    monkeypatch.chdir(folder)
    counts, faults = at_random.report(number, seed)
    assert counts.total() == number
    assert counts["clear"] > number / 2
    return counts["unclear"] / number, faults


def test_few_calls_at_random_end_unclear(tmp_path, monkeypatch):
    share, faults = unclear(200, 0, tmp_path, monkeypatch)
    assert share <= 0.05, faults


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_of_many_calls_at_random_few_end_unclear(tmp_path, monkeypatch, seed):
    share, faults = unclear(2000, seed, tmp_path, monkeypatch)
    assert share <= 0.05, faults
