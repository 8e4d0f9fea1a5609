"""Models in folders: what is saved comes back as it was, or is not saved."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import compvae_pyg
from compvae_pyg import CompVAE, Dots, Sines
from compvae_pyg.models import build_architecture, register_architecture

safetensors = pytest.importorskip("safetensors.torch")

FILES = ["config.json", "model.safetensors"]


def small(seed=0, **options):
    torch.manual_seed(seed)
    return build_architecture("dots", "small", **{"hidden_channels": 16, **options})


def same(one, other):
    """Whether two models have the same weights, in the same types."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(
        value.dtype == theirs[name].dtype and torch.equal(value, theirs[name])
        for name, value in ours.items()
    )


def linears(model):
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def alike(model):
    """Two linear layers of one shape."""
    layers = {}
    for layer in linears(model):
        other = layers.setdefault(layer.weight.shape, layer)
        if other is not layer:
            return other, layer
    raise AssertionError("no two layers are alike")


@pytest.fixture
def saved(tmp_path):
    model = small(seed=3)
    model.save_pretrained(tmp_path)
    return model, tmp_path


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit(folder, **tensors):
    """Replace weights in a saved model, whose config is that of the new file."""
    path = folder / "model.safetensors"
    state = safetensors.load_file(path)
    safetensors.save_file({**state, **tensors}, path)
    edit_config(folder, weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def edit_config(folder, **fields):
    """Replace fields of a saved config, or take them out where they are ``...``."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), "config_sha256": "", **fields}
    config = {name: v for name, v in config.items() if v is not ...}
    if config.get("config_sha256") == "":
        plain = json.dumps(config).encode()
        config["config_sha256"] = hashlib.sha256(plain).hexdigest()
    path.write_text(json.dumps(config))


# What comes back


def test_a_model_comes_back_as_it_was(saved):
    model, folder = saved
    again = CompVAE.from_pretrained(folder)
    assert not again.training
    assert again.config == model.config
    assert same(model, again)
    parts = {"color": torch.tensor([0, 4]), "pos": torch.tensor([[0.1, 0.2], [-0.5, 0.0]])}
    images = [
        net.generate(parts, generator=torch.Generator().manual_seed(0)) for net in (model, again)
    ]
    torch.testing.assert_close(*images, rtol=0, atol=1e-6)


def test_options_of_the_networks_come_back(tmp_path):
    model = build_architecture("dots", "small", z_channels=3, hidden_channels=24, num_blocks=1)
    model.save_pretrained(tmp_path)
    again = CompVAE.from_pretrained(tmp_path)
    assert again.encoder.z_channels == 3
    assert again.encoder.hidden_channels == 24
    assert len(again.encoder.blocks) == 1


@pytest.mark.parametrize(
    "convert",
    [
        lambda model: model.double(),
        lambda model: model.encoder.double(),
        lambda model: model.embedding.bfloat16(),
        lambda model: (model.half(), model.generator.float()),
        lambda model: linears(model)[0].double(),
    ],
    ids=["all", "encoder", "embedding", "half", "layer"],
)
def test_types_of_all_weights_and_buffers_come_back(tmp_path, convert):
    model = small()
    convert(model)
    model.save_pretrained(tmp_path)
    again = CompVAE.from_pretrained(tmp_path)
    assert same(model, again)
    ours, theirs = ({n: b.dtype for n, b in net.named_buffers()} for net in (model, again))
    assert ours == theirs


def test_weights_in_another_memory_layout_come_back(tmp_path):
    model = small()
    layer = linears(model)[0]
    layer.weight.data = layer.weight.data.t().contiguous().t()
    model.save_pretrained(tmp_path)
    assert same(model, CompVAE.from_pretrained(tmp_path))


def test_weights_in_one_block_of_memory_come_back(tmp_path):
    # As cuDNN's recurrent layers and flattened optimisers have them.
    model = small()
    weights = [layer.weight for layer in linears(model)]
    block = torch.cat([weight.detach().flatten() for weight in weights])
    for weight, values in zip(weights, block.split([w.numel() for w in weights]), strict=True):
        weight.data = values.view_as(weight)
    model.save_pretrained(tmp_path)
    assert same(model, CompVAE.from_pretrained(tmp_path))


def test_weights_that_the_config_ties_come_back_tied(tmp_path):
    @register_architecture("dots", "tied")
    def build():
        model = small()
        one, other = alike(model)
        other.weight = one.weight
        return model

    model = build()
    model.save_pretrained(tmp_path)
    again = CompVAE.from_pretrained(tmp_path)
    assert same(model, again)
    one, other = alike(again)
    assert one.weight is other.weight


def test_saving_leaves_two_files_and_no_pickle(saved):
    _, folder = saved
    assert sorted(files(folder)) == FILES
    config = json.loads((folder / "config.json").read_text())
    assert (config["problem"], config["preset"]) == ("dots", "small")
    weights = (folder / "model.safetensors").read_bytes()
    assert config["weights_sha256"] == hashlib.sha256(weights).hexdigest()


def test_both_files_may_be_read_by_the_same_people(saved):
    _, folder = saved
    modes = [(folder / name).stat().st_mode for name in FILES]
    assert modes[0] == modes[1]


def test_saving_again_replaces_the_model(saved):
    _, folder = saved
    other = small(seed=4, hidden_channels=8)
    other.save_pretrained(folder)
    assert same(other, CompVAE.from_pretrained(folder))


def test_a_model_that_has_been_used_can_be_saved(tmp_path):
    model, dots = small(), Dots()
    data = dots.sample(torch.tensor([2, 3]))
    model.train().elbo(data.whole, dots.parts(data), data.batch).elbo.mean().backward()
    model.eval().requires_grad_(False)
    model.register_forward_hook(lambda *_: None)
    model.save_pretrained(tmp_path)
    assert same(model, CompVAE.from_pretrained(tmp_path))


def test_the_parameters_of_the_problem_come_back(tmp_path):
    sines = Sines(nonlinearity=2.0, num_categories=4)
    sines.build("small").save_pretrained(tmp_path)
    again = CompVAE.from_pretrained(tmp_path)
    assert again.config["parameters"] == vars(sines)
    again.save_pretrained(tmp_path / "again")
    first, second = (folder / "config.json" for folder in (tmp_path, tmp_path / "again"))
    assert first.read_text() == second.read_text()


def test_shipped_models_are_named_after_problem_and_preset():
    weights = Path(compvae_pyg.__file__).parent / "weights"
    names = sorted(entry.name for entry in weights.iterdir() if entry.is_dir())
    assert names
    for name in names:
        config = CompVAE.from_pretrained(name).config
        assert name == f"{config['problem']}-{config['preset']}"


def test_saving_and_loading_leave_the_global_random_state(tmp_path):
    @register_architecture("dots", "drawn")
    def build():
        torch.rand(7, device="cpu")
        return build_architecture("dots", "small", hidden_channels=8)

    model = build()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model.save_pretrained(tmp_path)
    CompVAE.from_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_saving_allocates_no_second_model(tmp_path):
    devices = []

    @register_architecture("dots", "watched")
    def build():
        model = build_architecture("dots", "small", hidden_channels=8)
        devices.append(next(model.parameters()).device.type)
        return model

    model = build()
    model.save_pretrained(tmp_path)
    assert devices == ["cpu", "meta"]


def test_networks_whose_code_reads_their_weights_can_be_saved(tmp_path):
    @register_architecture("dots", "measured")
    def build():
        model = build_architecture("dots", "small", hidden_channels=8)
        float(next(model.parameters()).detach().sum())
        return model

    model = build()
    model.save_pretrained(tmp_path)
    assert same(model, CompVAE.from_pretrained(tmp_path))


def test_a_model_loaded_in_inference_mode_can_be_trained(saved):
    _, folder = saved
    with torch.inference_mode():
        model = CompVAE.from_pretrained(folder)
    layer = linears(model)[0]
    layer(torch.zeros(1, layer.in_features)).sum().backward()
    assert layer.weight.grad is not None


# Subclasses


class Mine(CompVAE):
    """A subclass with a network of its own."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.head = nn.Linear(2, 3)


class Closed(CompVAE):
    def __init__(self):
        raise TypeError("Closed() takes another argument")


class Plain(CompVAE):
    pass


def test_a_subclass_loads_as_itself(saved):
    model, folder = saved
    again = Plain.from_pretrained(folder)
    assert type(again) is Plain
    assert again.config == model.config
    assert again.residual_posterior == model.residual_posterior
    assert same(model, again)
    assert type(Plain.from_pretrained("dots-small")) is Plain
    assert type(CompVAE.from_pretrained(folder)) is CompVAE


def test_what_a_subclass_adds_is_saved_and_loaded(tmp_path, refuses):
    plain = small()
    parts = (plain.encoder, plain.generator, plain.embedding, plain.event_shape)
    model = Mine(*parts, residual_posterior=plain.residual_posterior)
    model.config = plain.config
    model.save_pretrained(tmp_path)
    again = Mine.from_pretrained(tmp_path)
    assert same(model, again)
    with refuses(ValueError, "head.bias"):
        CompVAE.from_pretrained(tmp_path)


def test_a_subclass_that_cannot_be_constructed_is_named(saved, refuses):
    _, folder = saved
    with refuses(TypeError, "Closed"):
        Closed.from_pretrained(folder)


# What the config does not rebuild is not saved


class LowRank(nn.Module):
    """A linear layer with an adapter, as LoRA has it."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


class MyLinear(nn.Linear):
    pass


class Stateful(nn.ELU):
    def get_extra_state(self):
        return {"steps": 3}


def head(model):
    return model.encoder.w_head.lin


def with_weight(dtype):
    def change(model):
        weight = torch.zeros_like(head(model).weight).to(dtype)
        head(model).weight = nn.Parameter(weight, requires_grad=False)

    return change


def tie(model):
    one, other = alike(model)
    other.weight = one.weight


def tie_memory(model):
    one, other = alike(model)
    other.weight.data = one.weight.data


CHANGES = {
    "residual_posterior": lambda m: setattr(m, "residual_posterior", False),
    "event_shape": lambda m: setattr(m, "event_shape", (3, 16, 16)),
    "encoder.coupling": lambda m: setattr(m.encoder, "coupling", "scaled"),
    "generator.w_prior.min_scale": lambda m: setattr(m.generator.w_prior, "min_scale", 0.5),
    "encoder.w_head.lin.note": lambda m: setattr(head(m), "note", 3),
    "encoder.w_head.lin.forward": lambda m: setattr(head(m), "forward", lambda x: x),
    "encoder.act": lambda m: setattr(m.encoder, "act", nn.Tanh()),
    "generator": lambda m: setattr(m, "generator", nn.Sequential(m.generator)),
    "encoder.w_head.lin: adapter": lambda m: setattr(m.encoder.w_head, "lin", LowRank(head(m))),
    "encoder.w_head.lin: class": lambda m: setattr(head(m), "__class__", MyLinear),
    "encoder.w_head.lin: parametrised": lambda m: parametrizations.weight_norm(head(m)),
    "encoder.w_head.lin.weight: pruned": lambda m: prune.l1_unstructured(head(m), "weight", 0.5),
    "encoder.w_head.lin.weight: int8": with_weight(torch.int8),
    "encoder.w_head.lin.weight: complex": with_weight(torch.complex64),
    "encoder.w_head.lin.weight: float8": with_weight(torch.float8_e4m3fn),
    "encoder.w_head.lin.weight: sparse": lambda m: setattr(
        head(m), "weight", nn.Parameter(head(m).weight.detach().to_sparse())
    ),
    "encoder.w_head.lin.bias": lambda m: setattr(head(m), "bias", None),
    "encoder.w_head.lin.steps": lambda m: head(m).register_buffer("steps", torch.zeros(2)),
    "encoder.blocks.2": lambda m: m.encoder.blocks.append(nn.Identity()),
    "encoder.act._extra_state": lambda m: setattr(m.encoder, "act", Stateful()),
    "tied": tie,
    "tied: memory": tie_memory,
    "encoder": lambda m: m.to("meta"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_model_that_its_config_does_not_rebuild_is_not_saved(tmp_path, refuses, name):
    model = small()
    CHANGES[name](model)
    with refuses(ValueError, name.split(":")[0]):
        model.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_no_longer_tied_are_not_saved(tmp_path, refuses):
    @register_architecture("dots", "tied once")
    def build():
        model = small()
        tie(model)
        return model

    model = build()
    one, other = alike(model)
    other.weight = nn.Parameter(one.weight.detach().clone())
    with refuses(ValueError, "tied"):
        model.save_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "name"),
    [({"options": {"z_channels": 3}}, "expected"), ({"preset": "huge"}, "huge"), ({"x": 1}, "x")],
)
def test_a_changed_config_is_not_saved(tmp_path, refuses, change, name):
    model = small()
    model.config = {**model.config, **change}
    with refuses(ValueError, name):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [torch.float64, float("nan"), b"x"])
def test_options_that_json_cannot_hold_are_not_saved(tmp_path, refuses, value):
    @register_architecture("dots", "of-a-type")
    def build(option):
        return build_architecture("dots", "small", hidden_channels=8)

    with refuses(ValueError, "options"):
        build(option=value).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_networks_of_no_registered_architecture_are_not_saved(tmp_path, refuses):
    known = small()
    model = CompVAE(known.encoder, known.generator, known.embedding, known.event_shape)
    with refuses(ValueError, "model"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_that_the_disk_does_not_take_are_an_error_of_the_disk(saved, tmp_path_factory):
    resource = pytest.importorskip("resource")
    model, folder = saved
    before, report = files(folder), tmp_path_factory.mktemp("report") / "report"

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        try:
            model.save_pretrained(folder)
        except OSError as error:
            report.write_text(str(error)[:900])

    process = multiprocessing.get_context("fork").Process(target=fill)
    process.start()
    process.join(60)
    error = report.read_text()
    assert error.startswith("weights cannot be written") and "\n" not in error
    assert files(folder) == before


def test_saving_that_fails_leaves_the_last_model(saved, monkeypatch):
    model, folder = saved
    before = files(folder)

    def full(state, path, metadata):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="no space left"):
        model.save_pretrained(folder)
    assert files(folder) == before


# What does not fit is not loaded


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn]
)
def test_weights_that_are_not_real_numbers_are_not_loaded(saved, refuses, dtype):
    model, folder = saved
    edit(folder, **{"encoder.w_head.lin.bias": model.encoder.w_head.lin.bias.detach().to(dtype)})
    with refuses(ValueError, "encoder.w_head.lin.bias"):
        CompVAE.from_pretrained(folder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int8])
def test_buffers_of_integers_hold_integers(tmp_path, refuses, dtype):
    @register_architecture("dots", "counting")
    def build():
        model = small()
        model.encoder.register_buffer("steps", torch.tensor([3]))
        return model

    model = build().double()
    model.save_pretrained(tmp_path)
    again = CompVAE.from_pretrained(tmp_path)
    assert same(model, again)
    edit(tmp_path, **{"encoder.steps": torch.ones(1, dtype=dtype)})
    with refuses(ValueError, "encoder.steps"):
        CompVAE.from_pretrained(tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path, refuses):
    with refuses(FileNotFoundError, "config.json"):
        CompVAE.from_pretrained(tmp_path)


def test_a_name_that_is_not_shipped_is_refused(tmp_path, monkeypatch, refuses):
    monkeypatch.chdir(tmp_path)
    with refuses(FileNotFoundError, "dots-huge"):
        CompVAE.from_pretrained("dots-huge")


def test_a_folder_goes_before_a_shipped_model_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build_architecture("dots", "small", z_channels=3).save_pretrained("dots-small")
    assert CompVAE.from_pretrained("dots-small").encoder.z_channels == 3


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_truncated_weights_are_refused(saved, keep, refuses):
    _, folder = saved
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with refuses(ValueError, "model.safetensors"):
        CompVAE.from_pretrained(folder)


def test_a_flipped_bit_in_the_weights_is_refused(saved, refuses):
    _, folder = saved
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with refuses(ValueError, "SHA-256"):
        CompVAE.from_pretrained(folder)


@pytest.mark.parametrize("content", ["{", "[]", "7", "{}", "[" * 100_000, " " * 2**20 + "{}"])
def test_a_damaged_config_is_refused(saved, refuses, content):
    _, folder = saved
    (folder / "config.json").write_text(content)
    with refuses(ValueError, "config.json"):
        CompVAE.from_pretrained(folder)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"problem": ...}, "problem"),
        ({"preset": ...}, "preset"),
        ({"weights_sha256": ...}, "weights_sha256"),
        ({"parameters": []}, "parameters"),
        ({"options": "channels"}, "options"),
        ({"colour": 1}, "colour"),
        ({"format_version": 99}, "99"),
        ({"format_version": 2, "weights_sha256": ...}, "2"),
        ({"problem": "nope"}, "nope"),
        ({"preset": "huge"}, "huge"),
        ({"options": {"colour": 1}}, "colour"),
        ({"options": {"problem": "dots"}}, "problem"),
        ({"options": {"z_channels": "two"}}, "z_channels"),
        ({"options": {"z_channels": -2}}, "z_channels"),
        ({"options": {"z_channels": 3, "hidden_channels": 16}}, "expected"),
        ({"options": {"z_channels": 2, "hidden_channels": 10**9}}, "expected"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(saved, refuses, fields, name):
    _, folder = saved
    edit_config(folder, **fields)
    with refuses(ValueError, name):
        CompVAE.from_pretrained(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_channels": 10**6},
        {"hidden_channels": 10**18},
        {"num_blocks": 10**12},
        {"grid": 10**6},
        {"z_channels": 10**9},
        {"problem": "dots"},
        {"preset": 1},
    ],
    ids=str,
)
def test_a_config_that_builds_more_than_there_are_weights_takes_no_memory(saved, refuses, options):
    _, folder = saved
    edit_config(folder, options=options)
    with refuses(ValueError, "must"):
        CompVAE.from_pretrained(folder)


def test_networks_that_are_built_in_memory_are_no_larger_than_their_weights(tmp_path, refuses):
    built = []

    @register_architecture("dots", "greedy")
    def build(rows: int = 1):
        model = build_architecture("dots", "small", hidden_channels=8)
        float(next(model.parameters()).detach().sum())  # not without memory
        torch.zeros(rows, 2**20)
        built.append(rows)
        return model

    build().save_pretrained(tmp_path)
    edit_config(tmp_path, options={"rows": 2**20})  # 4 TiB
    built.clear()
    with refuses(ValueError, "weights"):
        CompVAE.from_pretrained(tmp_path)
    assert built == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_is_silent(saved, name):
    _, folder = saved
    content = (folder / name).read_bytes()
    for place in torch.randint(8 * len(content), (100,)).tolist():
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        (folder / name).write_bytes(damaged)
        with pytest.raises(ValueError) as caught:
            CompVAE.from_pretrained(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", range(0, 8 * 300, 97))
def test_a_flipped_bit_in_the_config_is_refused(saved, place):
    _, folder = saved
    path = folder / "config.json"
    damaged = bytearray(path.read_bytes())
    damaged[place // 8] ^= 1 << place % 8
    path.write_bytes(damaged)
    with pytest.raises(ValueError) as caught:
        CompVAE.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_other_ends_of_lines_are_no_damage(saved):
    model, folder = saved
    path = folder / "config.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert same(model, CompVAE.from_pretrained(folder))


def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(saved, tmp_path, refuses):
    model, folder = saved
    name = "encoder.w_head.lin.weight"
    broken = model.state_dict()[name].clone()
    broken[0, 0] = float("nan")
    edit(folder, **{name: broken})
    with refuses(ValueError, name):
        CompVAE.from_pretrained(folder)
    model.get_parameter(name).data.copy_(broken)
    with refuses(ValueError, name):
        model.save_pretrained(tmp_path / "broken")
    assert not (tmp_path / "broken").exists()


def test_a_name_is_registered_once(refuses):
    with refuses(ValueError, "preset"):
        register_architecture("dots", "small", small)


def test_an_architecture_is_registered_by_a_call_or_a_decorator(tmp_path):
    def build(width=2):
        return build_architecture("dots", "small", z_channels=width)

    called = register_architecture("dots", "by-call", build)
    decorated = register_architecture("dots", "by-decorator")(build)
    for preset, builder in (("by-call", called), ("by-decorator", decorated)):
        config = {"problem": "dots", "parameters": {}, "preset": preset, "options": {"width": 3}}
        assert builder(width=3).config == config
        assert build_architecture("dots", preset, width=3).config == config


# Several writers and readers of one folder


def pair():
    """Two models of the same shapes that differ in weights and config."""
    models = [small(seed, aggr=name) for seed, name in ((1, "sum"), (2, "mean"))]
    return {model.encoder.blocks[0].aggr: model for model in models}


def read_while(busy, folder, models):
    """Load again and again, and count the loads; each is one of the models as a whole."""
    count = 0
    while busy() or count == 0:
        model = CompVAE.from_pretrained(folder)
        assert same(model, models[model.encoder.blocks[0].aggr])
        count += 1
    return count


def test_threads_that_write_one_folder_never_mix_their_files(tmp_path):
    models, errors = pair(), []
    models["sum"].save_pretrained(tmp_path)

    def write(model):
        try:
            for _ in range(10):
                model.save_pretrained(tmp_path)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(model,)) for model in models.values()]
    for thread in threads:
        thread.start()
    try:
        read_while(lambda: any(thread.is_alive() for thread in threads), tmp_path, models)
    finally:
        for thread in threads:
            thread.join()
    assert not errors
    read_while(lambda: False, tmp_path, models)
    assert sorted(files(tmp_path)) == FILES


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_processes_that_write_one_folder_never_mix_their_files(tmp_path):
    models = pair()
    models["sum"].save_pretrained(tmp_path)

    def write(model):
        for _ in range(10):
            model.save_pretrained(tmp_path)

    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write, args=(model,)) for model in models.values()]
    for writer in writers:
        writer.start()
    try:
        read_while(lambda: any(writer.is_alive() for writer in writers), tmp_path, models)
    finally:
        for writer in writers:
            writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    read_while(lambda: False, tmp_path, models)
    assert sorted(files(tmp_path)) == FILES


def test_a_reader_waits_for_a_writer_between_its_two_files(tmp_path):
    old, new = pair().values()
    old.save_pretrained(tmp_path / "model")
    new.save_pretrained(tmp_path / "new")
    (tmp_path / "new" / FILES[1]).replace(tmp_path / "model" / FILES[1])

    def finish():
        time.sleep(0.3)
        (tmp_path / "new" / FILES[0]).replace(tmp_path / "model" / FILES[0])

    writer = threading.Thread(target=finish)
    writer.start()
    try:
        assert same(new, CompVAE.from_pretrained(tmp_path / "model"))
    finally:
        writer.join()


def test_files_of_two_models_are_refused(tmp_path, refuses):
    for name, model in pair().items():
        model.save_pretrained(tmp_path / name)
    (tmp_path / "sum" / FILES[1]).replace(tmp_path / "mean" / FILES[1])
    with refuses(ValueError, "config.json"):
        CompVAE.from_pretrained(tmp_path / "mean")


def test_folders_that_cannot_be_locked_are_written(tmp_path, monkeypatch):
    with contextlib.suppress(ImportError):  # as on Windows
        import fcntl

        def refuse(*_):
            raise OSError("no locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
    model = small()
    model.save_pretrained(tmp_path)
    assert same(model, CompVAE.from_pretrained(tmp_path))
