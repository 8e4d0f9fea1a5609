"""What is read of Parquet tables, and what is refused."""

import copy
import os
import pickle

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from compvae_pyg.data import ParquetWholes

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def read(path, **options):
    return ParquetWholes(path / "wholes.parquet", path / "parts.parquet", **options)


def equal(data, wholes, parts, index):
    rows = np.flatnonzero(parts["id"] == wholes["id"][index])
    return (
        data.num_nodes == len(rows)
        and data.kind.tolist() == parts["kind"][rows].tolist()
        and data["size"].tolist() == parts["size"][rows].tolist()
        and data.whole.tolist() == [list(wholes["whole"][index])]
    )


def test_wholes_have_the_rows_of_their_tables(folder, tables):
    wholes, parts = tables(40)
    data = read(folder)
    assert (len(data), data.fields, data.event_shape) == (40, ("kind", "size"), (4,))
    assert all(equal(data[index], wholes, parts, index) for index in range(40))
    assert 0 in data.sizes  # an empty set
    assert equal(data[-1], wholes, parts, 39)
    order = np.random.default_rng(1).permutation(40)
    batch = data.batch(order)
    assert all(equal(batch[i], wholes, parts, index) for i, index in enumerate(order))
    assert (batch.kind.dtype, batch["size"].dtype) == (torch.int64, torch.float32)


@pytest.mark.parametrize(("table", "column"), [("wholes", "whole"), ("parts", "size")])
def test_a_digest_depends_on_each_number_and_not_on_the_pieces(
    tmp_path, tables, write, monkeypatch, table, column
):
    both = dict(zip(("wholes", "parts"), tables(40), strict=True))
    digests = read(write(tmp_path, *both.values())).digests
    monkeypatch.setattr("compvae_pyg.data.parquet._ROWS", 3)
    assert read(write(tmp_path, *both.values())).digests == digests
    changed = copy.deepcopy(both)
    if column == "whole":
        changed[table][column][7] = [*changed[table][column][7][:-1], 0.123]
    else:
        changed[table][column][7] += 1
    found = read(write(tmp_path, *changed.values())).digests
    assert {name for name in digests if digests[name] != found[name]} == {column}


def test_a_plain_loader_takes_them(folder):
    data = read(folder)
    loader = DataLoader(data, batch_size=7, num_workers=2)
    assert torch.equal(torch.cat([b.whole for b in loader]), data.batch(np.arange(40)).whole)


def test_tables_may_be_folders_and_pieces_and_ids_strings(tmp_path, tables, monkeypatch):
    wholes, parts = tables(40)
    names = {old: f"home {old}" for old in wholes["id"].tolist()}
    for name, columns in (("wholes", wholes), ("parts", parts)):
        table = pa.table({**columns, "id": [names[old] for old in columns["id"].tolist()]})
        (tmp_path / f"{name}.parquet").mkdir()
        for number, start in enumerate(range(0, len(table), 13)):
            file = tmp_path / f"{name}.parquet" / f"part-{number:03}.parquet"
            pq.write_table(table[start : start + 13], file)
    monkeypatch.setattr("compvae_pyg.data.parquet._ROWS", 3)
    data = read(tmp_path)
    assert all(equal(data[index], wholes, parts, index) for index in range(40))
    assert data.column("day").to_pylist() == wholes["day"]


@pytest.mark.parametrize("kind", ["nested", "flat", "columns", "fixed"])
def test_wholes_may_be_nested_lists_flat_ones_or_columns(tmp_path, write, kind):
    image = torch.arange(12.0).view(2, 2, 3)
    parts = {"id": [1], "on": [True], "place": [[1.0, 2.0]]}
    options = {}
    if kind == "columns":
        columns = {f"c{i}": image.flatten(1)[:, i].tolist() for i in range(6)}
        options = {"whole": list(columns), "event_shape": (2, 3)}
    elif kind == "nested":
        columns = {"whole": image.tolist()}
    else:
        columns, options = {"whole": image.flatten(1).tolist()}, {"event_shape": (2, 3)}
        if kind == "fixed":
            columns["whole"] = pa.array(columns["whole"], pa.list_(pa.float64(), 6))
    data = read(write(tmp_path, {"id": [1, 2], **columns}, parts), **options)
    assert torch.equal(data.batch(np.arange(2)).whole, image)
    assert data[0].place.shape == (1, 2) and data[0].on.dtype == torch.bool
    assert data[1].place.shape == (0, 2)


