"""Models on the hub, without the hub: its client's two calls are recorded."""

import shutil
import sys

import pytest
import torch

from compvae_pyg import CompVAE, Dots
from compvae_pyg.models.hub import model_card

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub in a folder, and what was asked of it."""
    asked = []

    class Api:
        def __init__(self, token=None):
            asked.append(("token", token))

        def create_repo(self, repo, private=None, exist_ok=False):
            asked.append(("create", repo, private, exist_ok))
            return f"hub://{repo}"

        def upload_folder(self, repo_id, folder_path, commit_message):
            shutil.copytree(folder_path, tmp_path / repo_id)

    def fetch(repo, revision=None, allow_patterns=None):
        asked.append(("fetch", repo, revision, allow_patterns))
        if not (tmp_path / repo).exists():
            raise huggingface_hub.errors.LocalEntryNotFoundError("not there.\n\nMany lines.")
        return str(tmp_path / repo)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    return tmp_path, asked


def test_a_model_comes_back_from_the_hub_as_it_was(hub):
    folder, asked = hub
    torch.manual_seed(1)
    model = Dots().build("small", channels=2)
    address = model.push_to_hub("me/dots", evaluation="| K |\n|--:|", private=True, token="t")
    assert address == "hub://me/dots"
    files = sorted(path.name for path in (folder / "me" / "dots").iterdir())
    assert files == ["README.md", "config.json", "model.safetensors"]
    again = CompVAE.from_hub("me/dots", revision="v1")
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert asked == [
        ("token", "t"),
        ("create", "me/dots", True, True),
        ("fetch", "me/dots", "v1", ["config.json", "model.safetensors"]),
    ]


def test_the_card_tells_licence_size_and_evaluation():
    model = Dots().build("small", channels=2)
    card = model_card(model, "me/dots", evaluation="| K | accuracy |", license="cc-by-4.0")
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    assert "# dots-small" in card and "| K | accuracy |" in card
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in card
    assert 'CompVAE.from_hub("me/dots")' in card
    assert "Not evaluated." in model_card(model, "me/dots")


def test_what_is_not_there_is_said_in_a_line(hub, refuses):
    message = "no model me/none could be fetched from the hub (not there.)"
    with refuses(FileNotFoundError, message):
        CompVAE.from_hub("me/none")


@pytest.mark.parametrize("repo", ["dots", "../dots", "a/b/c", "", "me/", 7])
def test_names_that_are_no_repository_s_are_refused_before_anything_is_asked(hub, refuses, repo):
    _, asked = hub
    for call in (Dots().build("small", channels=2).push_to_hub, CompVAE.from_hub):
        with refuses(ValueError, f"repo must be 'owner/name' (got {repo!r})"):
            call(repo)
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
    with refuses(ImportError, "the hub needs its client: pip install 'compvae-pyg[hub]'"):
        CompVAE.from_hub("me/dots")
