"""Models on the hub, without the hub: what its client is asked for is recorded."""

import hashlib
import inspect
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from compvae_pyg import CompVAE, Dots, hub_requests
from compvae_pyg.models import model_card

huggingface_hub = pytest.importorskip("huggingface_hub")
pytest.importorskip("safetensors")


@pytest.fixture
def model():
    return Dots().build("small", hidden_channels=8)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub in a folder, and what was asked of it."""
    asked = []

    class Api:
        def __init__(self, token=None):
            self.token = token

        def create_repo(self, repo_id, private=None, exist_ok=False):
            asked.append(("create", repo_id, self.token, private, exist_ok))
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, repo_id, folder_path, commit_message, revision, create_pr):
            asked.append(("upload", repo_id, self.token, commit_message, revision, create_pr))
            shutil.copytree(folder_path, tmp_path / repo_id)
            return f"hub://{repo_id}/commit"

        def model_info(self, repo_id, revision=None, timeout=None):
            asked.append(("info", repo_id, revision, timeout))
            return SimpleNamespace(sha="a1b2")

    def fetch(repo_id, filename, **options):
        asked.append(("fetch", repo_id, filename, options))
        if not (tmp_path / repo_id).exists():
            raise huggingface_hub.errors.LocalEntryNotFoundError("not there.\n\nMany lines.")
        return str(tmp_path / repo_id / filename)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    return tmp_path, asked


@pytest.mark.parametrize("method", ["save_pretrained", "from_pretrained", "push_to_hub"])
def test_methods_are_called_as_those_of_the_hubs_mixin(method):
    ours = inspect.signature(getattr(CompVAE, method)).parameters
    theirs = inspect.signature(getattr(huggingface_hub.PyTorchModelHubMixin, method)).parameters
    common = [name for name in ours if name not in ("evaluation", "license")]
    assert all(ours[name].kind == theirs[name].kind for name in common)
    for name in (name for name in common if name != "commit_message"):
        assert ours[name].default == theirs[name].default


def test_a_model_comes_back_from_the_hub_as_it_was(hub, model):
    folder, asked = hub
    address = model.push_to_hub(
        "me/dots",
        evaluation="| K |\n|--:|",
        private=True,
        token="t",
        branch="dev",
        create_pr=True,
        commit_message="Better",
    )
    assert address == "hub://me/dots/commit"
    files = sorted(path.name for path in (folder / "me" / "dots").iterdir())
    assert files == ["README.md", "config.json", "model.safetensors"]
    weights = (folder / "me" / "dots" / "model.safetensors").read_bytes()
    card = (folder / "me" / "dots" / "README.md").read_text()
    assert hashlib.sha256(weights).hexdigest() in card
    options = {"revision": "v1", "token": "t", "cache_dir": "there", "force_download": True}
    again = CompVAE.from_pretrained("me/dots", **options)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    fetched = {**options, "revision": "a1b2", "local_files_only": False, "etag_timeout": 10.0}
    assert asked == [
        ("info", "me/dots", None, 10.0),
        ("create", "me/dots", "t", True, True),
        ("upload", "me/dots", "t", "Better", "dev", True),
        ("info", "me/dots", "v1", 10.0),
        ("fetch", "me/dots", "config.json", fetched),
        ("fetch", "me/dots", "model.safetensors", fetched),
    ]


def test_a_folder_goes_before_the_hub(hub, model, monkeypatch):
    folder, asked = hub
    monkeypatch.chdir(folder)
    model.save_pretrained("me/dots")
    assert CompVAE.from_pretrained("me/dots").encoder.w_channels == model.encoder.w_channels
    assert asked == []


def test_the_card_names_licence_size_and_evaluation(model):
    card = model_card(model, "me/dots", evaluation="| K | accuracy |", license="cc-by-4.0")
    assert card.startswith("---\nlicense: cc-by-4.0\nlibrary_name: compvae-pyg\n")
    assert "# dots, small" in card and "| K | accuracy |" in card
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in card
    assert 'CompVAE.from_pretrained("me/dots")' in card
    card = model_card(model, "me/dots")
    assert card.endswith("## Evaluation\n\nNone was given.\n")
    # Nobody's weights get a licence that they did not give them.
    assert "license" not in card


def test_the_hub_can_read_the_card(model):
    card = huggingface_hub.ModelCard(model_card(model, "me/dots", license="mit"))
    assert card.data.license == "mit"
    assert card.data.library_name == "compvae-pyg"
    assert "pytorch-geometric" in card.data.tags


def test_a_missing_model_is_named(hub, refuses):
    with refuses(FileNotFoundError, "me/none"):
        CompVAE.from_pretrained("me/none")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "dots",
            "../dots",
            "a/b/c",
            "me/",
            Path("me/dots"),
            "a/b..c",
            "a/b--c",
            "a/b.",
            "a/b.git",
        ),
        *("outputs/dots", "here/dots"),
    ],
)
def test_the_hub_is_asked_for_names_of_repositories_alone(hub, refuses, monkeypatch, name):
    folder, asked = hub
    monkeypatch.chdir(folder)
    (folder / "here").mkdir()
    with refuses(FileNotFoundError, str(Path(name))):
        CompVAE.from_pretrained(name)
    assert asked == []


def test_an_option_of_the_hub_says_that_no_folder_is_meant(hub, refuses):
    _, asked = hub
    with refuses(FileNotFoundError, "outputs/dots"):
        CompVAE.from_pretrained("outputs/dots", revision="main")
    assert asked


def test_a_hub_that_cannot_be_asked_leaves_what_was_fetched_before(hub, model, monkeypatch):
    folder, asked = hub
    model.save_pretrained(folder / "me" / "dots")

    def fail(*args, **options):
        raise TimeoutError("no answer")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    CompVAE.from_pretrained("me/dots")
    assert all(request[3]["local_files_only"] for request in asked)
    with pytest.raises(FileNotFoundError, match="no answer"):
        CompVAE.from_pretrained("me/dots", force_download=True)
    with pytest.raises(ConnectionError, match="no answer"):
        model.push_to_hub("me/dots")


_ASK = """
from compvae_pyg import CompVAE, Dots
from compvae_pyg import hub_requests
hub_requests._TIMEOUT, hub_requests._UPLOAD = 0.3, 1e9
model = Dots().build("small", hidden_channels=8)
for name in ("me/silent", "me/known"):
    for ask in (CompVAE.from_pretrained, model.push_to_hub):
        try:
            ask(name)
        except (FileNotFoundError, ConnectionError) as error:
            print(type(error).__name__, error)
