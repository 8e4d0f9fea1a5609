"""Models on disk."""

import json
import re

import pytest
import torch
from torch import nn

from compvae_pyg import (
    CompVAE,
    CompVAEEncoder,
    CompVAEGenerator,
    Dots,
    NormalNetwork,
    Sines,
)
from compvae_pyg.models import SeparateEmbedding, build_architecture, register_architecture
from compvae_pyg.models.pretrained import shipped_models


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(3)
    model = Dots().build("small")
    model.save_pretrained(tmp_path)
    return model, tmp_path


def test_a_model_comes_back_as_it_was(saved):
    model, folder = saved
    again = CompVAE.from_pretrained(folder)
    assert not again.training
    assert again.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    parts = {"color": torch.tensor([0, 4]), "pos": torch.tensor([[0.1, 0.2], [-0.5, 0.0]])}
    images = [
        net.generate(parts, generator=torch.Generator().manual_seed(0)) for net in (model, again)
    ]
    torch.testing.assert_close(*images, rtol=0, atol=1e-6)


def test_options_of_the_networks_come_back(tmp_path):
    model = build_architecture("dots", "small", channels=3, hidden_channels=24, coupling="paper")
    model.save_pretrained(tmp_path)
    again = CompVAE.from_pretrained(tmp_path)
    assert again.encoder.w_channels == 3 * 8 * 8
    assert again.encoder.hidden_channels == 24
    assert again.encoder.coupling == "paper"


def test_the_type_of_the_weights_comes_back(tmp_path):
    Dots().build("small").double().save_pretrained(tmp_path)
    assert CompVAE.from_pretrained(tmp_path).encoder.w_head.weight.dtype == torch.float64


def test_saving_leaves_two_files_and_no_pickle(saved):
    _, folder = saved
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    config = json.loads((folder / "config.json").read_text())
    assert (config["problem"], config["preset"]) == ("dots", "small")


def test_both_files_may_be_read_by_the_same_people(saved):
    _, folder = saved
    modes = [(folder / name).stat().st_mode for name in ("config.json", "model.safetensors")]
    assert modes[0] == modes[1]


def test_saving_again_replaces_the_model(saved):
    _, folder = saved
    other = Dots().build("small")
    other.save_pretrained(folder)
    again = CompVAE.from_pretrained(folder)
    assert torch.equal(other.encoder.w_head.weight, again.encoder.w_head.weight)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no config\.json in .*holds no saved model"):
        CompVAE.from_pretrained(tmp_path)


def test_a_name_that_is_not_shipped_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder dots-huge.*shipped: dots-small"):
        CompVAE.from_pretrained("dots-huge")


def test_a_folder_goes_before_a_shipped_model_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build_architecture("dots", "small", channels=3).save_pretrained("dots-small")
    assert CompVAE.from_pretrained("dots-small").encoder.w_channels == 3 * 64


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_truncated_weights_are_refused(saved, keep):
    _, folder = saved
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        CompVAE.from_pretrained(folder)


def config(**fields):
    whole = {
        "format_version": 2,
        "problem": "dots",
        "parameters": {},
        "preset": "small",
        "options": {},
        **fields,
    }
    return json.dumps({name: value for name, value in whole.items() if value is not None})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ("7", "is damaged"),
        ("[" * 100_000, "is damaged"),
        ("{}", r"is damaged or no model's config \('format_version'\)"),
        (config(problem=None), "is damaged: 'problem' is missing, of another type or unknown"),
        (config(preset=None), "'preset' is missing"),
        (config(parameters=[]), "'parameters' is missing, of another type"),
        (config(options="channels"), "'options' is missing, of another type"),
        (config(colour=1), "'colour' is missing, of another type or unknown"),
        (config(format_version=99), r"has format 99 \(this release reads 2\)"),
        # What other formats hold is not read.
        ('{"format_version": 3, "kind": "dots"}', r"has format 3 \(this release reads 2\)"),
        (
            '{"format_version": 1, "architecture": "dots-small", "options": {}}',
            r"has format 1 \(this release reads 2\)",
        ),
        (config(problem="nope"), r"unknown problem 'nope' \(registered: .*dots.*sines"),
        (config(preset="huge"), r"unknown preset of 'dots' 'huge' \(registered: paper, small\)"),
        (config(options={"colour": 1}), "'small' of 'dots' cannot be built: .*'colour'"),
        (config(options={"channels": "two"}), "tells of no networks here: .*channels"),
        (config(options={"channels": -2}), "tells of no networks here: .*channels"),
        (
            config(options={"channels": 3}),
            r"does not fit preset 'small' of 'dots': \d+ tensors differ, first .*got .*expected",
        ),
    ],
)
def test_a_config_that_does_not_fit_is_refused(saved, config, message):
    _, folder = saved
    (folder / "config.json").write_text(config)
    with pytest.raises(ValueError, match=message) as error:
        CompVAE.from_pretrained(folder)
    assert "\n" not in str(error.value)


def test_the_problem_s_parameters_come_back(tmp_path):
    sines = Sines(nonlinearity=2.0, num_categories=4)
    sines.build("small").save_pretrained(tmp_path)
    again = CompVAE.from_pretrained(tmp_path)
    assert again.config["parameters"] == vars(sines)
    again.save_pretrained(tmp_path / "again")
    first, second = (folder / "config.json" for folder in (tmp_path, tmp_path / "again"))
    assert first.read_text() == second.read_text()


def test_shipped_models_are_named_after_problem_and_preset():
    for name in shipped_models():
        config = CompVAE.from_pretrained(name).config
        assert name == f"{config['problem']}-{config['preset']}"


def test_options_that_json_cannot_hold_are_refused_before_anything_is_written(tmp_path, refuses):
    @register_architecture("dots", "of-a-type")
    def build(dtype):
        return build_architecture("dots", "small", channels=2).to(dtype)

    message = "the model's options must be what JSON can hold (Object of type dtype is not JSON"
    with pytest.raises(ValueError, match=re.escape(message)):
        build(dtype=torch.float64).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_networks_of_no_registered_architecture_are_refused(tmp_path):
    class Decoder(nn.Module):
        def forward(self, w_sum, z):
            return torch.cat([w_sum, z], dim=-1)

    model = CompVAE(
        CompVAEEncoder(3, 2, 8, w_channels=2, z_channels=2, num_blocks=1),
        CompVAEGenerator(
            NormalNetwork(nn.Linear(2, 4), 0.1),
            NormalNetwork(nn.Linear(2, 4), 0.1),
            NormalNetwork(Decoder(), 0.1, event_dims=1),
        ),
        SeparateEmbedding(nn.Linear(2, 3), nn.Identity()),
        event_shape=(2,),
    )
    with pytest.raises(ValueError, match="only models of a registered architecture"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="'small' of 'dots' is registered already"):

        @register_architecture("dots", "small")
        def build() -> CompVAE:
            raise NotImplementedError


def test_saving_that_fails_leaves_the_last_model(saved, monkeypatch):
    model, folder = saved
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(state, path, metadata):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="no space left"):
        model.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
