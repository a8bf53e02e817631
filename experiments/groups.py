"""Which configuration groups a program has: those of ``conf`` beside those of ``lipreg.conf``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

FILES = Path(__file__).resolve().parents[1] / "conf"
"""The configurations of the programs, NAME.yaml of each, and their own groups."""


class GroupsOfLipreg(SearchPathPlugin):
    """Puts lipreg's groups where ``--help`` lists them: it does not read ``hydra.searchpath`` of a configuration."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("lipreg", "pkg://lipreg.conf")


def list_groups_of_lipreg() -> None:
    """Lets the help of programs that begin after this call list lipreg's groups beside their own."""
    Plugins.instance().register(GroupsOfLipreg)


def groups_of(name: str) -> tuple[str, ...]:
    """The groups that a program's configuration chooses from, as ``group=option`` on its command line does.

    Args:
        name: of the configuration.
    """
    told: Any = OmegaConf.to_container(OmegaConf.load(FILES / f"{name}.yaml"), resolve=False)
    keys = (key for entry in told.get("defaults", []) if isinstance(entry, dict) for key in entry)
    return tuple(key for key in keys if not key.startswith("override "))
