"""Plain data: whether it has the types that a dataclass declares, as a file may have any content, and is equal."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from lipreg.words import spelled


def misfits(value: Any) -> list[str]:
    """The fields of a dataclass instance whose values are of another type, with what was got and what is accepted."""
    texts = []
    for name, kind, fits in _fields(type(value)):
        got = getattr(value, name)
        if not fits(got):
            texts.append(f"{name}={repr(got)[:40]} ({_spelled(kind)})")
    return texts


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
    once: list[Any] = []
    for content in contents:
        if not any(alike(content, earlier) for earlier in once):
            once.append(content)
    return once


def flatten(settings: Any, name: str = "") -> dict[str, str]:
    """Nested settings in words, by dotted name; those in a list by their number."""
    if isinstance(settings, list | tuple) and any(isinstance(each, Mapping) for each in settings):
        settings = {str(i): each for i, each in enumerate(settings, 1)}
    if not isinstance(settings, Mapping):
        return {name: spelled(settings)}
    flat: dict[str, str] = {}
    for key, inner in settings.items():
        flat |= flatten(inner, f"{name}.{key}" if name else str(key))
    return flat


@functools.cache
def _fields(kind: type) -> tuple[tuple[str, Any, Callable[[Any], bool]], ...]:
    """The fields of a dataclass: name, type, and a function that decides whether a value has it."""
    hints = get_type_hints(kind)
    return tuple((field.name, hints[field.name], _fitting(hints[field.name])) for field in fields(kind))


def _fitting(kind: Any) -> Callable[[Any], bool]:
    """A function that decides whether a value has a type; made once a type, as records are many."""
    if kind is Any:
        return lambda value: True
    if get_origin(kind) in (Union, types.UnionType):
        each = tuple(map(_fitting, get_args(kind)))
        return lambda value: any(fits(value) for fits in each)
    if get_origin(kind) is list:
        fits_entry = _fitting(get_args(kind)[0])
        return lambda value: isinstance(value, list | tuple) and all(map(fits_entry, value))
    if get_origin(kind) is dict:
        key, fits_entry = map(_fitting, get_args(kind))
        return lambda value: isinstance(value, dict) and all(map(key, value)) and all(map(fits_entry, value.values()))
    if kind is int:
        return _is_whole
    if kind is float:
        return lambda value: isinstance(value, float) or _is_whole(value)
    return lambda value: isinstance(value, kind)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


_NAMED = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


def _spelled(kind: Any) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(map(_spelled, get_args(kind)))
    if get_origin(kind) in (list, dict):
        entries = _PLURALS.get(get_args(kind)[-1], "values")
        return f"a list of {entries}" if get_origin(kind) is list else f"{entries} by name"
    return _NAMED.get(kind, str(kind))