def test_the_unpacked_files_are_removed_in_the_end_and_travel_by_name(folder, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    data = read(folder, folder=scratch)
    assert len(os.listdir(scratch)) == 1
    message = pickle.dumps(data)
    assert len(message) < 2000
    for twin in (pickle.loads(message), copy.deepcopy(data)):
        assert torch.equal(twin[3].whole, data[3].whole)
        del twin
    assert len(os.listdir(scratch)) == 1
    del data
    assert not os.listdir(scratch)


def without(columns, name):
    return {key: value for key, value in columns.items() if key != name}


WHOLES = {"id": [7, 8, 9], "day": ["a", "b", "b"], "whole": [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]}
PARTS = {"id": [7, 7, 9], "kind": [0, 2, 1], "size": [1.0, 2.0, 3.0]}
BAD = {
    "no id of the wholes": (without(WHOLES, "id"), PARTS, ValueError, "id"),
    "no id of the parts": (WHOLES, without(PARTS, "id"), ValueError, "id"),
    "no wholes": (without(WHOLES, "whole"), PARTS, ValueError, "whole"),
    "a part without its whole": (WHOLES, {**PARTS, "id": [7, 8, 10]}, ValueError, "10"),
    "parts in another order": (WHOLES, {**PARTS, "id": [7, 9, 8]}, ValueError, "order"),
    "parts of a whole apart": (WHOLES, {**PARTS, "id": [7, 9, 7]}, ValueError, "order"),
    "a whole twice": ({**WHOLES, "id": [7, 8, 8]}, PARTS, ValueError, "twice"),
    "ids of two types": (WHOLES, {**PARTS, "id": ["a", "b", "c"]}, ValueError, "id"),
    "an id missing": ({**WHOLES, "id": [7, None, 9]}, PARTS, ValueError, "id"),
    "an owner missing": (WHOLES, {**PARTS, "id": [7, None, 9]}, ValueError, "id"),
    "a field missing": (WHOLES, {**PARTS, "size": [1.0, None, 3.0]}, ValueError, "size"),
    "a field not finite": (WHOLES, {**PARTS, "size": [1.0, np.nan, 3.0]}, ValueError, "size"),
    "a whole missing": (
        {**WHOLES, "whole": [[0.0, 1.0], None, [4.0, 5.0]]},
        PARTS,
        ValueError,
        "whole",
    ),
    "a number missing": (
        {**WHOLES, "whole": [[0.0, 1.0], [2.0, None], [4.0, 5.0]]},
        PARTS,
        ValueError,
        "whole",
    ),
    "lengths": ({**WHOLES, "whole": [[0.0, 1.0], [2.0], [4.0, 5.0]]}, PARTS, ValueError, "whole"),
    "strings": (WHOLES, {**PARTS, "kind": ["a", "b", "c"]}, TypeError, "kind"),
    "no rows": ({n: v[:0] for n, v in WHOLES.items()}, PARTS, ValueError, "wholes"),
    "no fields": (WHOLES, {"id": [7, 7, 9]}, ValueError, "fields"),
    "a name of PyG's": (WHOLES, {**PARTS, "time_index": [0, 1, 2]}, ValueError, "time_index"),
}


@pytest.mark.parametrize("name", BAD)
def test_tables_that_do_not_fit_are_refused(tmp_path, write, refuses, name):
    wholes, parts, error, word = BAD[name]
    (tmp_path / "scratch").mkdir()
    with refuses(error, word):
        read(write(tmp_path, wholes, parts), folder=tmp_path / "scratch")
    assert not os.listdir(tmp_path / "scratch")


@pytest.mark.parametrize("name", ["whole", "kind"])
def test_lists_that_differ_from_piece_to_piece_are_refused(tmp_path, write, refuses, name):
    wholes = {**WHOLES, "whole": [[1.0], [1.0], [1.0, 2.0]]} if name == "whole" else WHOLES
    parts = {**PARTS, "kind": [[1], [1], [1, 2]]} if name == "kind" else PARTS
    with pytest.MonkeyPatch.context() as patch, refuses(ValueError, name):
        patch.setattr("compvae_pyg.data.parquet._ROWS", 2)
        read(write(tmp_path, wholes, parts))


def test_the_row_is_named(tmp_path, write):
    parts = {"id": [7] * 9, "kind": [0] * 9, "size": [[1.0, 2.0]] * 8 + [[1.0, None]]}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ValueError, match="in row 8"):
        patch.setattr("compvae_pyg.data.parquet._ROWS", 4)
        read(write(tmp_path, WHOLES, parts))


def test_arguments_that_do_not_fit_are_refused(tmp_path, folder, refuses):
    with refuses(FileNotFoundError, "wholes"):
        read(tmp_path / "elsewhere")
    with refuses(FileNotFoundError, "parts"):
        ParquetWholes(folder / "wholes.parquet", tmp_path)
    with refuses(TypeError, "wholes"):
        ParquetWholes(3, folder)
    with refuses(ValueError, "colour"):
        read(folder, fields=["colour"])
    with refuses(ValueError, "homes"):
        read(folder, whole=["homes"])
    with refuses(ValueError, "event_shape"):
        read(folder, event_shape=(3,))
    with refuses(TypeError, "fields"):
        read(folder, fields="kind")
    with refuses(ValueError, "city"):
        read(folder).column("city")
    with refuses(IndexError, "index"):
        read(folder)[40]
    (tmp_path / "wholes.parquet").write_text("no table")
    (tmp_path / "parts.parquet").write_text("no table")
    with refuses(ValueError, "Parquet"):
        read(tmp_path)


def test_without_pyarrow_the_extra_is_named(folder, monkeypatch, refuses):
    monkeypatch.setattr("compvae_pyg.data.parquet.find_spec", lambda name: None)
    with refuses(ImportError, "data"):
        read(folder)
