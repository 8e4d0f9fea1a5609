"""Figures in the course of training."""

import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from compvae_pyg import Dots
from compvae_pyg.pictures import Pictures
from compvae_pyg.training import Schedule, Stage, TrainConfig, train


class Drawn(Dots):
    """Dots whose one figure says at which weights it was drawn."""

    def __init__(self):
        self.bias = []

    def figures(self, model, *, seed=0):
        torch.rand(3)
        self.bias.append(model.generator.decoder.net.lin3.bias.detach().clone())
        return {"drawn": Figure(figsize=(1.0, 1.0))}


def trained(folder, **how):
    stages = (Stage("one", 0.5, inferred="none"), Stage("two", 0.25), Stage("three", 0.25))
    schedule, problem = Schedule(4, batch_size=2, stages=stages), Drawn()
    torch.manual_seed(0)
    config = TrainConfig(output=folder, progress=False)
    model = problem.build("small", hidden_channels=8)
    pictures = [Pictures(problem, folder, **how)] if how else []
    return train(Dots(), model, schedule, config, callbacks=pictures), problem


def test_figures_are_drawn_early_and_where_a_stage_ends_and_change_nothing(tmp_path, capsys):
    for name in ("early", "late", "none"):
        (tmp_path / name).mkdir()
    early, problem = trained(tmp_path / "early", after=0.0)
    assert len(problem.bias) == 3  # after steps 1, 2 and 3, and not at the end
    assert not torch.equal(problem.bias[0], problem.bias[2])
    lines = [line for line in capsys.readouterr().err.splitlines() if "drawn.png" in line]
    assert [line.split(",")[0] for line in lines] == ["step 1", "step 2", "step 3"]
    assert (tmp_path / "early" / "drawn.png").exists()
    late, problem = trained(tmp_path / "late", after=1e6)
    assert len(problem.bias) == 2
    none, _ = trained(tmp_path / "none")
    for other in (early, late):
        for a, b in zip(none.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)


def test_what_is_not_a_problem_is_refused(refuses, tmp_path):
    with refuses(TypeError, "problem"):
        Pictures("dots", tmp_path)
    with refuses(TypeError, "after"):
        Pictures(Dots(), tmp_path, after="soon")
