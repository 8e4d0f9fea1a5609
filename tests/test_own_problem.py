"""A problem of one's own touches one file: it is trained, evaluated, drawn, saved and loaded."""

import importlib.util
import inspect
import json
import sys

import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

from matplotlib.image import imread

from compvae_pyg import CompVAE
from compvae_pyg.command_line import one_line_errors
from compvae_pyg.evaluation import evaluate, format_table
from compvae_pyg.problems import problem_of
from compvae_pyg.reports import write_report
from compvae_pyg.training import Schedule, StoredData, TrainConfig, train

pytestmark = pytest.mark.usefixtures("quick_classifier")

HOMES = '''
import torch
from matplotlib.figure import Figure

from compvae_pyg import Problem
from compvae_pyg.networks import Categorical, build_curves
from compvae_pyg.nn import pack
from compvae_pyg.problems import Quantity, packed_batch


def build_homes(w_channels: int = 8):
    fields = {"kind": Categorical(3)}
    return build_curves(fields=fields, length=12, w_channels=w_channels, hidden_channels=16)


class Homes(Problem):
    """Loads of homes, [12]; a part is an appliance of one of three kinds."""

    name, part_fields, intrinsic_fields, event_shape = "homes", ("kind",), ("start",), (12,)
    presets = {"small": build_homes}
    training = {"num_steps": 6, "batch_size": 8, "initial_rate": 1e-3}
    max_parts, evaluated_parts, num_draws = 3, (1, 2, 4), 4
    quantities = {"peak": Quantity("peak (ground truth)", ".2f", "peak", "ratio of peaks")}

    def __init__(self, power: float = 2.0):
        self.power = power

    def sample(self, num_parts, generator=None):
        batch, _ = pack(num_parts)
        kind = torch.randint(3, batch.shape, generator=generator)
        start = self.starts(kind, generator)
        whole = self.render(kind, start, batch, len(num_parts))
        return packed_batch({"kind": kind, "start": start}, whole, num_parts)

    def starts(self, kind, generator=None):
        return 3.0 + 3.0 * kind + torch.randn(kind.shape, generator=generator)

    def draw(self, kind, batch, batch_size, generator=None):
        return self.render(kind, self.starts(kind, generator), batch, batch_size)

    def render(self, kind, start, batch, batch_size):
        load = self.power * torch.exp(-(torch.arange(12.0) - start.unsqueeze(1)).square())
        return torch.zeros(batch_size, 12).index_add(0, batch, load)

    def measure(self, whole, parts):
        return {"peak": whole.amax(dim=1)}

    def figures(self, model, *, seed=0):
        figure = Figure()
        figure.subplots().plot(model.generate({"kind": torch.tensor([0, 2])})[0].detach())
        return {"home": figure}
'''


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """The problem's class, from the one file that it is."""
    path = tmp_path_factory.mktemp("own") / "homes.py"
    path.write_text(HOMES)
    spec = importlib.util.spec_from_file_location("homes", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["homes"] = module
    spec.loader.exec_module(module)
    yield module.Homes
    del sys.modules["homes"]


@pytest.fixture(scope="module")
def trained(homes, tmp_path_factory):
    """A trained model, in its folder, and its problem."""
    problem, folder = homes(power=3.0), tmp_path_factory.mktemp("run")
    config = TrainConfig(output=folder, progress=False, log_every=2)
    model = train(problem, problem.build("small", w_channels=6), Schedule.of(problem), config)
    model.save_pretrained(folder)
    return problem, model, folder


FEW = {"num_wholes": 12, "num_classified": 8}


def test_the_problem_takes_60_lines():
    assert len(HOMES.strip().splitlines()) <= 60


def test_it_is_trained_saved_and_loaded_with_its_parameters(trained, homes):
    problem, model, folder = trained
    loaded = CompVAE.from_pretrained(folder)
    state = loaded.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert loaded.config["preset"] == "small" and loaded.config["options"] == {"w_channels": 6}
    found = problem_of(loaded)
    assert isinstance(found, homes) and found.power == problem.power == 3.0


def test_it_is_evaluated_as_any_other(trained):
    problem, model, _ = trained
    rows = evaluate(model, problem, **FEW)
    assert [row.num_parts for row in rows] == [1, 2, 4]
    for name in ("peak", "marginal_energy_distance", "mmd", "classifier_accuracy", "spread"):
        assert {f"true_{name}", f"generated_{name}"} <= rows[0].estimates.keys()
    assert rows[0].peak_ratio.mean == rows[0].generated_peak.mean / rows[0].true_peak.mean
    assert rows[0].true_sum_energy_distance.mean >= 0.0 and rows[0].num_classified == 8
    head = [cell.strip() for cell in format_table(rows).splitlines()[0].split("|")]
    assert head[1:4] == ["K", "peak (ground truth)", "ratio"]
    assert {"C2ST (oracle)", "MMD (oracle)", "ELBO"} <= {*head}


def test_all_is_drawn_and_written(trained):
    problem, model, folder = trained
    report = write_report(model, problem, folder, **FEW)
    names = {"evaluation.json", "home.png", "quality.png", "energy_distances.png", "losses.png"}
    assert {file.name for file in report.files} == names
    for file in report.files[1:]:
        assert imread(file)[..., :3].std() > 0.03, file.name
    rows = json.loads((folder / "evaluation.json").read_text())["rows"]
    assert [row["num_parts"] for row in rows] == [1, 2, 4]


def test_the_program_evaluates_it_from_its_file(trained, homes, load_script, tmp_path):
    example, (_, _, folder) = load_script("examples/evaluate.py"), trained
    options = {"output": tmp_path, "num_parts": (2,), "num_wholes": 4, "device": "cpu"}
    file = inspect.getfile(homes)
    example.main(example.Options(str(folder), f"{file}:Homes", **options))
    assert (tmp_path / "home.png").exists()
    for wrong in ("nowhere.py:Homes", f"{file}:Figure"):
        with pytest.raises(SystemExit) as stop, one_line_errors():
            example.main(example.Options(str(folder), wrong, **options))
        assert str(stop.value).startswith("error: ") and "\n" not in str(stop.value)


def test_stored_wholes_are_evaluated_on_their_test_split(trained, tmp_path):
    problem, model, _ = trained
    wholes = problem.sample(torch.arange(120) % 3 + 1).to_data_list()
    data = StoredData(wholes, fractions=(0.5, 0.0, 0.5), batch_size=8)
    data.fields = data.wholes.fields = ("kind",)
    stored = data.problem()
    assert sum(stored.num_wholes.values()) == 60 == len(data.indices["test"])
    report = write_report(model, stored, tmp_path, num_wholes=1000, num_classified=8)
    assert [row.num_wholes for row in report.rows] == list(stored.num_wholes.values())
    assert not hasattr(report.rows[0], "true_spread") and report.rows[0].true_mmd
    assert {file.name for file in report.files} == {"evaluation.json", "quality.png"}
    # Each of them once.
    batches = list(stored.batches(2, 1000, 7, torch.Generator()))
    drawn = torch.cat([data.whole for data in batches])
    assert len(drawn.unique(dim=0)) == len(drawn) == stored.num_wholes[2]
    assert len(batches[0].ptr) == 8


def test_a_name_is_that_of_one_problem(homes, refuses):
    with refuses(ValueError, "homes"):

        class Other(homes):
            name = "homes"
