"""Registries: of small frozen classes whose fields are their options (penalties, schedules), and of engines by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any, ClassVar, TypeVar

from lipreg.errors import InvalidInput


class Optioned:
    """A registered kind of thing. Subclasses are frozen dataclasses; their fields fit into a config file.

    Attributes:
        name: what users and records call it; set by its registry.
    """

    name: ClassVar[str]

    def describe(self) -> dict[str, Any]:
        """Name and options as plain data, for records."""
        return {"kind": self.name, **asdict(self)}  # type: ignore[call-overload]


_Base = TypeVar("_Base", bound=Optioned)


class Registry(dict[str, type[_Base]]):
    """Kinds by name.

    Args:
        what: what the kinds are, in messages: "penalty".
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def register(self, name: str) -> Callable[[type[_Base]], type[_Base]]:
        """Class decorator: makes a kind known under ``name``.

        Raises:
            InvalidInput: the class is no dataclass, or another class has the name already.
        """

        def add(kind: type[_Base]) -> type[_Base]:
            where = f"{self.what} {name!r}"
            if not is_dataclass(kind):
                raise InvalidInput(f"{kind.__name__} is no dataclass", where=where, todo="Add @dataclass(frozen=True)")
            taken = self.get(name)
            if taken is not None and taken.__qualname__ != kind.__qualname__:
                raise InvalidInput(f"the name belongs to {taken.__qualname__}", where=where, todo="Choose another name")
            kind.name = name
            self[name] = kind
            return kind

        return add

    def build(self, name: str, options: Mapping[str, Any] | None = None) -> _Base:
        """The kind of that name, with its options.

        Raises:
            InvalidInput: no such kind, an unknown or missing option, or a value out of range.
        """
        if not isinstance(name, str) or name not in self:
            raise unknown(name, self.what, self)
        kind, given = self[name], dict(options or {})
        known = {f.name: f.default is MISSING for f in fields(kind)}  # type: ignore[arg-type]
        wrong = [f"unknown option {n!r}" for n in sorted(set(given) - set(known))]
        wrong += [f"option {n!r} is missing" for n, needed in known.items() if needed and n not in given]
        if wrong:
            listed = [f"{n} (required)" if needed else n for n, needed in known.items()]
            raise InvalidInput(
                ", ".join(wrong),
                where=f"{self.what} {name!r}",
                accepted=", ".join(listed) or "no options: leave them out",
            )
        return kind(**given)


_Engine = TypeVar("_Engine")
_Kind = TypeVar("_Kind")


class Engines(dict[str, _Engine]):
    """Instances by name, of classes that need no options: estimators and solvers.

    Args:
        what: what they are, in messages: "estimator".
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def register(self, name: str) -> Callable[[type[_Kind]], type[_Kind]]:
        """Class decorator: makes an instance known under ``name``. The conformance suite takes it from there."""

        def add(kind: type[_Kind]) -> type[_Kind]:
            kind.name = name  # type: ignore[attr-defined]
            self[name] = kind()  # type: ignore[assignment]
            return kind

        return add

    def find(self, name: str) -> _Engine:
        """The one of that name.

        Raises:
            InvalidInput: there is none; the message lists all.
        """
        if not isinstance(name, str) or name not in self:
            raise unknown(name, self.what, self)
        return self[name]


def nearest_name(name: str, names: Iterable[str]) -> str:
    """The one of some names that is meant by another that is nearly it; empty if none is near."""
    return next(iter(difflib.get_close_matches(name, list(names), n=1)), "")


def unknown(name: object, where: str, names: Iterable[str]) -> InvalidInput:
    """The error about a name that is none of these; of one that is nearly one of them it says which."""
    listed = sorted(names)
    near = nearest_name(name, listed) if isinstance(name, str) else ""
    meant = f" (did you mean {near!r}?)" if near else ""
    return InvalidInput(f"got {name!r}{meant}", where=where, accepted=", ".join(listed))


def check_number(value: Any, option: str, where: str, *, low: float | None = None, above: float | None = None) -> None:
    """Raises InvalidInput unless the value is a finite number, of at least ``low``, and above ``above``."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if number and (low is None or value >= low) and (above is None or value > above):
        return
    limit = f" of at least {low:g}" if low is not None else f" above {above:g}" if above is not None else ""
    raise InvalidInput(f"{option}={value!r}", where=where, accepted=f"a finite number{limit}")


def check_count(value: Any, option: str, where: str) -> None:
    """Raises InvalidInput unless the value is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidInput(f"{option}={value!r}", where=where, accepted="a whole number of at least 1")
