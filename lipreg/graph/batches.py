"""What stands for batch axes that hold more than one row a point, while lowering."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lipreg.graph.registry import Refusal
from lipreg.graph.symbols import Symbol

OF_STEPS = (
    "{} rows for every point, of activations whose batch axis was joined with another (view(batch * steps, ...), "
    "flatten(0, 1)); view(batch, -1) makes one row of them"
)
"""Why activations with several rows a point are refused; takes their number."""


class Stacked(tuple[Symbol, ...]):
    """Activations that were stacked in front of the batch axis, as the members of an ensemble are.

    Covered are their sum, their mean, and each by its place.
    """


class BatchGroups(tuple[Symbol, ...]):
    """Activations ``(batch * steps, *shape)``, as layers for one step see a sequence, or layers for one patch an image.

    Row ``steps * point + i`` is member i at that point.

    Attributes:
        whole: all members together, ``(batch, steps, *shape)``, where they were made of that; else None.
    """

    whole: Symbol | None

    def __new__(cls, members: Iterable[Symbol], whole: Symbol | None = None) -> BatchGroups:
        made = super().__new__(cls, members)
        made.whole = whole
        return made

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self[0].shape


def steps_in(value: Any) -> Iterator[BatchGroups]:
    """The ``Steps`` among the arguments of a call, nested ones too."""
    if isinstance(value, BatchGroups):
        yield value
    elif isinstance(value, dict):
        yield from steps_in(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from steps_in(part)


def for_each_step(call: Callable[[Any], Any], arguments: Any, count: int) -> Any:
    """The result of a call that treats all rows of a batch alike, computed for the rows of each step.

    Args:
        call: takes the arguments of one step.
        arguments: with ``Steps`` among them.
        count: how many steps there are.

    Raises:
        Refusal: members of another number of steps are among them, or activations of the points themselves.
    """
    return _joined([call(_at(arguments, i, count)) for i in range(count)])


def _at(value: Any, step: int, count: int) -> Any:
    """Arguments as they are at one step."""
    if isinstance(value, BatchGroups):
        if len(value) != count:
            raise Refusal("settings", f"activations with {len(value)} rows for every point meet others with {count}")
        return value[step]
    if isinstance(value, dict):
        return {name: _at(part, step, count) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return _like(value, [_at(part, step, count) for part in value])
    if getattr(value, "terms", None):
        raise Refusal("settings", f"activations with {count} rows for every point meet others with one")
    return value


def _joined(results: list[Any]) -> Any:
    """The results of all steps as one."""
    first = results[0]
    if isinstance(first, tuple | list):
        return _like(first, [_joined(list(parts)) for parts in zip(*results, strict=True)])
    return BatchGroups(results) if hasattr(first, "terms") else first


def _like(value: tuple[Any, ...] | list[Any], parts: list[Any]) -> Any:
    """Parts in a tuple or list of the kind of another."""
    kind: Any = type(value)
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
