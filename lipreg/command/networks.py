"""The network and the points of a command line, read and put together before anything is asked about them."""

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


def read_network(asked: argparse.Namespace) -> nn.Module:
    """The network of MODEL, --weights, --arguments and --module."""
    arguments = _arguments(asked.arguments, "arguments", '{"widths": [4, 8, 3]}')
    return load_network(asked.model, arguments=arguments, weights=asked.weights, module=asked.module)


def own_weights(asked: argparse.Namespace) -> str:
    """That the weights are those that the class or factory makes, in words; empty where they come from a file."""
    if asked.weights is not None or str(asked.model).endswith((".onnx", ".pt2")):
        return ""
    return f"no --weights: those of {asked.model} are as it makes them, random unless it loads some"


def points_for(asked: argparse.Namespace, network: nn.Module, output: Output) -> Inputs:
    """The points of the command line, in the shape that the network declares; labels where there are some."""
    arguments = _arguments(asked.data_arguments, "data-arguments", '{"root": "data"}')
    data = named_data(asked.data, arguments, labels=asked.labels, shape=asked.shape)
    if isinstance(data, tuple) and asked.points_seed is not None:
        accepted = "it with a data module, of whose points some are drawn; of a file the first --points N are taken"
        raise InvalidInput(f"--points-seed beside {asked.data}", where="data", accepted=accepted)
    whole = getattr(asked, "until", None) is not None
    if whole and asked.points is not None:
        accepted = "one of them: of all the data are drawn those that something is to be said by"
        raise InvalidInput("--points beside --until", where="data", accepted=accepted)
    x, y = reference_points(data, asked.points, asked.points_seed, output, whole=whole)
    if y is None and output.needs_labels:
        got = f"points without labels, and --output {type(output).__name__}, which starts from the class of each"
        accepted = "y in a .npz or .pt, a column of a .csv (--labels NAME), or --output vector, logits or logit:0"
        raise InvalidInput(got, where="data", accepted=accepted)
    x, said = shaped_for(network, x)
    if said:
        print(f"lipreg: {said}", file=sys.stderr)
    return x, y


def captured(asked: argparse.Namespace, network: nn.Module, x: Tensor) -> CapturedNetwork:
    """The network as it is read at the points, which are checked too; says on standard error where its weights are not saved
    ones.

    Raises:
        InvalidInput: points that are none, or that the network does not take.
        UnsupportedModel: calls that are not read; where images are given as rows, that is said.
    """
    try:
        found = structure_of(network, x, None, "data")
    except (InvalidInput, UnsupportedModel) as error:
        if asked.shape is None and flat_for_images(network, x):
            todo = f"The points are rows of {x.shape[1]} numbers: --shape 1,28,28, say, gives them the shape of images"
            raise type(error)(error.got, where=error.where, accepted=error.accepted, todo=todo) from error
        raise
    assert isinstance(found, CapturedNetwork)
    if own_weights(asked):
        print(f"lipreg: {own_weights(asked)}", file=sys.stderr)
    return found


def _arguments(text: str | None, flag: str, example: str) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r}: {error}", where=f"--{flag}", accepted=f"JSON: {example}") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"{text!r}", where=f"--{flag}", accepted=f"an object: {example}")
    return found
