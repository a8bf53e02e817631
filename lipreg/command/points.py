"""The points of a command or a program: from a file, or of the validation data of a data module."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.ctrl_c import pass_on_ctrl_c
from lipreg.errors import InvalidInput, LipregError
from lipreg.loading import load_points, make_named
from lipreg.loading.points import first_points
from lipreg.loading.reasons import of_code
from lipreg.outputs import Output
from lipreg.points import Inputs

_WHERE = "data"
_OF_IMAGES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm2d, nn.BatchNorm3d, nn.MaxPool2d, nn.AvgPool2d)


def named_data(
    name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    labels: str | None = None,
    shape: list[int] | None = None,
) -> Any:
    """What a name means: the points of a file, or a data module by ``package.module:Class``.

    Args:
        name: a file that ``load_points`` reads, or a class or function that makes a data module.
        arguments: of that class or function.
        labels, shape: of a file, as for ``load_points``.

    Returns:
        Inputs and labels of a file; a data module as it is.

    Raises:
        InvalidInput: no such file or name, or arguments that go with the other.
    """
    place, colon, _ = name.partition(":")
    if not colon or "/" in place:
        if arguments is not None:
            accepted = "--data-arguments with package.module:DataModule"
            raise InvalidInput(f"arguments beside {name}", where=_WHERE, accepted=accepted)
        return load_points(name, labels=labels, shape=shape)
    of_files = "labels" if labels is not None else "shape" if shape is not None else ""
    if of_files:
        raise InvalidInput(
            f"{of_files} beside {name}", where=_WHERE, accepted="it with a file: a data module has its own"
        )
    return make_named(name, arguments, where=_WHERE, given_by="--data-arguments '{...}'")


def reference_points(
    data: Any, count: int | None, seed: int | None = None, output: Output | None = None, *, whole: bool = False
) -> Inputs:
    """The inputs and labels of reference points.

    Args:
        data: ``(x, y)``, of which the first ``count`` are taken; or a data module, of whose validation data ``count``
            are drawn, those that an audit during a training with this seed is about.
        count: how many; None takes all of ``(x, y)``, and with ``whole`` all of a data module's.
        seed: of the draw; None for 0.
        output: the functional, which may need classes.
        whole: refuse examples without a class, rather than draw others: statements are to be about all of them.

    Raises:
        InvalidInput: fewer than ``count``, a data module without ``count`` or without validation data, one that raises an
            error of its own, or no data module.
    """
    if isinstance(data, tuple):
        inputs, classes = data
        return first_points(inputs, classes, count)
    missing = [name for name in ("setup", "val_dataloader") if not hasattr(data, name)]
    if missing:
        raise InvalidInput(f"a {type(data).__name__}", where=_WHERE, accepted="a file, or a Lightning data module")
    if count is None and not whole:
        accepted = "--points N, or --until for what holds for all of them"
        raise InvalidInput("a data module, and no number of points", where="points", accepted=accepted)
    from lipreg.callbacks.batches import batch_to_inputs
    from lipreg.callbacks.reference_points import LabelsRead, draw_reference_points, drawn_indices, first_loader

    loader = validation_loader(data)
    labels = LabelsRead(output, where=_WHERE, all=whole)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*all of them are reference points")  # fewer than asked for is an error here
        most = sys.maxsize if count is None else count
        x, y = draw_reference_points(loader, "validation", most, seed or 0, batch_to_inputs, _WHERE, labels)
    drawn = drawn_indices(first_loader(loader), seed or 0) if count is None else None
    if drawn is not None:  # all of them, in the order of the data
        place = torch.tensor(drawn).argsort()
        x, y = x[place], None if y is None else y[place]
    return first_points(x, y, count)


def shaped_for(network: Any, x: Tensor) -> tuple[Tensor, str]:
    """Points in the shape that a network read from a file declares, where they are as many numbers; and what was done, in
    words, where something was."""
    shape = getattr(network, "input_shape", None)
    if not isinstance(shape, tuple) or tuple(x.shape[1:]) == shape or math.prod(x.shape[1:]) != math.prod(shape):
        return x, ""
    return x.reshape(
        len(x), *shape
    ), f"points of shape {tuple(x.shape[1:])} are read as {shape}, which the network declares"


def flat_for_images(network: nn.Module, x: Tensor) -> bool:
    """Whether points are rows of numbers and the network begins with something that takes images."""
    layers = (module for module in network.modules() if not list(module.children()))
    first = next((layer for layer in layers if not isinstance(layer, nn.Identity)), None)
    return x.dim() == 2 and isinstance(first, _OF_IMAGES)


def validation_loader(data: Any) -> Any:
    """What the validation data of a data module is read from, outside of any trainer.

    Raises:
        InvalidInput: the data module raises an error of its own.
    """
    try:
        if hasattr(data, "prepare_data"):
            data.prepare_data()
        data.setup("fit")
        return data.val_dataloader()
    except LipregError:
        raise
    except Exception as error:  # of any kind: somebody's code runs
        pass_on_ctrl_c(error)
        raise InvalidInput(f"{type(data).__name__} raises {of_code(error)}", where=_WHERE) from error
