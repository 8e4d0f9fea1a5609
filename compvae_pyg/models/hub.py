"""Models on the Hugging Face hub (extra ``hub``)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from compvae_pyg.models.checks import check_model, check_type
from compvae_pyg.models.pretrained import CONFIG, WEIGHTS, save_model

if TYPE_CHECKING:
    from compvae_pyg.models.shared_model import SharedModel

__all__ = ["download_model", "is_repo", "model_card", "push_model"]

_CLIENT = "the hub needs its client: pip install 'compvae-pyg[hub]'"
_CARD = """---
{license}library_name: compvae-pyg
tags:
- compvae
- graph-neural-networks
- pytorch-geometric
- vae
---

# {problem}, {preset}

A compositional variational autoencoder
([Berger & Sebag, ECML PKDD 2019](https://inria.hal.science/hal-02431955)) of the problem
`{problem}`, preset `{preset}`: {parameters:,} parameters, latents of {w_channels} channels for each
part and {z_channels} for each whole.

```python
from compvae_pyg import CompVAE

model = CompVAE.from_pretrained("{repo_id}")
```

## Evaluation

{evaluation}
"""


def model_card(
    model: SharedModel, repo_id: str, *, evaluation: str = "", license: str | None = None
) -> str:
    """Return the text of a model's ``README.md`` on the hub.

    Args:
        model: A model of a registered architecture.
        repo_id: Name of the repository, ``"owner/name"``.
        evaluation: Its evaluation in Markdown, such as the table of
            :func:`~compvae_pyg.evaluation.format_table`, with what it was measured on.
        license: The licence of the weights, by the hub's name for it: ``"mit"``, ``"cc-by-4.0"``.
            By default the card names none.

    Raises:
        ValueError: If the model's networks are not those of a registered architecture.

    Example:
        >>> from compvae_pyg.problems import Dots
        >>> table = "| K | accuracy |"
        >>> card = model_card(Dots().build("small"), "me/dots", evaluation=table, license="mit")
        >>> "license: mit" in card, table in card
        (True, True)
    """
    check_repo(repo_id)
    check_model(model)
    check_type(evaluation, "evaluation", str)
    check_type(license, "license", str, NoneType)
    if license is not None and not re.fullmatch(r"[\w.-]+", license):
        raise ValueError(f"license must be the hub's name of one (got {license!r})")
    if model.config is None:
        raise ValueError("model must be of a registered architecture to have a card (got another)")
    return _CARD.format(
        license="" if license is None else f"license: {license}\n",
        problem=model.config["problem"],
        preset=model.config["preset"],
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        w_channels=model.encoder.w_channels,
        z_channels=model.encoder.z_channels,
        repo_id=repo_id,
        evaluation=evaluation.strip() or "None was given.",
    )


def push_model(
    model: SharedModel,
    repo_id: str,
    *,
    evaluation: str,
    license: str | None,
    commit_message: str,
    private: bool | None,
    token: str | None,
    branch: str | None,
    create_pr: bool | None,
) -> str:
    """Upload a model and its card to the hub, in one commit, and return the commit's address.

    Arguments and errors are those of :meth:`SharedModel.push_to_hub`.
    """
    check_repo(repo_id)
    check_type(commit_message, "commit_message", str)
    check_type(private, "private", bool, NoneType)
    check_type(token, "token", str, NoneType)
    check_type(branch, "branch", str, NoneType)
    check_type(create_pr, "create_pr", bool, NoneType)
    card = model_card(model, repo_id, evaluation=evaluation, license=license)
    try:
        from huggingface_hub import PyTorchModelHubMixin
    except ImportError as error:
        raise ImportError(_CLIENT) from error

    class Upload(PyTorchModelHubMixin):
        def _save_pretrained(self, save_directory: Path) -> None:
            save_model(model, save_directory)
            (save_directory / "README.md").write_text(card, encoding="utf-8")

    address = Upload().push_to_hub(
        repo_id,
        commit_message=commit_message,
        private=private,
        token=token,
        branch=branch,
        create_pr=create_pr,
    )
    return str(address)


def download_model(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the local folder of a model on the hub, of which only its two files are fetched.

    Arguments are those of :meth:`SharedModel.from_pretrained`.

    Raises:
        ImportError: If the hub's client is missing.
        FileNotFoundError: If there is no such model, or it cannot be reached.
    """
    check_repo(repo_id)
    check_type(revision, "revision", str, NoneType)
    check_type(token, "token", str, bool, NoneType)
    check_type(cache_dir, "cache_dir", str, os.PathLike, NoneType)
    check_type(local_files_only, "local_files_only", bool)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise ImportError(f"no folder {repo_id}, and {_CLIENT}") from error
    options: dict[str, Any] = {
        "revision": revision,
        "token": token,
        "cache_dir": cache_dir,
        "local_files_only": local_files_only,
    }
    try:
        return Path(snapshot_download(repo_id, allow_patterns=[CONFIG, WEIGHTS], **options))
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise FileNotFoundError(
            f"no folder {repo_id}, and no such model could be fetched from the hub ({reason})"
        ) from error


def is_repo(name: object) -> bool:
    """Tell whether this can be the name of a repository: ``"owner/name"``.

    Example:
        >>> is_repo("me/dots"), is_repo("../dots")
        (True, False)
    """
    part = r"[A-Za-z0-9][\w.-]*"
    return isinstance(name, str) and re.fullmatch(f"{part}/{part}", name) is not None


def check_repo(repo_id: str) -> None:
    """Refuse what cannot be the name of a repository.

    Raises:
        ValueError: If it is not ``"owner/name"``.
    """
    if not is_repo(repo_id):
        raise ValueError(f"repo_id must be 'owner/name' (got {repo_id!r})")
