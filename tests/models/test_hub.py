"""Models on the hub, without the hub: what its client is asked for is recorded."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from compvae_pyg import CompVAE, Dots
from compvae_pyg.models import model_card

huggingface_hub = pytest.importorskip("huggingface_hub")
pytest.importorskip("safetensors")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub in a folder, and what was asked of it."""
    asked = []

    class Api:
        def __init__(self, token=None):
            asked.append(("token", token))

        def create_repo(self, repo_id, private=None, exist_ok=False):
            asked.append(("create", repo_id, private, exist_ok))
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, repo_id, folder_path, commit_message, revision, create_pr, **rest):
            asked.append(("upload", repo_id, commit_message, revision, create_pr))
            assert rest.pop("repo_type") == "model" and not any(rest.values())
            shutil.copytree(folder_path, tmp_path / repo_id)
            return f"hub://{repo_id}/commit"

    def fetch(repo_id, **options):
        asked.append(("fetch", repo_id, options))
        if not (tmp_path / repo_id).exists():
            raise huggingface_hub.errors.LocalEntryNotFoundError("not there.\n\nMany lines.")
        return str(tmp_path / repo_id)

    # The upload is the mixin's own.
    monkeypatch.setattr(sys.modules[huggingface_hub.PyTorchModelHubMixin.__module__], "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    return tmp_path, asked


def test_a_model_comes_back_from_the_hub_as_it_was(hub):
    folder, asked = hub
    torch.manual_seed(1)
    model = Dots().build("small", channels=2)
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
    again = CompVAE.from_pretrained("me/dots", revision="v1", cache_dir="there", token="t")
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    options = {"revision": "v1", "token": "t", "cache_dir": "there", "local_files_only": False}
    files = {"allow_patterns": ["config.json", "model.safetensors"]}
    assert asked == [
        ("token", "t"),
        ("create", "me/dots", True, True),
        ("upload", "me/dots", "Better", "dev", True),
        ("fetch", "me/dots", {**files, **options}),
    ]


def test_a_folder_goes_before_the_hub(hub, monkeypatch):
    folder, asked = hub
    monkeypatch.chdir(folder)
    Dots().build("small", channels=2).save_pretrained("me/dots")
    assert CompVAE.from_pretrained("me/dots").encoder.w_channels == 2 * 64
    assert asked == []


def test_the_card_tells_licence_size_and_evaluation():
    model = Dots().build("small", channels=2)
    card = model_card(model, "me/dots", evaluation="| K | accuracy |", license="cc-by-4.0")
    assert card.startswith("---\nlicense: cc-by-4.0\nlibrary_name: compvae-pyg\n")
    assert "# dots, small" in card and "| K | accuracy |" in card
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in card
    assert 'CompVAE.from_pretrained("me/dots")' in card
    card = model_card(model, "me/dots")
    assert card.endswith("## Evaluation\n\nNone was given.\n")
    # Nobody's weights get a licence that they did not give them.
    assert "license" not in card


def test_what_is_not_there_is_said_in_a_line(hub, refuses):
    message = "no folder me/none, and no such model could be fetched from the hub (not there.)"
    with refuses(FileNotFoundError, message):
        CompVAE.from_pretrained("me/none")


@pytest.mark.parametrize("name", ["dots", "../dots", "a/b/c", "me/", Path("me/dots")])
def test_the_hub_is_not_asked_for_what_is_no_name_of_a_repository(hub, name):
    _, asked = hub
    with pytest.raises(FileNotFoundError, match=r"no folder .*, and no model of"):
        CompVAE.from_pretrained(name)
    assert asked == []


@pytest.mark.parametrize("repo", ["dots", "../dots", "a/b/c", "", "me/", 7])
def test_nothing_is_uploaded_to_what_is_no_name_of_a_repository(hub, refuses, repo):
    _, asked = hub
    with refuses(ValueError, f"repo_id must be 'owner/name' (got {repo!r})"):
        Dots().build("small", channels=2).push_to_hub(repo)
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
def test_wrong_arguments_of_an_upload_are_named_before_anything_is_asked(hub, option, value):
    _, asked = hub
    with pytest.raises(TypeError, match=f"^{option} must be .*got {type(value).__name__}"):
        Dots().build("small", channels=2).push_to_hub("me/dots", **{option: value})
    assert asked == []


@pytest.mark.parametrize("license", ["as you like", "a\nb", ""])
def test_a_licence_that_is_no_name_is_refused(hub, license):
    with pytest.raises(ValueError, match="license must be the hub's name of one"):
        Dots().build("small", channels=2).push_to_hub("me/dots", license=license)


@pytest.mark.parametrize(
    ("option", "value"),
    [("revision", 3), ("token", 7), ("cache_dir", 1.5), ("local_files_only", "yes")],
)
def test_wrong_arguments_of_a_download_are_named_before_anything_is_asked(hub, option, value):
    _, asked = hub
    with pytest.raises(TypeError, match=f"^{option} must be .*got {type(value).__name__}"):
        CompVAE.from_pretrained("me/dots", **{option: value})
    assert asked == []


def test_models_that_cannot_be_saved_are_not_uploaded(hub):
    _, asked = hub
    model = Dots().build("small", channels=2)
    model.config = None
    with pytest.raises(ValueError, match="registered architecture"):
        model.push_to_hub("me/dots")
    assert asked == []


def test_a_missing_client_is_named(monkeypatch, refuses):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    needed = "the hub needs its client: pip install 'compvae-pyg[hub]'"
    with refuses(ImportError, f"no folder me/dots, and {needed}"):
        CompVAE.from_pretrained("me/dots")
    with refuses(ImportError, needed):
        Dots().build("small", channels=2).push_to_hub("me/dots")
