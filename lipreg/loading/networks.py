"""Networks by name or file: a class or factory with saved weights, an ONNX file, or an exported program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from lipreg.errors import InvalidInput
from lipreg.loading.names import made, named
from lipreg.loading.weights import Saved, load_into, read_weights
from lipreg.spelling import nearest_name

_WHERE = "model"
_ACCEPTED = "package.module:Class, package.module:factory, or a file that ends in .onnx or .pt2"


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
        load_network("classifier.pt2")

    No argument, saved tensor or hyperparameter is ignored in silence.

    Args:
        model: ``package.module:name`` of a class or of a function that returns a module, or the path of an ONNX file or
            of a program that ``torch.export.save`` has written.
        arguments: those of that class or function. None takes the hyperparameters of a Lightning checkpoint, if it has
            some; ``{}`` calls it without arguments.
        weights: a file of ``torch.save(net.state_dict(), path)``, or a checkpoint of Lightning's; None leaves the weights
            as the class or function makes them.
        module: the part that is meant: a submodule by its dotted name, or in such a file the value at which to end.

    Raises:
        InvalidInput: no such name or file, arguments that do not fit, or weights of another network. A file with more in it
            than tensors and plain data is refused too; the message names what it is, and nothing of it is run.
        UnsupportedModel: a file with operators that are not read; the message lists all of them.
        MissingExtra: onnx is not installed.
    """
    if str(model).endswith((".onnx", ".pt2")):
        if arguments is not None or weights is not None:
            given = "arguments" if arguments is not None else "weights"
            raise InvalidInput(f"{given} beside {model}", where=_WHERE, accepted="the file alone: it has its weights")
        if str(model).endswith(".pt2"):
            from lipreg.loading.exported_file import read_exported

            return read_exported(model, module)
        from lipreg.loading.onnx_file import read_onnx

        return read_onnx(model, module)
    saved = None if weights is None else read_weights(weights)
    network = _network(str(model), arguments, saved)
    if saved is not None:
        load_into(network, saved, str(model))
    return (network if module is None else _part(network, module)).eval()


def _network(name: str, arguments: Mapping[str, Any] | None, saved: Saved | None) -> nn.Module:
    """The network that a class or function makes of arguments, or of saved hyperparameters; a module itself."""
    make = named(name, where=_WHERE, accepted=_ACCEPTED)
    if isinstance(make, nn.Module):
        if arguments:
            raise InvalidInput(f"arguments of {name}", where=_WHERE, accepted="none: it is a network already")
        return make
    given, source = dict(arguments or {}), "arguments"
    if arguments is None and saved is not None and saved.hyperparameters:
        given, source = dict(saved.hyperparameters), f"hyperparameters of {saved.path}"
    network = made(make, given, name, source=source, where=_WHERE, accepted=_ACCEPTED)
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
