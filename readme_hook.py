"""Make the README that a package index shows: there, paths of the repository lead nowhere."""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface


def for_index(text: str, repository: str | None) -> str:
    """Return Markdown whose paths are addresses in a repository, or left out if it has none.

    Without an address, pictures are left out with what is said below them, and links become text.
    """
    if repository:
        text = re.sub(r"!\[([^]]*)\]\((?!\w+:)", rf"![\1]({repository}/raw/main/", text)
        return re.sub(r"(?<!!)\[([^][]+)\]\((?!\w+:|#)", rf"[\1]({repository}/blob/main/", text)
    text = re.sub(r"!\[[^]]*\]\((?!\w+:)[^)]*\)\n\n(?:\*[^*\n](?:[^*]|\n(?!\n))*\*\n\n)?", "", text)
    return re.sub(r"\[([^][]+)\]\((?!\w+:|#)[^)]*\)", r"\1", text)


class ReadmeHook(MetadataHookInterface):
    """Sets the field ``readme``; the repository is that of ``project.urls``."""

    def update(self, metadata: dict) -> None:
        """Add the field."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository")
        readme = {"content-type": "text/markdown", "text": for_index(text, repository)}
        metadata["readme"] = readme
