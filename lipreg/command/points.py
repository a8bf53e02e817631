"""The points of a command or a program: from a file, or of the validation data of a data module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lipreg.errors import InvalidInput
from lipreg.loading import load_points, make_named
from lipreg.loading.points import chosen
from lipreg.outputs import Output
from lipreg.points import Inputs

_WHERE = "data"


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
            raise InvalidInput(f"arguments beside {name}", where=_WHERE, accepted="them with package.module:DataModule")
        return load_points(name, labels=labels, shape=shape)
    given = "labels" if labels is not None else "shape" if shape is not None else ""
    if given:
        raise InvalidInput(f"{given} beside {name}", where=_WHERE, accepted="it with a file: a data module has its own")
    return make_named(name, arguments, where=_WHERE)


def reference_points(data: Any, count: int | None, seed: int = 0, output: Output | None = None) -> Inputs:
    """Inputs and labels at which a question is asked.

    Args:
        data: ``(x, y)``, of which the first ``count`` are taken; or a data module, of whose validation data ``count``
            are drawn, those that an audit during a training with this seed is about.
        count: how many; None takes all of ``(x, y)``.
        seed: of the draw.
        output: the functional, which may need classes.

    Raises:
        InvalidInput: fewer than ``count``, a data module without ``count`` or without validation data, or no data module.
    """
    if isinstance(data, tuple):
        inputs, classes = data
        return chosen(inputs, classes, count)
    missing = [name for name in ("setup", "val_dataloader") if not hasattr(data, name)]
    if missing:
        raise InvalidInput(f"a {type(data).__name__}", where=_WHERE, accepted="a file, or a Lightning data module")
    if count is None:
        raise InvalidInput("a data module, and no number of points", where="points", accepted="--points N")
    from lipreg.callbacks.batches import batch_to_inputs
    from lipreg.callbacks.reference_points import LabelsRead, draw_reference_points

    loader = validation_loader(data)
    x, y = draw_reference_points(loader, "validation", count, seed, batch_to_inputs, _WHERE, LabelsRead(output))
    return chosen(x, y, count)


def validation_loader(data: Any) -> Any:
    """What the validation data of a data module is read from, outside of any trainer."""
    if hasattr(data, "prepare_data"):
        data.prepare_data()
    data.setup("fit")
    return data.val_dataloader()
