"""How Lightning's checkpoints are written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io import TorchCheckpointIO

from compvae_pyg.files import read_archive, write_archive

__all__ = ["AtomicCheckpointIO"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes Lightning's checkpoints as whole files with a digest, and reads these alone.

    See ``compvae_pyg.files.write_archive``. A path is that of a file, whatever its name.

    Raises:
        OSError: If a file cannot be written or read.
        ValueError: If a file is damaged, or was written by others.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     AtomicCheckpointIO().save_checkpoint({"step": 3}, f"{folder}/last.ckpt")
        ...     AtomicCheckpointIO().load_checkpoint(f"{folder}/last.ckpt")
        {'step': 3}
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, *_: Any, **__: Any) -> None:
        """Replace the file, or raise an OSError."""
        write_archive(Path(path), checkpoint)

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: Any = None
    ) -> Any:
        """Return what was saved, or raise a ValueError; by default no code in it is executed."""
        return read_archive(Path(path), map_location, weights_only=weights_only is not False)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove the file, if it is there."""
        Path(path).unlink(missing_ok=True)
