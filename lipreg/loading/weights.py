"""Saved weights: a state_dict or a checkpoint of Lightning, read as data, and loaded into a network without a remainder."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lipreg.errors import InvalidInput
from lipreg.loading.tensors import read_tensors, unusual

_WHERE = "weights"
_ACCEPTED = "a file of torch.save(net.state_dict(), path), or a checkpoint that a Lightning trainer has saved"
_SHOWN = 4
"""Names that a message lists at most."""


@dataclass(frozen=True)
class Saved:
    """The content of a file of weights.

    Attributes:
        path: that of the file, for messages.
        tensors: the state_dict.
        hyperparameters: those of a Lightning checkpoint; empty where it has none.
        epoch: that of a Lightning checkpoint; None where it has none.
        entry: the name of the state_dict in a file of another layout; empty elsewhere.
    """

    path: str
    tensors: Mapping[str, Tensor]
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    epoch: int | None = None
    entry: str = ""


def read_weights(path: str | Path) -> Saved:
    """The weights in a file, read with ``weights_only``: nothing in it is run.

    Raises:
        InvalidInput: no such file, no state_dict in it, several of them, or an object of another class, which is named.
    """
    content = read_tensors(path, where=_WHERE, accepted=_ACCEPTED)
    held = [key for key, value in content.items() if _is_state(value)] if isinstance(content, dict) else []
    if len(held) == 1 and held != ["state_dict"]:
        if not isinstance(held[0], str) or any(isinstance(value, Tensor) for value in content.values()):
            raise InvalidInput(f"{path} holds tensors beside {held[0]!r}", where=_WHERE, accepted=_ACCEPTED)
        return Saved(str(path), _tensors(content[held[0]], path), entry=held[0])
    if len(held) > 1 and "state_dict" not in held:
        got = f"{path} holds {_some(held)}, each of which may be the weights"
        raise InvalidInput(got, where=_WHERE, accepted=_ACCEPTED, todo="Save the one that is meant by itself")
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        parameters, epoch = content.get("hyper_parameters") or {}, content.get("epoch")
        if not isinstance(parameters, Mapping):
            got = f"hyper_parameters of {path} are a {type(parameters).__name__}"
            raise InvalidInput(got, where=_WHERE, accepted="names with values")
        tensors = _tensors(content["state_dict"], path)
        return Saved(str(path), tensors, parameters, epoch if isinstance(epoch, int) else None)
    if isinstance(content, dict) and content:
        return Saved(str(path), _tensors(content, path))
    raise InvalidInput(f"{path} holds a {type(content).__name__}", where=_WHERE, accepted=_ACCEPTED)


def load_into(network: nn.Module, saved: Saved, name: str) -> None:
    """Loads saved tensors into a network, each into its own place.

    Names that all share a prefix, as ``DistributedDataParallel`` or ``torch.compile`` leave them, are taken without it if
    everything then fits; a warning says so.

    Args:
        network: the network.
        saved: the weights.
        name: that of the network, for messages.

    Raises:
        InvalidInput: tensors that the network has no place for, places without a tensor, or another shape.
    """
    own = network.state_dict()
    wrong, left_out, tensors = _misfits(own, saved.tensors), "", saved.tensors
    prefixes = _common_prefixes(saved.tensors) if wrong else []
    for prefix in prefixes:
        without = {str(key).removeprefix(prefix): value for key, value in saved.tensors.items()}
        if not _misfits(own, without):
            wrong, left_out, tensors = [], prefix, without
            break
    if wrong:
        todo = "Name the class that was saved, with its arguments; a part of it is module=NAME, or --module NAME"
        if prefixes:
            todo += f". All names begin with {prefixes[-1]!r}: the class of that part takes them without it"
        raise InvalidInput(
            f"{name} {', '.join(wrong)}", where=saved.path, accepted="weights of this network", todo=todo
        )
    network.load_state_dict(dict(tensors))
    notes = [f"its entry {saved.entry!r}"] if saved.entry else []
    notes += [f"names without {left_out!r}, with which all begin"] if left_out else []
    if notes:
        warnings.warn(f"{saved.path} is read as {' and '.join(notes)}", stacklevel=3)


def _misfits(own: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> list[str]:
    """The ways in which tensors are not those of a network, in words; empty where they fit."""
    missing, unused = [key for key in own if key not in tensors], [key for key in tensors if key not in own]
    shapes = [
        f"{key} is {tuple(tensors[key].shape)}, here {tuple(value.shape)}"
        for key, value in own.items()
        if key in tensors and _sized(value) and value.shape != tensors[key].shape
    ]
    wrong = ([f"has no place for {_some(unused)}"] if unused else []) + ([f"needs {_some(missing)}"] if missing else [])
    return wrong + ([f"has other shapes: {_some(shapes)}"] if shapes else [])


def _common_prefixes(tensors: Mapping[str, Tensor]) -> list[str]:
    """The prefixes that all names share, each up to a dot, the shortest first."""
    parts = [str(key).split(".")[:-1] for key in tensors]
    same = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))]
    return [".".join(same[:i]) + "." for i in range(1, len(same) + 1)]


def _is_state(value: Any) -> bool:
    """Whether a value is a dictionary of tensors alone."""
    return isinstance(value, dict) and bool(value) and all(isinstance(tensor, Tensor) for tensor in value.values())


def _tensors(state: Mapping[Any, Any], path: str | Path) -> Mapping[str, Tensor]:
    others = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise InvalidInput(f"{path} holds {_some(others)}, no tensors", where=_WHERE, accepted=_ACCEPTED)
    odd = [f"{key}, which is {unusual(value)}" for key, value in state.items() if unusual(value)]
    if odd:
        raise InvalidInput(f"{path} holds {_some(odd)}", where=_WHERE, accepted="tensors of real numbers, one each")
    return state


def _sized(value: Any) -> bool:
    """Whether an entry of a network's state is a tensor with a shape, which lazy layers have none of."""
    return isinstance(value, Tensor) and not is_lazy(value)


def _some(names: Sequence[Any]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more
