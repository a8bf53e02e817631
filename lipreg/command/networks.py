"""The network and the points of a command line, read and put together before anything is computed."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from torch import Tensor, nn

from lipreg.command.points import flat_for_images, named_data, reference_points, shaped_for
from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.estimators.evaluate import structure_of
from lipreg.graph import CapturedNetwork
from lipreg.loading import load_network
from lipreg.outputs import Output
from lipreg.points import Inputs


def read_network(options: argparse.Namespace) -> nn.Module:
    """The network of MODEL, --weights, --arguments and --module.

    Raises:
        InvalidInput: files, names or arguments that do not go together.
    """
    arguments = _arguments(options.arguments, "arguments", '{"widths": [4, 8, 3]}')
    return load_network(options.model, arguments=arguments, weights=options.weights, module=options.module)


def own_weights(options: argparse.Namespace) -> str:
    """A notice that the weights are those that the class or factory makes; empty where they come from a file."""
    if options.weights is not None or str(options.model).endswith((".onnx", ".pt2")):
        return ""
    return f"no --weights: those of {options.model} are as it makes them, random unless it loads some"


def points_for(options: argparse.Namespace, network: nn.Module, output: Output) -> Inputs:
    """The points of the command line, in the shape that the network declares; labels where there are some.

    Args:
        options: the flags of the command line.
        network: whose input they are to be.
        output: the functional, which may need labels.

    Raises:
        InvalidInput: flags that do not go together, or points without the labels that the functional needs.
    """
    arguments = _arguments(options.data_arguments, "data-arguments", '{"root": "data"}')
    data = named_data(options.data, arguments, labels=options.labels, shape=options.shape)
    if isinstance(data, tuple) and options.points_seed is not None:
        accepted = "it with a data module, of whose points some are drawn; of a file the first --points N are taken"
        raise InvalidInput(f"--points-seed beside {options.data}", where="data", accepted=accepted)
    whole = getattr(options, "until", None) is not None
    if whole and options.points is not None:
        accepted = "one of them: of all the data are drawn those that something is to be said by"
        raise InvalidInput("--points beside --until", where="data", accepted=accepted)
    x, y = reference_points(data, options.points, options.points_seed, output, whole=whole)
    if y is None and output.needs_labels:
        got = f"points without labels, and --output {type(output).__name__}, which starts from the class of each"
        accepted = "y in a .npz or .pt, a column of a .csv (--labels NAME), or --output vector, logits or logit:0"
        raise InvalidInput(got, where="data", accepted=accepted)
    x, notice = shaped_for(network, x)
    if notice:
        print(f"lipreg: {notice}", file=sys.stderr)
    return x, y


def captured(options: argparse.Namespace, network: nn.Module, x: Tensor) -> CapturedNetwork:
    """The network as it is read at the points, which are checked too; prints a notice where its weights are not saved ones.

    Args:
        options: the flags of the command line.
        network: the module.
        x: the points, ``(batch, *shape)``.

    Raises:
        InvalidInput: points that are none, or that the network does not take.
        UnsupportedModel: calls that are not read; where points are rows and not images, the message has the flag for it.
    """
    try:
        network_at_points = structure_of(network, x, None, "data")
    except (InvalidInput, UnsupportedModel) as error:
        if options.shape is None and flat_for_images(network, x):
            todo = f"The points are rows of {x.shape[1]} numbers: --shape 1,28,28, say, gives them the shape of images"
            raise type(error)(error.got, where=error.where, accepted=error.accepted, todo=todo) from error
        raise
    assert isinstance(network_at_points, CapturedNetwork)
    if own_weights(options):
        print(f"lipreg: {own_weights(options)}", file=sys.stderr)
    return network_at_points


def _arguments(text: str | None, flag: str, example: str) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r}: {error}", where=f"--{flag}", accepted=f"JSON: {example}") from None
    if not isinstance(arguments, dict):
        raise InvalidInput(f"{text!r}", where=f"--{flag}", accepted=f"an object: {example}")
    return arguments
