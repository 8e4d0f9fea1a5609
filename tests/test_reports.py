import json

import pytest
import torch

pytest.importorskip("matplotlib")

from matplotlib.image import imread

from compvae_pyg import Dots, Sines
from compvae_pyg.problems import problem_of
from compvae_pyg.reports import write_report

pytestmark = pytest.mark.usefixtures("quick_classifier")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Energy distances of few wholes: they are measured elsewhere."""
    for problem in (Dots, Sines):
        monkeypatch.setattr(problem, "num_draws", 4)


METRICS = """step,stage,kl_w_nats,kl_z_nats,reconstruction_nats,elbo_nats
1,whole,2.0,0.5,100.0,-102.5
2,whole,3.0,0.2,90.0,-93.2
"""


@pytest.mark.parametrize("problem", [Dots(), Sines(num_categories=9)])
def test_all_is_measured_and_drawn(problem, tmp_path, capsys):
    model = problem.build("small")
    assert problem_of(model) == problem or isinstance(problem, Dots)
    assert type(problem_of(model)) is type(problem)
    folder = tmp_path / "new" / "folder"
    report = write_report(model, problem, folder, num_parts=[1, 3], num_wholes=2)
    assert [row.num_parts for row in report.rows] == [1, 3]
    assert set(report.files) == set(folder.iterdir())
    evaluation, *figures = report.files
    assert len(json.loads(evaluation.read_text())["rows"]) == 2
    for figure in figures:
        assert imread(figure)[..., :3].std() > 0.05, figure.name
    assert not (folder / "losses.png").exists()
    # Figures are drawn from samples, which may take a while.
    assert f"figures: {len(figures)} files" in capsys.readouterr().err


def test_losses_are_drawn_where_the_metrics_of_the_training_are(tmp_path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    report = write_report(Sines().build("small"), Sines(), tmp_path, num_parts=[1], num_wholes=2)
    assert tmp_path / "losses.png" in report.files
    assert imread(tmp_path / "losses.png")[..., :3].std() > 0.05


@pytest.mark.slow
def test_a_report_depends_on_its_arguments_alone(tmp_path):
    model = Sines().build("small")
    for name in ("first", "second"):
        torch.rand(3)
        write_report(model, Sines(), tmp_path / name, num_parts=[1], num_wholes=2, seed=1)
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes(), file.name


def test_no_problem_and_unknown_ones_are_refused(refuses, tmp_path):
    model = Dots().build("small")
    with refuses(TypeError, "problem"):
        write_report(model, "dots", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    model.config = {"problem": "nowhere", "parameters": {}, "options": {}}
    with refuses(ValueError, "nowhere"):
        problem_of(model)
    model.config = None
    with refuses(ValueError, "problem"):
        problem_of(model)
