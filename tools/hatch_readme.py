"""README.md as the description of the package: an index page has no files beside it, to which its links could lead.

Where ``[project.urls]`` has ``Source``, the address of the repository's files, links and pictures lead there. It has none
yet: then links are the words and the path, and a picture is what it shows, in words.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)")


class ReadmeHook(MetadataHookInterface):
    """Sets the field ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Reads README.md beside pyproject.toml."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        source = metadata.get("urls", {}).get("Source", "")
        metadata["readme"] = {"content-type": "text/markdown", "text": described(text, source)}


def described(text: str, source: str = "") -> str:
    """The page with links that work anywhere.

    Args:
        text: the page, whose links lead to files beside it.
        source: address below which these files are; empty if there is none.
    """

    def link(found: re.Match[str]) -> str:
        picture, words, path = found.groups()
        if source:
            return f"{picture}[{words}]({source.rstrip('/')}/{path})"
        if picture:
            return f"*(A picture in the repository, {path}: {words}.)*"
        return path if words == path else f"{words} ({path} in the repository)"

    return _LINK.sub(link, re.sub(r"<!-- .*? -->\n", "", text))
