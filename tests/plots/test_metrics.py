import numpy as np
import pytest

pytest.importorskip("matplotlib")

from compvae_pyg import plots


def test_metrics_are_read_as_numbers_and_strings_by_column(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,stage,rmse\n50,labels,0.25\n100,parts,\n150,parts,nan\n")
    found = plots.read_metrics(path)
    np.testing.assert_array_equal(found["step"], [50.0, 100.0, 150.0])
    np.testing.assert_array_equal(found["rmse"], [0.25, np.nan, np.nan])
    assert found["stage"].tolist() == ["labels", "parts", "parts"]


def test_a_broken_row_is_refused_by_its_line(tmp_path, refuses):
    path = tmp_path / "metrics.csv"
    path.write_text("step,stage\n50,labels\n100\n")
    with refuses(ValueError, "line 3"):
        plots.read_metrics(path)


def test_a_file_without_rows_has_its_columns(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,stage\n")
    assert {name: len(values) for name, values in plots.read_metrics(path).items()} == {
        "step": 0,
        "stage": 0,
    }
