"""The registry of every open set: of small frozen classes whose fields are options, and of instances by name."""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, fields
from functools import cached_property
from typing import Any, TypeVar

from lipreg.ctrl_c import pass_on_ctrl_c
from lipreg.errors import InvalidInput
from lipreg.kinds import check_kind, check_options, constructor_call, import_line
from lipreg.spelling import suggestion, unknown


class Named(ABC):
    """A thing of an open set, whose registry holds its name."""

    @staticmethod
    @abstractmethod
    def registry() -> Registry[Any]:
        """The registry of all that is of its kind."""

    @cached_property
    def name(self) -> str:
        """What users and records call it: the name that it was made by, or by which its class was first registered."""
        name = self.registry().name_of(type(self))
        if name is None:
            raise AttributeError(f"{type(self).__name__} has no name: it is not registered")
        return name


class Optioned(Named):
    """A registered kind of thing. Subclasses are frozen dataclasses; their fields fit into a config file."""

    def describe(self) -> dict[str, Any]:
        """Name and options as plain data, for records."""
        return {"kind": self.name, **asdict(self)}  # type: ignore[call-overload]


DECLARED = "lipreg"
"""The group of entry points under which a package names its modules that register something."""

_Kind = TypeVar("_Kind")
_Entry = TypeVar("_Entry")
_Base = TypeVar("_Base")


