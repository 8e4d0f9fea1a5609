import pytest
import torch
from torch.distributions import Distribution

from compvae_pyg import Sines
from compvae_pyg.training import Schedule, TrainConfig, train


@pytest.fixture(autouse=True)
def forget() -> None:
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.usefixtures("compiling")
def test_the_compiled_elbo_follows_the_same_schedule(tmp_path, run, monkeypatch):
    """Up to the order in which gradients are added, with a backend that runs what was traced."""
    Distribution.set_default_validate_args(True)
    given, graphs = [], []
    compile = torch.compile

    def backend(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    def traced(function, **kwargs):
        given.append(kwargs)
        return compile(function, dynamic=kwargs.get("dynamic"), backend=backend)

    expected = run(tmp_path / "as it is").state_dict()
    monkeypatch.setattr(torch, "compile", traced)
    found = run(tmp_path / "compiled", compile=True).state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.0, atol=1e-5)
    # The line that is tried first; then the bound, for all shapes, with the noise of eager mode.
    assert given == [{}, {"dynamic": True, "options": {"fallback_random": True}}]
    # That line; and the bound of each of the three stages, once more for batches of one part each.
    assert 1 + 3 <= len(graphs) <= 1 + 2 * 3
    assert Distribution._validate_args


@pytest.mark.usefixtures("compiling")
def test_where_torch_cannot_compile_nothing_is_touched(tmp_path, run, monkeypatch, refuses):
    def fail(function, **given):
        raise RuntimeError("No working C++ compiler found\n\nSet TORCH_LOGS for more")

    monkeypatch.setattr(torch, "compile", fail)
    with refuses(ValueError, "compile"):
        run(tmp_path / "run", compile=True)
    assert not list(tmp_path.iterdir())


def test_old_releases_of_torch_are_refused(tmp_path, run, monkeypatch, refuses):
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.7.1"))
    with refuses(ValueError, "compile"):
        run(tmp_path / "run", compile=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("compiling")
def test_compiled_training_differs_by_rounding(tmp_path):
    """With torch's own compiler, in all three stages of the sines' schedule."""
    sines = Sines()
    schedule = Schedule.of(sines, num_steps=12)
    models = {}
    for compile in (False, True):
        torch.manual_seed(0)
        model = sines.build("small", hidden_channels=32)
        options = {"accelerator": "cpu", "progress": False, "compile": compile}
        config = TrainConfig(output=tmp_path / str(compile), **options)
        models[compile] = train(sines, model, schedule, config).state_dict()
    for name, value in models[False].items():
        assert torch.allclose(models[True][name], value, rtol=0.0, atol=1e-4), name
