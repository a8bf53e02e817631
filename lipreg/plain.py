"""Whether plain data has the types that a dataclass says: what is read from files was written by anybody."""

from __future__ import annotations

import functools
import types
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints


def misfits(value: Any) -> list[str]:
    """The fields of a dataclass instance whose values are of another type, with what was got and what is accepted."""
    found = []
    for name, kind in _types(type(value)).items():
        got = getattr(value, name)
        if not _fits(got, kind):
            found.append(f"{name}={str(got)[:40]!r} ({_spelled(kind)})")
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
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def _spelled(kind: Any) -> str:
    named = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return named.get(kind, str(kind).replace("typing.", ""))
