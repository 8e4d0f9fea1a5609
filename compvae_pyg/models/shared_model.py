"""What is saved, loaded and shared with others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from compvae_pyg.models.hub import download_model, is_repo, push_model
from compvae_pyg.models.pretrained import load_model, save_model, shipped_models

if TYPE_CHECKING:
    from compvae_pyg.models.compvae import CompVAE
    from compvae_pyg.models.encoder import CompVAEEncoder

__all__ = ["SharedModel"]


class SharedModel(nn.Module):
    """A model that can be written into a folder, read from there, and put on the hub.

    Methods are called as those of ``huggingface_hub.PyTorchModelHubMixin``, which does the upload,
    and options as theirs. It is no base of this class: importing the package would then need the
    hub's client.

    Attributes:
        config: What rebuilds the networks: names of the problem and of the preset, parameters of
            the problem, options of the networks; set by a registered architecture.
    """

    encoder: CompVAEEncoder

    def __init__(self) -> None:
        super().__init__()
        self.config: dict[str, Any] | None = None

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder.

        Raises:
            ValueError: If the networks are not those of a registered architecture, see
                :func:`~compvae_pyg.models.register_architecture`.
            ImportError: If the package safetensors is missing.
        """
        save_model(self, folder)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> CompVAE:
        """Read a model that was saved, on the CPU, in evaluation mode; no code in it is executed.

        Args:
            name: A folder of :meth:`save_pretrained`; or else the name of a model that the package
                ships, ``"dots-small"``, or of one on the Hugging Face hub, ``"owner/name"``.
            revision: On the hub: branch, tag or commit; by default the newest.
            token: The hub's token; by default the one that is logged in.
            cache_dir: Where files of the hub are kept; by default where its client keeps them.
            local_files_only: Whether to take what was fetched before, and not to ask the hub.

        Raises:
            FileNotFoundError: If there is no such model, or the hub cannot be reached.
            ValueError: If a file is damaged, or weights and networks do not belong together.
            ImportError: If safetensors or, for a model on the hub, its client is missing.

        Example:
            >>> import torch
            >>> from compvae_pyg import CompVAE
            >>> model = CompVAE.from_pretrained("dots-small")
            >>> red = {"color": torch.tensor([0]), "pos": torch.zeros(1, 2)}
            >>> image = model.generate(red, generator=torch.Generator().manual_seed(0))
            >>> image.mean(dim=(2, 3)).round()
            tensor([[1., 0., 0.]])
        """
        if not isinstance(name, (str, os.PathLike)):
            raise TypeError(f"name must be a folder or the name of a model (got {name!r})")
        folder, shipped = Path(name), shipped_models()
        if folder.exists():
            return load_model(folder)
        if str(name) in shipped:
            return load_model(shipped[str(name)])
        if not is_repo(name):
            raise FileNotFoundError(
                f"no folder {folder}, and no model of that name is shipped (shipped: "
                f"{', '.join(shipped)})"
            )
        fetched = download_model(
            str(name),
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        return load_model(fetched)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        evaluation: str = "",
        license: str | None = None,
        commit_message: str = "Upload model",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Upload the model to the Hugging Face hub, with a card, and return the commit's address.

        Args:
            repo_id: Name of the repository, ``"owner/name"``; made if need be.
            evaluation: How good it is, in Markdown, for the card; see
                :func:`~compvae_pyg.evaluation.format_table`.
            license: The licence of the weights, by the hub's name for it; by default none is named.
            commit_message: What the commit is called.
            private: Whether a new repository is private; by default as the owner has it set.
            token: The hub's token; by default the one that is logged in.
            branch: Branch of the repository; by default the main one.
            create_pr: Whether to propose the commit instead of making it.

        Raises:
            ValueError: If ``repo_id`` is no name of a repository, or the networks are not those of
                a registered architecture; nothing is uploaded then.
            ImportError: If the hub's client or safetensors is missing.
        """
        return push_model(
            self,
            repo_id,
            evaluation=evaluation,
            license=license,
            commit_message=commit_message,
            private=private,
            token=token,
            branch=branch,
            create_pr=create_pr,
        )
