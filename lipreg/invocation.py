"""What was run: the command line of this process, and the commit of the repository that its program lies in.

Paths are as they were typed. No environment variable is read into it, and what is named like a secret is left out.
"""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

HIDDEN = "***"
"""What stands in the place of a secret."""
LONGEST = 2000
"""Letters of a command that are kept."""
PATIENCE = 2.0
"""Seconds that git gets: in a very large repository it takes long to say whether anything was changed."""

_NAMED = r"(?:^|[^a-z])(?:api|access|private|secret|auth)?[-_]?(?:key|token|password|passwd|secret|credentials?)"
_SECRET = re.compile(f"{_NAMED}$", re.I)
_INSIDE = re.compile(rf"({_NAMED}['\"]?\s*[:=]\s*)[^,}}\s]+", re.I)
"""Of settings in one argument, such as ``logger={api_key: ...}``."""
_ADDRESS = re.compile(r"(\w+://)[^/@\s]+@")


class Commit(NamedTuple):
    """A commit of a git repository.

    Attributes:
        name: its hash; empty where there is none.
        changed: whether tracked files had been changed since; None where git does not say.
    """

    name: str
    changed: bool | None


def command() -> str:
    """The command line of this process as a shell would read it; of a job of Hydra its own overrides. Empty if unknown."""
    words = [*_program(), *(_overrides() or sys.argv[1:])]
    return shlex.join(without_secrets(words))[:LONGEST] if words and sys.argv[0] not in ("", "-c") else ""


def named_like_a_secret(name: str) -> bool:
    """Whether a name is that of a value to be hidden: a key, a token, a password."""
    return bool(_SECRET.search(name))


def without_secrets(words: Sequence[str]) -> list[str]:
    """Arguments in which the values of ``token=...``, ``--api-key ...`` and ``https://name:word@host`` are hidden."""
    return list(_hidden(words))


def _hidden(words: Iterable[str]) -> Iterator[str]:
    secret = False
    for word in words:
        name, is_set, _ = word.partition("=")
        if secret and not word.startswith("-"):
            yield HIDDEN
        elif is_set and _SECRET.search(name):
            yield f"{name}={HIDDEN}"
        else:
            yield _INSIDE.sub(rf"\1{HIDDEN}", _ADDRESS.sub(rf"\1{HIDDEN}@", word))
        secret = word.startswith("-") and not is_set and bool(_SECRET.search(word))


def _program() -> list[str]:
    """How the program was named: ``python -m package.module``, or the path of a script."""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    if main is not None and main.name:
        return ["python", "-m", main.name.removesuffix(".__main__")]
    typed = sys.argv[0]
    return ["python", typed] if typed.endswith(".py") else [Path(typed).name] if typed else []


def _overrides() -> list[str] | None:
    """Of the job of Hydra that this process is in; a sweep's own command names every value."""
    module = sys.modules.get("hydra.core.hydra_config")
    config = getattr(module, "HydraConfig", None)
    if config is None or not config.initialized():
        return None
    return list(config.get().overrides.task)


def commit() -> Commit:
    """The commit of the repository in which the program lies; for an installed program that of the working directory."""
    typed = Path(sys.argv[0]).absolute() if sys.argv and sys.argv[0] else None
    installed = typed is None or not typed.is_file() or typed.is_relative_to(sys.prefix)
    return _commit(Path.cwd() if installed or typed is None else typed.parent)


@functools.cache
def _commit(folder: Path) -> Commit:
    """The commit at this process's first call: what runs was read then."""
    name = _git(folder, "rev-parse", "HEAD")
    if not name or not re.fullmatch(r"[0-9a-f]{40,64}", name):
        return Commit("", None)
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return Commit(name, None if changed is None else bool(changed))


def _git(folder: Path, *words: str) -> str | None:
    """What git says of a folder; None where it says nothing."""
    safe = ["-c", "core.fsmonitor=false", "--no-optional-locks"]  # it runs nothing and writes nothing
    try:
        arguments = ["git", *safe, "-C", str(folder), *words]
        answer = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
