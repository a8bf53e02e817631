"""Arguments that are part of another one: who writes one alone is shown the form that is taken, with the values passed.

@moved_arguments(Moved(("gap",), "budget", lambda keywords: (f"budget=Budget(gap={keywords['gap']!r})", "...")))
def __init__(self, problem, *, budget=None):
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass
from typing import Any, ParamSpec, TypeVar

from lipreg.errors import InvalidInput
from lipreg.kinds import constructor_call, import_line
from lipreg.numbers import SHOWN
from lipreg.options import Optioned, Registry
from lipreg.spelling import nearest_name, suggestion
from lipreg.words import plain

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")
_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class Moved:
    """Names that are no arguments of their own.

    Attributes:
        names: the names.
        into: the argument that holds them.
        form: all keyword arguments of a call -> how that argument is written with these values, and the line that
            imports what it is written with; "" for none.
    """

    names: tuple[str, ...]
    into: str
    form: Callable[[Mapping[str, Any]], tuple[str, str]]


def moved_arguments(*moved: Moved) -> Callable[[Callable[_Params, _Result]], Callable[_Params, _Result]]:
    """Decorator of a function or method: a call with one of these arguments raises InvalidInput, which shows what to write.

    A name that is no argument at all raises TypeError, as Python does, with the argument that is nearly it. The signature
    that type checkers, command lines and documentation see is the method's own.
    """

    def decorate(method: Callable[_Params, _Result]) -> Callable[_Params, _Result]:
        parameters = [name for name in inspect.signature(method).parameters if name != "self"]

        @functools.wraps(method)
        def checked(*args: _Params.args, **keywords: _Params.kwargs) -> _Result:
            unknown = [name for name in keywords if name not in parameters]
            if unknown:
                where = type(args[0]).__name__ if method.__name__ == "__init__" else method.__name__
                raise _refusal(where, moved, keywords, unknown[0], parameters)
            return method(*args, **keywords)

        return checked

    return decorate


def spelled_arguments(kind: type[_Kind]) -> type[_Kind]:
    """Class decorator above ``@dataclass``: TypeError about an unknown option names the one that is nearly it."""
    kind.__init__ = moved_arguments()(kind.__init__)
    return kind


def moved_options(argument: str, registry: Registry[Any], default: str) -> Moved:
    """The options of a registered kind beside its name: ``penalty_options`` of ``penalty``, say.

    Args:
        argument: that takes the kind.
        registry: of the kinds.
        default: the kind that is meant where none is passed.
    """
    beside = f"{argument}_options"

    def form(keywords: Mapping[str, Any]) -> tuple[str, str]:
        kind, values = keywords.get(argument, default), {}
        if isinstance(kind, Optioned):
            kind, values = kind.name, asdict(kind)  # type: ignore[call-overload]
        elif isinstance(kind, Mapping):
            kind, values = kind.get("kind"), {name: value for name, value in kind.items() if name != "kind"}
        options = {**values, **(keywords[beside] if isinstance(keywords[beside], Mapping) else {})}
        # the kind that is named, or where it has no such options the first one that has them
        named = [registry[kind]] if isinstance(kind, str) and kind in registry else []
        others = registry.values() if options else ()
        fitting = [k for k in (*named, *others) if set(options) <= {f.name for f in fields(k)}]
        if not fitting:
            return f"{argument}={ {'kind': kind, **options}!r}", ""
        return f"{argument}={constructor_call(fitting[0], options)}", import_line(fitting[0])

    return Moved((beside,), argument, form)


def moved_fields(
    argument: str, kind: type[Any], names: tuple[str, ...], line: str, plain: tuple[str, Any] | None = None
) -> Moved:
    """Fields of the object that an argument takes, beside that argument.

    Args:
        argument: that takes the object.
        kind: its class, a dataclass.
        names: of the fields.
        line: imports the class.
        plain: the field that a plain value stands for, and what it is where nothing is passed, None to leave it out; None
            where there is no plain value.
    """

    def form(keywords: Mapping[str, Any]) -> tuple[str, str]:
        value, changed = keywords.get(argument), {}
        if isinstance(value, kind):
            values = {f.name: getattr(value, f.name) for f in fields(kind) if f.compare}
            changed = {f.name: values[f.name] for f in fields(kind) if f.compare and values[f.name] != _default(f)}
        elif plain is not None and (value is not None or plain[1] is not None):
            changed = {plain[0]: plain[1] if value is None else value}
        changed |= {name: keywords[name] for name in names if name in keywords}
        if plain is not None and list(changed) == [plain[0]]:
            return f"{argument}={shown(changed[plain[0]])}", ""
        parts = {f.name: _written(changed[f.name]) for f in fields(kind) if f.name in changed}
        listed = (f"{name}={text}" for name, (text, _) in parts.items())
        lines = dict.fromkeys((line, *(needed for _, needed in parts.values() if needed)))
        return f"{argument}={kind.__name__}({', '.join(listed)})", "; ".join(lines)

    return Moved(names, argument, form)


def check_object(
    value: Any, kind: type[Any], argument: str, where: str, accepted: str, example: str, line: str
) -> None:
    """Refuses anything but an object of a kind, with a form that is taken: of a mapping's own options where they are its.

    Args:
        value: what was passed.
        kind: the class of the object.
        argument, where: its name, and what takes it.
        accepted: all that is accepted, in words.
        example: an object as it is written, for what has no options to show.
        line: imports what the example is written with.

    Raises:
        InvalidInput: it is something else.
    """
    if not isinstance(value, kind):
        todo = form_to_write(value, kind, argument, example, line)
        raise InvalidInput(f"{argument}={plain(repr(value), SHOWN)}", where=where, accepted=accepted, todo=todo)


def form_to_write(value: Any, kind: type[Any], argument: str, example: str, line: str) -> str:
    """What to write for an argument that takes an object.

    Args:
        value, kind, argument, example, line: as for ``check_object``.
    """
    options = value if isinstance(value, Mapping) else {}
    if "_target_" in options:
        return "hydra.utils.instantiate makes the object of such settings"
    names = [f.name for f in fields(kind) if f.init and f.compare] if is_dataclass(kind) else []
    wrong = [name for name in options if name not in names] if names else []
    if options and names and not wrong and not any(isinstance(part, Mapping) for part in options.values()):
        example = f"{kind.__name__}({', '.join(f'{name}={shown(part)}' for name, part in options.items())})"
    unknown = f"{kind.__name__} has no {wrong[0]!r}{suggestion(wrong[0], names)}. " if wrong else ""
    return f"{unknown}Write {argument}={example} ({line})"


def check_switches(where: str, **switches: object) -> None:
    """Raises InvalidInput unless all of these arguments, by name, are True or False."""
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise InvalidInput(f"{name}={plain(repr(value), SHOWN)}", where=where, accepted="True or False")


def check_functions(where: str, **functions: object) -> None:
    """Raises InvalidInput unless all of these arguments, by name, are functions or None."""
    for name, value in functions.items():
        if value is not None and not callable(value):
            todo = f"Write {name}=print, say"
            got = f"{name}={plain(repr(value), SHOWN)}"
            raise InvalidInput(got, where=where, accepted="a function of one argument, or None", todo=todo)


_TEXTS = {"module": "net", "folder": "runs", "run": "seed 0", "twin": "without penalty", "name": "lipreg"}
"""Texts that are taken, for errors."""


def check_texts(where: str, **texts: object) -> None:
    """Refuses empty texts and other objects; all but ``run`` and ``name`` may be None, ``folder`` and ``twin`` may be paths.

    Args:
        where: the class that was given them, for the error.
        **texts: the arguments by name.

    Raises:
        InvalidInput: such a text.
    """
    for name, text in texts.items():
        accepted = isinstance(text, str | os.PathLike) if name in ("folder", "twin") else isinstance(text, str) and text
        if not accepted and not (text is None and name not in ("run", "name")):
            accepted = "a text that is not empty" + ("" if name in ("run", "name") else ", or None")
            todo = f"Write {name}={_TEXTS.get(name, name)!r}, say"
            raise InvalidInput(f"{name}={text!r}", where=where, accepted=accepted, todo=todo)


def _refusal(
    where: str, moved: tuple[Moved, ...], keywords: Mapping[str, Any], unknown: str, parameters: list[str]
) -> InvalidInput | TypeError:
    meant = [(entry, [name for name in entry.names if name in keywords]) for entry in moved]
    meant = [(entry, names) for entry, names in meant if names]
    if not meant:
        near = nearest_name(unknown, parameters)
        hint = f". Did you mean {near!r}?" if near else ""
        return TypeError(f"{where}() got an unexpected keyword argument {unknown!r}{hint}")
    forms = [entry.form(keywords) for entry, _ in meant]
    imports = "; ".join(line for _, line in forms if line)
    messages = [
        (", ".join(f"{n}={shown(keywords[n])}" for n in names), len(names), entry.into) for entry, names in meant
    ]
    return InvalidInput(
        "; ".join(f"{values} {'is' if count == 1 else 'are'} part of {into}=" for values, count, into in messages),
        where=where,
        todo=f"Write {', '.join(text for text, _ in forms)}" + (f" ({imports})" if imports else ""),
    )


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _written(value: Any) -> tuple[str, str]:
    """A value as it is written, an object of options by those that are not its defaults; and the line that imports it."""
    if not is_dataclass(value) or isinstance(value, type):
        return shown(value), ""
    options = {f.name: shown(getattr(value, f.name)) for f in fields(value) if f.compare}
    usual = {f.name: shown(_default(f)) for f in fields(value) if (f.default, f.default_factory) != (MISSING, MISSING)}
    listed = [f"{name}={text}" for name, text in options.items() if text != usual.get(name)]
    return f"{type(value).__name__}({', '.join(listed)})", import_line(type(value))


def shown(value: Any) -> str:
    """A value as it is written: plain data, a function's name, points as "(x, y)"; three dots for what has no short form."""
    if value is None or isinstance(value, str | int | float | dict):
        return repr(value)
    if isinstance(value, tuple | list) and len(value) == 2 and all(hasattr(part, "shape") for part in value):
        return "(x, y)"
    name = getattr(value, "__name__", "")
    return name if name.isidentifier() else "..."
