"""Classes and functions by their names, called with arguments: they make networks and data modules."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from lipreg.ctrl_c import pass_on_ctrl_c
from lipreg.errors import InvalidInput, LipregError
from lipreg.loading.reasons import of_code
from lipreg.spelling import nearest_name
from lipreg.words import capitalised

_BY_FLAG = "arguments={...}, or --arguments '{...}' in a shell"
_FACTORY = "a class that takes an object of settings is made by a function of yours, package.module:make"


def make_named(name: str, arguments: Mapping[str, Any] | None = None, *, where: str, given_by: str = _BY_FLAG) -> Any:
    """The object that the class or function of a name makes of arguments.

    Args:
        name: ``package.module:name``.
        arguments: by their names; None for none.
        where: the argument that gave the name, for messages.
        given_by: how arguments are given, for messages.

    Raises:
        InvalidInput: no such name, or arguments that it does not take or that are missing.
    """
    accepted = "package.module:Class, or package.module:factory"
    make = named(name, where=where, accepted=accepted)
    return made(make, arguments or {}, name, source="arguments", given_by=given_by, where=where, accepted=accepted)


def named(name: str, *, where: str, accepted: str) -> Any:
    """The class, function or object of a name ``package.module:name``.

    Args:
        name: the name.
        where: the argument that gave it, for messages.
        accepted: what is accepted there, for messages.

    Raises:
        InvalidInput: it is no such name, the module cannot be imported, or it has nothing of that name.
    """
    place, colon, attribute = name.partition(":")
    if not colon or not place or not attribute:
        todo = "Write a colon before the class or function" if "." in name or not colon else ""
        raise InvalidInput(f"{name!r}", where=where, accepted=accepted, todo=todo)
    try:
        value = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise InvalidInput(f"{place} imports {error.name}, which is not installed", where=where) from None
        todo = "Run from the folder that holds it, or put that folder on PYTHONPATH"
        raise InvalidInput(f"there is no module {error.name!r}", where=where, accepted=accepted, todo=todo) from None
    except (Exception, SystemExit) as error:  # of any kind: a user's code runs
        pass_on_ctrl_c(error)
        raise InvalidInput(f"{place} cannot be imported: {of_code(error)}", where=where) from error
    for part in attribute.split("."):
        if not hasattr(value, part):
            near = nearest_name(part, [name for name in vars(value) if not name.startswith("_")])
            meant = f" (did you mean {near!r}?)" if near else ""
            raise InvalidInput(f"{place} has no {attribute!r}{meant}", where=where, accepted=accepted)
        value = getattr(value, part)
    return value


def made(
    make: Any,
    arguments: Mapping[str, Any],
    name: str,
    *,
    source: str,
    where: str,
    accepted: str,
    given_by: str = _BY_FLAG,
) -> Any:
    """The object that a class or function makes of arguments.

    Args:
        make: the class or function.
        arguments: by their names.
        name: that of the class or function, for messages.
        source: where the arguments come from, for messages.
        where: the argument that gave the name, for messages.
        accepted: what is accepted there, for messages.
        given_by: how arguments are given, for messages.

    Raises:
        InvalidInput: it cannot be called, does not take these arguments, lacks some, or raises an error of its own.
    """
    if not callable(make):
        raise InvalidInput(f"{name} is a {type(make).__name__}", where=where, accepted=accepted)
    try:
        signature = inspect.signature(make)
    except ValueError:  # compiled code has none
        signature = inspect.signature(lambda **arguments: None)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        todo = f"Give the arguments yourself, {{}} for none: {given_by}; {_FACTORY}"
        raise InvalidInput(
            f"{source}: {error}", where=name, accepted=f"{name.rpartition(':')[2]}{signature}", todo=todo
        ) from None
    try:
        return make(**arguments)
    except LipregError:
        raise
    except (Exception, SystemExit) as error:  # of any kind: a user's code runs
        pass_on_ctrl_c(error)
        shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        mapped = ", ".join(key for key, value in arguments.items() if isinstance(value, Mapping))
        plain = f"; {mapped} came as plain data, a dictionary" if mapped else ""
        todo = f"{capitalised(_FACTORY)}{plain}" if arguments else ""
        raise InvalidInput(f"{name}({shown}) raises {of_code(error)}", where=where, todo=todo) from error
