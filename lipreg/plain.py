"""Plain data: whether it has the types that a dataclass says, as a file may have been written by anybody, and is equal."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints


def misfits(value: Any) -> list[str]:
    """The fields of a dataclass instance whose values are of another type, with what was got and what is accepted."""
    found = []
    for name, kind in _types(type(value)).items():
        got = getattr(value, name)
        if not _fits(got, kind):
            found.append(f"{name}={repr(got)[:40]} ({_spelled(kind)})")
    return found


def frozen(content: Any) -> Hashable:
    """Plain data as a key, equal for equal data: read back from a file it has lists for tuples, texts for all keys."""
    if isinstance(content, Mapping):
        return frozenset((str(key), frozen(value)) for key, value in content.items())
    return tuple(map(frozen, content)) if isinstance(content, list | tuple) else content


def alike(one: Any, other: Any) -> bool:
    """Whether plain data is equal, as in ``frozen``."""
    return one == other or frozen(one) == frozen(other)


def distinct(contents: Iterable[Any]) -> list[Any]:
    """Each content once, in the order in which they first appear."""
    found: list[Any] = []
    for content in contents:
        if not any(alike(content, known) for known in found):
            found.append(content)
    return found


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _fits(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if get_origin(kind) in (Union, types.UnionType):
        return any(_fits(value, each) for each in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list | tuple) and all(_fits(entry, get_args(kind)[0]) for entry in value)
    if get_origin(kind) is dict:
        of = get_args(kind)
        return isinstance(value, dict) and all(_fits(k, of[0]) and _fits(v, of[1]) for k, v in value.items())
    if kind in (int, float):
        whole = isinstance(value, int) and not isinstance(value, bool)
        return (whole and abs(value) <= sys.float_info.max) or (kind is float and isinstance(value, float))
    return isinstance(value, kind)


_NAMED = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


def _spelled(kind: Any) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(map(_spelled, get_args(kind)))
    if get_origin(kind) in (list, dict):
        held = _PLURALS.get(get_args(kind)[-1], "values")
        return f"a list of {held}" if get_origin(kind) is list else f"{held} by name"
    return _NAMED.get(kind, str(kind))
