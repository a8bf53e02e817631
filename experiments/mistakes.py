"""What went wrong in words that tell what to do, where the user can mend it; anything else stays the error that it is."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hydra.errors import CompactHydraException, InstantiationException, MissingConfigException, OverrideParseException
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from experiments.limits import LimitReached
from lipreg.auditing.executors import CannotStart
from lipreg.disks import FullDisk, full_disk, is_full
from lipreg.errors import InvalidInput, LipregError
from lipreg.spelling import suggestion

FULL = "HYDRA_FULL_ERROR"
"""The environment variable with which Hydra, and these programs, show tracebacks."""

_NO_MEMORY = re.compile(r"cannot allocate|can't allocate|failed to map|not enough memory|out of memory", re.IGNORECASE)


def mistake(error: BaseException, folder: Path | None = None, groups: Sequence[str] = ()) -> BaseException | None:
    """What a user can mend about an error, as an exception whose text is one paragraph; None where it is a defect.

    Errors of lipreg are their own words. Said in the same form are: groups, keys and values of a configuration that nothing
    takes, what Lightning refuses about its trainer, and files and folders that cannot be read or written. Of a full disk
    the first of what had no room is said: loggers and trainers that end after it have none either.

    Args:
        error: what was raised.
        folder: in which it was worked, which is said where a library does not tell the file that had no room.
        groups: of the program's configuration, which a key that is none may have meant.
    """
    found = _wrapped(error)
    full = [each for each in _chain(error) if isinstance(each, OSError) and is_full(each)]
    if full:
        first = next((each for each in full if isinstance(each, FullDisk)), full[-1])
        return first if isinstance(first, FullDisk) else full_disk(first, _path_of(first) or folder or Path())
    if isinstance(found, LipregError | CannotStart | LimitReached):
        return found
    if type(found).__name__ == "UncompletedJobError":  # submitit's, which is not there without the extra
        todo = "The same command goes on where its jobs were"
        return LimitReached(f"a job of the sweep was ended before it was done, as schedulers do. {todo}.")
    if isinstance(found, MisconfigurationException):
        return InvalidInput(_line(found), where="trainer")
    if isinstance(found, CompactHydraException | OmegaConfBaseException):
        return _of_configuration(found, groups)
    if isinstance(error, InstantiationException):
        return InvalidInput(f"{type(found).__name__}: {_line(found)}", where=_key_of(error))
    if isinstance(found, OSError) and found.strerror and found.errno is not None:
        return _of_files(found)
    return None


def lacks_memory(error: BaseException) -> bool:
    """Whether an error, or one that it comes from, is that memory could not be had."""
    return any(isinstance(each, MemoryError) or _NO_MEMORY.search(str(each)) for each in _chain(error))


def refused(got: str, name: str, known: Iterable[str], where: str) -> InvalidInput:
    """The refusal of a name that is none of those that are taken, with the one that comes closest."""
    listed = list(known)
    return InvalidInput(f"{got}{suggestion(name, listed)}", where=where, accepted=", ".join(listed) or "nothing")


def _wrapped(error: BaseException) -> BaseException:
    """What Hydra has put its own error around."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: list[BaseException | None] = [error]
    while following:
        each = following.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            following += [each.__cause__, each.__context__]


def _of_configuration(error: BaseException, groups: Sequence[str]) -> InvalidInput:
    """What Hydra or OmegaConf say of a command line or a file."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        known = sorted(error.options or ())
        return refused(f"{group}={option}" if group else option, option, known, "configuration")
    if isinstance(error, OverrideParseException):
        return InvalidInput(
            f"{error.override!r} is no override", where="command line", accepted="key=value, group=option"
        )
    inner = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(inner, ConfigAttributeError | ConfigKeyError) and inner.parent_node is not None:
        parent, key = inner.parent_node, str(inner.key)
        known = [str(name) for name in parent.keys() if not str(name).startswith("_")]  # noqa: SIM118 # a node of OmegaConf is no dict
        if (inner.full_key or key) == key:  # of the whole, where groups can be named too
            known = list(dict.fromkeys([*(name for name in known if name != "hydra"), *groups]))
        return refused(f"there is no {inner.full_key or key}", key, known, "configuration")
    absent = re.search(r"config group '([^'\s]+)' does not exist", str(inner))
    if absent is not None:
        return refused(f"there is no group {absent[1]}", absent[1], groups, "configuration")
    if isinstance(inner, MissingMandatoryValue):
        key = inner.full_key or str(inner.key)
        return InvalidInput(f"{key} has no value", where="configuration", todo=f"Pass {key}=VALUE")
    return InvalidInput(_line(inner), where=getattr(inner, "full_key", None) or "configuration")


def _of_files(error: OSError) -> InvalidInput:
    """What the system says of a file or folder."""
    path = _path_of(error)
    got = ("" if path is None else f"{path}: ") + str(error.strerror)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        todo = "Choose a folder that can be written"
    else:
        todo = ""
    return InvalidInput(got, where="files", todo=todo)


def _path_of(error: OSError) -> Path | None:
    """The file that an error of the system names; the one that was to be written, of two."""
    path = error.filename if error.filename2 is None else error.filename2
    return Path(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else None


def _key_of(error: InstantiationException) -> str:
    """The part of the configuration whose object could not be made."""
    found = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)
    return found[1] if found else "configuration"


def _line(error: BaseException) -> str:
    """An error's text in one line, without where Hydra and OmegaConf add what they know of it."""
    kept = [
        line for line in str(error).splitlines() if not re.match(r"\s*(full_key|object_type|reference_type)[:=]", line)
    ]
    return " ".join(" ".join(kept).split()) or type(error).__name__
