"""Saved weights: a state_dict or a checkpoint of Lightning's, as data, and put into a network without a remainder."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.errors import InvalidInput

_WHERE = "weights"
_ACCEPTED = "a file of torch.save(net.state_dict(), path), or a checkpoint that a Lightning trainer has saved"
_ALONE = "torch.save(net.state_dict(), path)"
_SHOWN = 4


@dataclass(frozen=True)
class Saved:
    """What a file holds.

    Attributes:
        path: of the file, for messages.
        tensors: the state_dict.
        hyperparameters: of a Lightning checkpoint; empty where it has none.
    """

    path: str
    tensors: Mapping[str, Tensor]
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


def read_weights(path: str | Path) -> Saved:
    """The tensors of a file, read with ``weights_only``: nothing in it is run.

    Raises:
        InvalidInput: no such file, no state_dict in it, or a class of somebody's in it, which is named.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own text advises to load it all the same
        raise _not_plain(path, str(error)) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise InvalidInput(f"cannot read {path}: {error}", where=_WHERE, accepted=_ACCEPTED) from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        parameters = found.get("hyper_parameters") or {}
        if not isinstance(parameters, Mapping):
            parameters = vars(parameters)
        return Saved(str(path), _tensors(found["state_dict"], path), parameters)
    if isinstance(found, dict) and found:
        return Saved(str(path), _tensors(found, path))
    raise InvalidInput(f"{path} holds a {type(found).__name__}", where=_WHERE, accepted=_ACCEPTED)


def load_into(network: nn.Module, saved: Saved, name: str) -> None:
    """Puts saved tensors into a network, each into its own place.

    Raises:
        InvalidInput: tensors that the network has no place for, places without a tensor, or another shape.
    """
    own = network.state_dict()
    missing, unused = [key for key in own if key not in saved.tensors], [key for key in saved.tensors if key not in own]
    shapes = [
        f"{key} is {tuple(saved.tensors[key].shape)}, here {tuple(value.shape)}"
        for key, value in own.items()
        if key in saved.tensors and isinstance(value, Tensor) and value.shape != saved.tensors[key].shape
    ]
    wrong = ([f"has no place for {_some(unused)}"] if unused else []) + ([f"needs {_some(missing)}"] if missing else [])
    wrong += [f"has other shapes: {_some(shapes)}"] if shapes else []
    if wrong:
        todo = "Name the class that was saved, with its arguments; a part of it is module=..."
        raise InvalidInput(
            f"{name} {', '.join(wrong)}", where=saved.path, accepted="weights of this network", todo=todo
        )
    network.load_state_dict(dict(saved.tensors))


def _tensors(found: Mapping[Any, Any], path: str | Path) -> Mapping[str, Tensor]:
    others = [str(key) for key, value in found.items() if not isinstance(value, Tensor)]
    if others:
        raise InvalidInput(f"{path} holds {_some(others)}, no tensors", where=_WHERE, accepted=_ACCEPTED)
    return found


def _not_plain(path: str | Path, text: str) -> InvalidInput:
    """What the unpickler stopped at, and how to do without it."""
    classes = re.findall(r"GLOBAL ([\w.]+)", text)
    got = f"{path} holds a {classes[0]}" if classes else f"{path} holds more than tensors and plain data"
    kind = classes[0].rpartition(".")[2] if classes else ""
    if kind in ("DictConfig", "ListConfig", "Namespace"):
        todo = f"Save its hyperparameters as plain data ({_PLAIN[kind]}), or the weights alone ({_ALONE})"
    else:
        todo = f"Save the weights alone ({_ALONE}), and give the class and its arguments"
    return InvalidInput(f"{got}, which could run as code", where=_WHERE, accepted=_ACCEPTED, todo=todo)


_PLAIN = {
    "DictConfig": "self.save_hyperparameters(OmegaConf.to_container(cfg))",
    "ListConfig": "self.save_hyperparameters({'name': list(value)})",
    "Namespace": "self.save_hyperparameters(vars(args))",
}


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