class Registry(dict[str, _Entry]):
    """What an open set holds, by name: classes whose fields are options, or instances of classes that need none.

    Args:
        what: what its entries are, in messages: "penalty".
        entry: makes an entry from a class and its name; by default the class itself, which then is a dataclass.
        base: what all classes are made of.
        written: how such a dataclass is declared.
        home: the registry as it is imported, for messages.
    """

    def __init__(
        self,
        what: str,
        entry: Callable[[Any, str], _Entry] | None = None,
        *,
        base: type = object,
        written: str = "@dataclass(frozen=True)",
        home: str = "",
    ) -> None:
        super().__init__()
        self.home = home
        self.what, self._entry, self._base, self._written = what, entry or self._kind, base, written
        self._elsewhere: dict[str, str] = {}
        self._names: dict[type, str] = {}  # those under which classes were first registered
        self._declared = False  # whether what installed packages declare is imported

    def register(self, name: str, *, replace: bool = False) -> Callable[[type[_Kind]], type[_Kind]]:
        """Class decorator: makes a class known under ``name``. The conformance suite takes it from there.

        Args:
            name: what users and records call it.
            replace: whether it may take the name of another class; a class that is defined anew, as a notebook's cell that
                runs again does, takes its own.

        Raises:
            InvalidInput: another class has the name already, it is no name, or what is to have it is no class of the kind
                (``check_kind``, ``check_options``).
        """
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
            todo = f'Write @register("...") above the class: the name of a new {self.what}'
            raise InvalidInput(
                f"the name {name!r}", where=self.what, accepted="letters, digits, '_', '-' and '.'", todo=todo
            )

        def add(kind: type[_Kind]) -> type[_Kind]:
            if not isinstance(kind, type):
                raise InvalidInput(f"got {kind!r}", where=f"{self.what} {name!r}", accepted="a class")
            if not kind.__module__.startswith(self._elsewhere.get(name, "")):
                self._load(name)
            taken = self.get(name)
            before = taken if isinstance(taken, type) or taken is None else type(taken)
            if (owner := other_owner(before, kind)) and not replace:
                raise InvalidInput(
                    f"the name belongs to {owner}",
                    where=f"{self.what} {name!r}",
                    todo="Choose another name, or register it with replace=True",
                )
            check_kind(kind, self._base, f"{self.what} {name!r}")
            self[name] = self._entry(kind, name)
            self._names.setdefault(kind, name)
            return kind

        return add

    def _kind(self, kind: Any, name: str) -> Any:
        check_options(kind, self._written, f"{self.what} {name!r}")
        return kind

    def name_of(self, kind: type) -> str | None:
        """The name by which a class, or the nearest that it is made of, was first registered; None if none of them was."""
        return next((self._names[each] for each in kind.__mro__ if each in self._names), None)

    def elsewhere(self, module: str, *names: str) -> None:
        """Names the module that registers some names; it is imported when ``find`` first meets one of them."""
        self._elsewhere |= dict.fromkeys(names, module)

    def find(self, name: str) -> _Entry:
        """The entry of that name.

        Raises:
            InvalidInput: there is none; the message lists those that are nearest.
        """
        if not self.has(name):
            raise unknown(name, self.what, self.all_names(), self.home)
        return self[name]

    def has(self, name: object) -> bool:
        """Whether there is an entry of that name, once what may register it is imported.

        That is, the first time, what installed packages declare as entry points of the group "lipreg", and the module of
        ``elsewhere``. A declared one that cannot be imported is a warning.
        """
        if not isinstance(name, str):
            return False
        if name not in self and not self._declared:
            self._declared = True
            for entry in importlib.metadata.entry_points(group=DECLARED):
                try:
                    entry.load()
                except (Exception, SystemExit) as error:  # of somebody else's package, which may not be the one meant
                    pass_on_ctrl_c(error)
                    warnings.warn(f"{entry.value}, declared for lipreg, cannot be imported: {error!r}", stacklevel=3)
        self._load(name)
        return name in self

    def _load(self, name: str) -> None:
        if name not in self and name in self._elsewhere:
            importlib.import_module(self._elsewhere[name])

    def all_names(self) -> tuple[str, ...]:
        """All names that ``find`` takes, loaded or not."""
        return tuple(dict.fromkeys((*self, *self._elsewhere)))

    def offered(self) -> dict[str, _Entry]:
        """The entries that messages offer: all but those of ``elsewhere``, whether one of them is loaded or not."""
        return {name: entry for name, entry in self.items() if name not in self._elsewhere}

    def own(self) -> dict[str, _Entry]:
        """The entries that lipreg itself brings, of those that are loaded."""
        kinds = {name: entry if isinstance(entry, type) else type(entry) for name, entry in self.items()}
        return {name: self[name] for name, kind in kinds.items() if kind.__module__.startswith("lipreg.")}

    def of(self, user_value: Any, base: type[_Base]) -> _Base:
        """The object that a user means by an object, by a name, or by plain data as ``describe()`` gives it.

        Args:
            user_value: what the user passed.
            base: the class that objects are instances of.

        Raises:
            InvalidInput: anything else, no such kind, an unknown or missing option, or a value out of range.
        """
        if isinstance(user_value, str):
            return self.build(user_value)
        if isinstance(user_value, Mapping) and "kind" in user_value:
            return self.build(user_value["kind"], {name: value for name, value in user_value.items() if name != "kind"})
        if (
            isinstance(user_value, base) and type(user_value) in self._names
        ):  # its own, not that of a class it is made of
            return user_value
        got, todo = f"got {user_value!r}", ""
        if isinstance(user_value, base):
            got, todo = (
                f"{type(user_value).__name__} has no name of its own",
                'Add @register("...") before its @dataclass',
            )
        elif isinstance(user_value, type) and user_value in self.values():
            got, todo = (
                f"got the class {user_value.__name__}",
                f"Write {self.what}={constructor_call(user_value)} ({import_line(user_value)})",
            )
        accepted = f'a name ({", ".join(sorted(self))}), an object, or plain data: {{"kind": its name, its options}}'
        raise InvalidInput(got, where=self.what, accepted=accepted, todo=todo)

    def build(self, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """An instance of the kind of that name, with its options.

        Raises:
            InvalidInput: no such kind, an unknown or missing option, or a value out of range.
        """
        kind: Any = self.find(name)
        values, required = dict(options or {}), {f.name: f.default is MISSING for f in fields(kind)}
        wrong = [f"unknown option {n!r}{suggestion(n, required)}" for n in sorted(set(values) - set(required))]
        wrong += [f"option {n!r} is missing" for n, needed in required.items() if needed and n not in values]
        if wrong:
            listed = [f"{n} (required)" if needed else n for n, needed in required.items()]
            call = constructor_call(kind, {n: values[n] for n in required if n in values})
            raise InvalidInput(
                ", ".join(wrong),
                where=f"{self.what} {name!r}",
                accepted=", ".join(listed) or "no options: leave them out",
                todo=f"Write {self.what}={call} ({import_line(kind)})",
            )
        return _called(name, kind(**values))


def instance(kind: Any, name: str) -> Any:
    """An instance that bears its registered name, here and in whatever process it is sent to."""
    return _called(name, kind())


def _called(name: str, made: Any) -> Any:
    object.__setattr__(made, "name", name)  # of frozen dataclasses too
    return made


def other_owner(before: Any, new: Any) -> str:
    """Where the class or function is defined that has a place already, if it is not the new one; else empty.

    One that is defined anew, as a notebook's cell that runs again does, is the same.
    """
    origins = [(thing.__module__, thing.__qualname__) for thing in (before, new) if thing is not None]
    return ".".join(origins[0]) if len(set(origins)) == 2 else ""


def check_number(value: Any, option: str, where: str, *, low: float | None = None, above: float | None = None) -> None:
    """Raises InvalidInput unless the value is a finite number, of at least ``low``, and above ``above``.

    Args:
        value: what the user wrote.
        option, where: its name, and what it belongs to, in the message.
        low, above: the least number that is accepted, and one that is not; None for no such limit.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if number and (low is None or value >= low) and (above is None or value > above):
        return
    limit = f" of at least {low:g}" if low is not None else f" above {above:g}" if above is not None else ""
    raise InvalidInput(f"{option}={value!r}", where=where, accepted=f"a finite number{limit}")


def check_count(value: Any, option: str, where: str) -> None:
    """Raises InvalidInput unless the value is a whole number of at least 1.

    Args:
        value: what the user wrote.
        option, where: its name, and what it belongs to, in the message.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidInput(f"{option}={value!r}", where=where, accepted="a whole number of at least 1")
