"""Classes of a registry: whether one is whole, of the right kind and without misspelt attributes; how it is written."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from lipreg.errors import InvalidInput


def check_kind(kind: type, base: type, where: str) -> None:
    """Refuses a class that is not of its kind, or leaves out or misspells what its kind says of itself.

    Args:
        kind: the class that is to be registered.
        base: what it has to be made of.
        where: what it would be registered as, in messages.

    Raises:
        InvalidInput: the message says which, and what to write.
    """
    if not issubclass(kind, base):
        todo = f"Write class {kind.__name__}({base.__name__}), with {base.__name__} from {_package(base)}"
        raise InvalidInput(f"{kind.__name__} is no {base.__name__}", where=where, accepted="such classes", todo=todo)
    said = _attributes(base)
    methods = sorted(getattr(kind, "__abstractmethods__", ()))
    lacking = methods + [name for name in said if not hasattr(kind, name)]
    if lacking:
        todo = f"Write them into the class; help({base.__name__}) says what each is"
        raise InvalidInput(f"{kind.__name__} has no {', '.join(lacking)}", where=where, todo=todo)
    own = {name for name, value in vars(kind).items() if not name.startswith("_") and _plain(value)}
    for name in sorted(own - set(dir(base)) - _options(kind)):
        near = difflib.get_close_matches(name, [each for each in said if each not in vars(kind)], n=1, cutoff=0.8)
        if near:
            todo = f"Write {near[0]}, or _{name} where it is an attribute of your own"
            got = f"{kind.__name__}.{name}, which nothing reads (did you mean {near[0]!r}?)"
            raise InvalidInput(got, where=where, accepted=", ".join(said), todo=todo)


def check_options(kind: type, written: str, where: str) -> None:
    """Refuses a class with options that is no dataclass, or has options of its own and only inherits from one.

    Args:
        kind: the class that is to be registered.
        written: the decorator that makes it one, as users write it: "@dataclass(frozen=True)".
        where: what it would be registered as, in messages.
    """
    if not is_dataclass(kind):
        raise InvalidInput(f"{kind.__name__} is no dataclass", where=where, todo=f"Add {written}")
    made = "__dataclass_fields__" in vars(kind)
    new = [name for name, type_ in inspect.get_annotations(kind).items() if "ClassVar" not in str(type_)]
    if new and not made:
        got = f"{kind.__name__} is no dataclass itself, so that {', '.join(new)} would be no options"
        raise InvalidInput(got, where=where, todo=f"Add {written}")
    if made and "frozen" not in written and kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        got = f"{kind.__name__} is frozen, and keeps what runs in itself"
        raise InvalidInput(got, where=where, todo=f"Write {written}")


def constructor_call(kind: Any, options: Mapping[str, Any] | None = None) -> str:
    """How an object of a kind with options is written in Python; a required option without a value is three dots."""
    needed = {f.name: "..." for f in fields(kind) if f.default is MISSING}
    arguments = needed | {name: repr(value) for name, value in (options or {}).items()}
    return f"{kind.__name__}({', '.join(f'{name}={value}' for name, value in arguments.items())})"


def import_line(kind: Any) -> str:
    """The line that imports a class."""
    return f"from {kind.__module__} import {kind.__name__}"


def _attributes(base: type) -> list[str]:
    """The class attributes that a kind says something by, in the order in which they are declared."""
    annotated = {name: str(type_) for each in base.__mro__ for name, type_ in inspect.get_annotations(each).items()}
    return [name for name, type_ in annotated.items() if "ClassVar" in type_ and not name.startswith("_")]


def _options(kind: type) -> set[str]:
    return {field.name for field in fields(kind)} if is_dataclass(kind) else set()


def _plain(value: Any) -> bool:
    """Whether a class attribute is data: no method, property, nested class or module."""
    return not (callable(value) or inspect.isdatadescriptor(value) or inspect.ismodule(value))


def _package(base: type) -> str:
    """The package from which users import a class of lipreg."""
    first, second, *rest = [*base.__module__.split("."), ""]
    return f"{first}.{second}".rstrip(".") if rest else base.__module__