"""
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


@pytest.mark.slow
def test_a_hub_that_says_nothing_is_not_waited_for(tmp_path):
    """A repository of which it says nothing, and one of which it says what it is and no more."""

    def serve():
        body = json.dumps({"id": "me/known", "sha": "0" * 40})
        answer = f"{_HEAD}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        with suppress(OSError):
            while True:
                held.append(silent.accept()[0])
                if b"GET /api/models/me/known" in held[-1].recv(4096):
                    held[-1].sendall(answer)

    held = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=serve, daemon=True).start()
        port = silent.getsockname()[1]
        more = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", _ASK],
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            timeout=100,
        )
    kinds = [line.split()[0] for line in done.stdout.splitlines()]
    assert kinds == ["FileNotFoundError", "ConnectionError"] * 2, done.stdout + done.stderr


def test_a_transfer_goes_on_as_long_as_bytes_come(monkeypatch):
    monkeypatch.setattr(hub_requests, "_TIMEOUT", 0.1)
    came = iter(range(100))
    end = threading.Event()

    def watched():
        number = next(came)
        if number == 8:  # 8 looks of 0.2 s each, in all five times what is waited without a byte
            end.set()
        return number

    assert hub_requests._in_time(lambda: end.wait(30), watched=watched)
    with pytest.raises(ConnectionError, match="does not answer"):
        hub_requests._in_time(lambda: threading.Event().wait(5))


@pytest.mark.parametrize("name", [None, 7, nn.Identity()])
def test_a_model_is_named_by_a_string_or_a_path(refuses, name):
    with refuses(TypeError, "pretrained_model_name_or_path"):
        CompVAE.from_pretrained(name)
    with refuses(TypeError, "save_directory"):
        Dots().build("small").save_pretrained(name)


@pytest.mark.parametrize("repo", ["dots", "../dots", "a/b/c", "", "me/", 7, "a..b/c"])
def test_a_repository_has_an_owner_and_a_name(hub, model, refuses, repo):
    _, asked = hub
    with refuses(ValueError, "repo_id"):
        model.push_to_hub(repo)
    assert asked == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("evaluation", None),
        ("license", 3),
        ("commit_message", None),
        ("private", "yes"),
        ("token", 7),
        ("branch", 1.5),
        ("create_pr", 1),
    ],
)
def test_wrong_arguments_of_an_upload_are_named_before_anything_is_asked(
    hub, model, refuses, option, value
):
    _, asked = hub
    with refuses(TypeError, option):
        model.push_to_hub("me/dots", **{option: value})
    assert asked == []


@pytest.mark.parametrize("license", ["as you like", "a\nb", ""])
def test_a_licence_is_a_name(hub, model, refuses, license):
    with refuses(ValueError, "license"):
        model.push_to_hub("me/dots", license=license)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("revision", 3),
        ("token", 7),
        ("cache_dir", 1.5),
        ("local_files_only", "yes"),
        ("force_download", 1),
    ],
)
def test_wrong_arguments_of_a_download_are_named_before_anything_is_asked(
    hub, refuses, option, value
):
    _, asked = hub
    with refuses(TypeError, option):
        CompVAE.from_pretrained("me/dots", **{option: value})
    assert asked == []


def test_models_that_cannot_be_saved_are_not_uploaded(hub, model, refuses):
    _, asked = hub
    model.residual_posterior = not model.residual_posterior
    with refuses(ValueError, "residual_posterior"):
        model.push_to_hub("me/dots")
    model.config = None
    with refuses(ValueError, "model"):
        model.push_to_hub("me/dots")
    assert asked == []


def test_a_missing_client_is_named(model, monkeypatch, refuses):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with refuses(ImportError, "compvae-pyg[hub]"):
        CompVAE.from_pretrained("me/dots")
    with refuses(ImportError, "compvae-pyg[hub]"):
        model.push_to_hub("me/dots")


def test_missing_safetensors_are_named(model, monkeypatch, tmp_path, refuses):
    for name in ("safetensors", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    with refuses(ImportError, "compvae-pyg[hub]"):
        CompVAE.from_pretrained("dots-small")
    with refuses(ImportError, "compvae-pyg[hub]"):
        model.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())
