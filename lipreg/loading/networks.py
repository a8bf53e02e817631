"""A network from where it lies: a class or factory by its name, with saved weights, or an ONNX file."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from lipreg.errors import InvalidInput
from lipreg.loading.weights import Saved, load_into, read_weights
from lipreg.options import nearest_name

_WHERE = "model"
_ACCEPTED = "package.module:Class, package.module:factory, or a file that ends in .onnx"


def load_network(
    model: str | Path,
    *,
    arguments: Mapping[str, Any] | None = None,
    weights: str | Path | None = None,
    module: str | None = None,
) -> nn.Module:
    """The network that a name or a file means, in evaluation mode and on the CPU.

        load_network("shop.nets:Classifier", weights="runs/last.ckpt", module="net")
        load_network("shop.nets:make", arguments={"widths": [784, 100, 10]}, weights="weights.pt")
        load_network("classifier.onnx")

    Nothing that is given is left unused in silence: neither an argument, nor a saved tensor, nor a hyperparameter.

    Args:
        model: ``package.module:name`` of a class or of a function that returns a module, or the path of an ONNX file.
        arguments: of that class or function. None takes the hyperparameters that a Lightning checkpoint holds, and none
            where it holds none; ``{}`` calls it without any.
        weights: a file of ``torch.save(net.state_dict(), path)``, or a checkpoint of Lightning's; None leaves the weights
            as the class or function makes them.
        module: the part that is meant: a submodule by its dotted name, or in an ONNX file the value at which to end.

    Raises:
        InvalidInput: no such name or file, arguments that do not fit, or weights of another network; what is more in a
            file than tensors and plain data is named, and not run.
        UnsupportedModel: an ONNX file with operators that are not read; the message lists all of them.
        MissingExtra: onnx is not installed.
    """
    if str(model).endswith(".onnx"):
        from lipreg.loading.onnx_file import read_onnx

        if arguments is not None or weights is not None:
            given = "arguments" if arguments is not None else "weights"
            raise InvalidInput(
                f"{given} beside {model}", where=_WHERE, accepted="an ONNX file alone: it has its weights"
            )
        return read_onnx(model, module)
    make = _named(str(model))
    saved = None if weights is None else read_weights(weights)
    network = _made(make, str(model), arguments, saved)
    if saved is not None:
        load_into(network, saved, str(model))
    return (network if module is None else _part(network, module)).eval()


def _named(name: str) -> Any:
    """The class or function of that name.

    Raises:
        InvalidInput: it is no such name, or there is nothing of that name.
    """
    place, colon, attribute = name.partition(":")
    if not colon or not place or not attribute:
        todo = "Write a colon before the class or function" if "." in name or not colon else ""
        raise InvalidInput(f"{name!r}", where=_WHERE, accepted=_ACCEPTED, todo=todo)
    try:
        found = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise InvalidInput(f"{place} imports {error.name}, which is not installed", where=_WHERE) from None
        todo = "Run from the folder that holds it, or put that folder on PYTHONPATH"
        raise InvalidInput(f"there is no module {error.name!r}", where=_WHERE, accepted=_ACCEPTED, todo=todo) from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = nearest_name(part, [name for name in vars(found) if not name.startswith("_")])
            meant = f" (did you mean {near!r}?)" if near else ""
            raise InvalidInput(f"{place} has no {attribute!r}{meant}", where=_WHERE, accepted=_ACCEPTED)
        found = getattr(found, part)
    return found


def _made(make: Any, name: str, arguments: Mapping[str, Any] | None, saved: Saved | None) -> nn.Module:
    """What a class or function makes of arguments; a module as it is.

    Raises:
        InvalidInput: arguments that it does not take or that are missing, or what is made is no module.
    """
    if isinstance(make, nn.Module):
        if arguments:
            raise InvalidInput(f"arguments of {name}", where=_WHERE, accepted="none: it is a network already")
        return make
    if not callable(make):
        raise InvalidInput(f"{name} is a {type(make).__name__}", where=_WHERE, accepted=_ACCEPTED)
    given, source = dict(arguments or {}), "arguments"
    if arguments is None and saved is not None and saved.hyperparameters:
        given, source = dict(saved.hyperparameters), f"hyperparameters of {saved.path}"
    signature = inspect.signature(make)
    try:
        signature.bind(**given)
    except TypeError as error:
        todo = "Give the arguments yourself: arguments={...}, or --arguments '{...}' in a shell"
        accepted = f"{name.rpartition(':')[2]}{signature}"
        raise InvalidInput(f"{source}: {error}", where=name, accepted=accepted, todo=todo) from None
    network = make(**given)
    if not isinstance(network, nn.Module):
        raise InvalidInput(f"{name} makes a {type(network).__name__}", where=_WHERE, accepted="a torch.nn.Module")
    return network


def _part(network: nn.Module, module: str) -> nn.Module:
    try:
        return network.get_submodule(module)
    except AttributeError:
        names = [name for name, _ in network.named_modules() if name]
        near = nearest_name(module, names)
        meant = f" (did you mean {near!r}?)" if near else ""
        raise InvalidInput(f"no submodule {module!r}{meant}", where="module", accepted=", ".join(names[:12])) from None
