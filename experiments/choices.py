"""Objects of a configuration's groups, and what is told of a key or a value that their classes do not take."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, ListConfig, OmegaConf

from experiments.mistakes import refused
from lipreg.errors import InvalidInput, LipregError, MissingExtra

_FILES = Path(__file__).resolve().parents[1] / "conf"
_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", types.NoneType: "null"}
_OF_MACHINES = ("accelerator", "devices", "num_nodes", "strategy", "precision")
"""Of what Lightning refuses, what is not in its own words."""
_LISTS, _DICTS = (list, tuple, Sequence), (dict, Mapping)


def build(group: DictConfig, name: str, kind: type[Any] | tuple[type[Any], ...] = object, /, **objects: Any) -> Any:
    """The object of a group, made with the values of its configuration and with objects that belong to it.

    Objects are passed to the class itself: Hydra would turn a dataclass, as the problem is one, into a configuration node.

    Args:
        group: with a ``_target_``.
        name: of the group, for messages.
        kind: what the object has to be.
        objects: arguments beside those of the configuration.

    Raises:
        InvalidInput: a key that the class does not take, a value of another type than it says, or one that it refuses; an
            object of another kind.
    """
    call = instantiate(group, _partial_=True, _convert_="all")
    _check_types(call.func, call.keywords, name)
    try:
        made = call(**objects)
    except LipregError:
        raise
    except TypeError as error:
        raise _of_call(error, call.func, call.keywords, name) from error
    except MisconfigurationException as error:
        told = {key: given for key, given in call.keywords.items() if key in _OF_MACHINES}
        values = ", ".join(f"{name}.{key}={given}" for key, given in told.items())
        raise InvalidInput(f"{error}", where=name, todo=f"The configuration has {values}" if told else "") from error
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error).partition("\n")[0], where=name) from error
    except (ValueError, LookupError) as error:
        raise InvalidInput(str(error) or type(error).__name__, where=name) from error
    if not isinstance(made, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        accepted = f"a {' or '.join(each.__name__ for each in kinds)}"
        raise InvalidInput(f"{group['_target_']} makes a {type(made).__name__}", where=name, accepted=accepted)
    return made


def check_keys(cfg: DictConfig, known: Sequence[str], name: str = "", groups: Sequence[str] = ()) -> None:
    """Refuses keys that nothing reads. One that a value of the configuration refers to is read by that.

    Args:
        cfg: a part of a configuration.
        known: its keys.
        name: of the part; empty for the whole.
        groups: which a key of the whole may have meant.
    """
    taken = tuple(dict.fromkeys([*known, *groups]))
    plain = str(OmegaConf.to_container(cfg, resolve=False))
    for key in cfg:
        if key not in known and not re.search(r"\$\{" + re.escape(str(key)) + r"\b", plain):
            full = f"{name}.{key}" if name else str(key)
            raise refused(f"nothing takes {full}={cfg[key]!r}", str(key), taken, name or "configuration")


def check_like(cfg: DictConfig, name: str) -> None:
    """Refuses values of another type than a configuration file has at their place: numbers, switches and lists.

    Args:
        cfg: what was composed.
        name: of the program's own file, with the values that it has if nothing else is asked for.
    """
    told: Any = OmegaConf.to_container(OmegaConf.load(_FILES / f"{name}.yaml"), resolve=False)
    for key, usual in told.items():
        value: Any = OmegaConf.select(cfg, key) if key not in ("defaults", "hydra") else None
        for kind, accepted in ((bool, "true or false"), (list, "a list"), (int | float, "a number")):
            if isinstance(usual, kind):
                value = list(value) if isinstance(value, ListConfig) else value
                if value is not None and (
                    not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
                ):
                    raise InvalidInput(f"{key}={value!r}", where="configuration", accepted=accepted)
                break


def _of_call(error: TypeError, target: Any, given: Mapping[str, Any], name: str) -> InvalidInput:
    """What a class said of its arguments."""
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if unknown is None or unknown[1] not in given:
        return InvalidInput(str(error), where=name)
    known = [key for key in inspect.signature(target).parameters if key != "self"]
    return refused(f"{target.__name__} takes no {name}.{unknown[1]}={given[unknown[1]]!r}", unknown[1], known, name)


def _check_types(target: Any, given: Mapping[str, Any], name: str) -> None:
    """Refuses plain values of other types than the signature says, as far as it says nothing but plain types."""
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):  # types that are there for the checker alone, or none
        return
    for key, value in given.items():
        kinds = _members(hints[key]) if key in hints else None
        if kinds is not None and not any(_fits(value, each) for each in kinds):
            accepted = " or ".join(dict.fromkeys(map(_spelled, kinds)))
            raise InvalidInput(f"{name}.{key}={value!r}", where=name, accepted=accepted)


def _members(kind: Any) -> list[Any] | None:
    """The plain types that make up one; None where there is any other among them."""
    if get_origin(kind) in (Union, types.UnionType):
        parts = [_members(each) for each in get_args(kind)]
        return None if None in parts else [each for part in parts for each in part or ()]
    origin = get_origin(kind) or kind
    return [kind] if kind in _NAMES or origin in (Literal, *_LISTS, *_DICTS) else None


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind) or kind
    if origin is Literal:
        return value in get_args(kind)
    if origin in _DICTS:
        return isinstance(value, Mapping)
    if origin in _LISTS:
        if not isinstance(value, list | tuple):
            return False
        inner = _members(get_args(kind)[0]) if get_args(kind) else None
        return inner is None or all(any(_fits(entry, each) for each in inner) for entry in value)
    if kind in (int, float):
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _spelled(kind: Any) -> str:
    origin = get_origin(kind) or kind
    if origin is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if origin in _LISTS:
        inner = _members(get_args(kind)[0]) if get_args(kind) else None
        return "a list" if not inner else f"a list, each {' or '.join(map(_spelled, inner))}"
    return "values by name" if origin in _DICTS else _NAMES[kind]
