"""Models on the Hugging Face hub (extra ``hub``)."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from compvae_pyg.models.pretrained import CONFIG, WEIGHTS, save_model

if TYPE_CHECKING:
    from compvae_pyg.models.compvae import CompVAE

__all__ = ["download_model", "model_card", "push_model"]

_CARD = """---
license: {license}
library_name: compvae-pyg
tags:
- compvae
- graph-neural-networks
- pytorch-geometric
- vae
---

# {architecture}

A compositional variational autoencoder
([Berger & Sebag, ECML PKDD 2019](https://inria.hal.science/hal-02431955)) of the architecture
`{architecture}`: {parameters:,} parameters, latents of {w_channels} channels for each part and
{z_channels} for each whole.

```python
from compvae_pyg import CompVAE

model = CompVAE.from_hub("{repo}")
```

## Evaluation

{evaluation}
"""


def model_card(model: CompVAE, repo: str, *, evaluation: str = "", license: str = "mit") -> str:
    """Return the text of a model's ``README.md`` on the hub.

    Args:
        model: A model of a registered architecture.
        repo: Name of the repository, ``"owner/name"``.
        evaluation: Its evaluation in Markdown, such as the table of
            :func:`~compvae_pyg.evaluation.format_table`, with what it was measured on.
        license: The licence of the weights, by the hub's name for it.

    Raises:
        ValueError: If the model's networks are not those of a registered architecture.

    Example:
        >>> from compvae_pyg.problems import Dots
        >>> card = model_card(Dots().build("small"), "me/dots", evaluation="| K | accuracy |")
        >>> "license: mit" in card, "| K | accuracy |" in card
        (True, True)
    """
    if model.config is None:
        raise ValueError("model must be of a registered architecture to have a card (got another)")
    return _CARD.format(
        license=license,
        architecture=model.config["architecture"],
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        w_channels=model.encoder.w_channels,
        z_channels=model.encoder.z_channels,
        repo=repo,
        evaluation=evaluation.strip() or "Not evaluated.",
    )


def push_model(
    model: CompVAE,
    repo: str,
    *,
    evaluation: str = "",
    license: str = "mit",
    private: bool | None = None,
    token: str | None = None,
) -> str:
    """Upload a model and its card to the hub, in one commit, and return its address.

    Arguments and errors are those of :meth:`CompVAE.push_to_hub`.
    """
    check_repo(repo)
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ImportError("the hub needs its client: pip install 'compvae-pyg[hub]'") from error
    card = model_card(model, repo, evaluation=evaluation, license=license)
    with tempfile.TemporaryDirectory() as folder:
        # All is written before anything is created there.
        save_model(model, folder)
        Path(folder, "README.md").write_text(card, encoding="utf-8")
        api = HfApi(token=token)
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload model")
    return str(address)


def download_model(repo: str, revision: str | None = None) -> Path:
    """Return the local folder of a model on the hub, of which only its two files are fetched.

    Raises:
        ImportError: If the hub's client is missing.
        FileNotFoundError: If there is no such model, or it cannot be reached.
    """
    check_repo(repo)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise ImportError("the hub needs its client: pip install 'compvae-pyg[hub]'") from error
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=[CONFIG, WEIGHTS]))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().split("\n")[0]
        raise FileNotFoundError(
            f"no model {repo} could be fetched from the hub ({reason})"
        ) from error


def check_repo(repo: str) -> None:
    """Refuse what cannot be the name of a repository.

    Raises:
        ValueError: If it is not ``"owner/name"``.

    Example:
        >>> check_repo("../dots")
        Traceback (most recent call last):
        ...
        ValueError: repo must be 'owner/name' (got '../dots')
    """
    part = r"[A-Za-z0-9][\w.-]*"
    if not isinstance(repo, str) or not re.fullmatch(f"{part}/{part}", repo):
        raise ValueError(f"repo must be 'owner/name' (got {repo!r})")
