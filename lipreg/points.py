"""Points: which reference points are meant, and how batches are read for them, in one value object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lipreg.arguments import Moved, check_switches, form_to_write, shown, spelled_arguments
from lipreg.errors import InvalidInput
from lipreg.labels import IGNORE_INDEX, check_ignore_index
from lipreg.population.between import check_confidence

Inputs = tuple[Tensor, Tensor | None]
"""Inputs ``(batch, *shape)`` and labels ``(batch,)``, where there are any."""
Which = Literal["all"] | int | Tensor | tuple[Tensor, Tensor | None]
"""The whole batch, so many points, or a fixed set: x or (x, y)."""


@spelled_arguments
@dataclass(frozen=True, eq=False)
class Points:
    """Which points, and how they are read.

    A choice alone can be passed without this object: ``points=16`` is ``points=Points(16)``.

    Args:
        which: "all"; how many to draw; or a fixed set, x ``(points, *shape)`` or (x, y), which is copied where it is used.
        fixed: of a penalty, with a number: draw them from the training data once and keep them; else they are drawn from
            each batch anew.
        seed: of the draws; None takes that of the callback's settings, where it has any, else 0.
        batch_to_inputs: batch -> (x, y or None), for batches that are not ``(x, y)`` or a dict of the usual keys.
        ignore_index: a label that, like -1, leaves a point out where the functional starts from labels; torch's losses
            ignore the same.
        confidence: of an audit, with a number: after each audit, what holds for all of the validation data is recorded and
            logged, each statement with this confidence over the draw (0.95, say); None for nothing of the kind.
        keep: of an audit: whether the points themselves are kept in the records, for pages that show them beside their
            witnesses. Witnesses, which are close to them, are kept in any case.

    Raises:
        InvalidInput: none of these, or points that are to be drawn once and are not drawn.
    """

    which: Which = "all"
    fixed: bool = False
    seed: int | None = None
    batch_to_inputs: Callable[[Any], Inputs] | None = None
    ignore_index: int = IGNORE_INDEX
    confidence: float | None = None
    keep: bool = True

    def __post_init__(self) -> None:
        where = type(self).__name__
        everything = isinstance(self.which, str) and self.which == "all"
        if not everything and self.count is None and self.supplied_points is None:
            plain = isinstance(self.which, str | int | float)
            got = f"points={self.which!r}" if plain else f"points of type {type(self.which).__name__}"
            accepted = '"all", a number of at least 1, or a fixed set: x or (x, y), tensors'
            raise InvalidInput(got, where=where, accepted=accepted)
        check_switches(where, fixed=self.fixed, keep=self.keep)
        if self.fixed and self.count is None:
            raise InvalidInput(
                "fixed=True without a number of points",
                where=where,
                todo="Write Points(16, fixed=True), say; tensors are a fixed set as they are",
            )
        if self.seed is not None and (not isinstance(self.seed, int) or isinstance(self.seed, bool)):
            raise InvalidInput(f"seed={self.seed!r}", where=where, accepted="a whole number, or None")
        if self.batch_to_inputs is not None and not callable(self.batch_to_inputs):
            got = f"batch_to_inputs={self.batch_to_inputs!r}"
            raise InvalidInput(got, where=where, accepted="a function batch -> (x, y or None)")
        check_ignore_index(self.ignore_index, where)
        if self.confidence is not None:
            check_confidence(self.confidence, where)
            if self.count is None or self.fixed:
                todo = "Write Points(60, confidence=0.95), say, for points that an audit draws"
                raise InvalidInput("confidence without points that are drawn", where=where, todo=todo)

    @classmethod
    def of(cls, points: Points | Which, where: str) -> Points:
        """The points that a user means by such an object or by the choice alone.

        Args:
            points: what the user passed.
            where: named in errors.

        Raises:
            InvalidInput: anything else.
        """
        if isinstance(points, cls):
            return points
        try:
            return cls(points)  # type: ignore[arg-type]
        except InvalidInput as error:
            line, among = "from lipreg import Points", f"{error.accepted}; or a Points"
            todo = form_to_write(points, cls, "points", "Points(16)", line)
            raise InvalidInput(error.got, where=where, accepted=among, todo=todo) from None

    @property
    def count(self) -> int | None:
        """How many to draw; None where nothing is drawn."""
        drawn = isinstance(self.which, int) and not isinstance(self.which, bool) and self.which >= 1
        return self.which if drawn else None  # type: ignore[return-value]

    @property
    def supplied_points(self) -> Inputs | None:
        """The fixed set, with labels as a tensor; None where there is none."""
        pair = isinstance(self.which, tuple | list) and len(self.which) == 2
        x, y = self.which if pair else (self.which, None)  # type: ignore[misc]
        if not isinstance(x, Tensor) or x.dim() < 2 or not len(x):
            return None
        y = torch.as_tensor(y) if isinstance(y, list | tuple | np.ndarray) else y
        return (x, y) if y is None or (isinstance(y, Tensor) and len(y) == len(x)) else None


def moved_points(*names: str, default: Which = "all") -> Moved:
    """Fields of ``Points`` as arguments beside ``points``.

    There ``fixed`` goes by ``fixed_points``, and a fixed set by ``reference_points``.

    Args:
        names: of the arguments.
        default: of ``points``.
    """

    def form(keywords: Mapping[str, Any]) -> tuple[str, str]:
        points, changed = keywords.get("reference_points", keywords.get("points", default)), {}
        if isinstance(points, Points):
            values = {f.name: getattr(points, f.name) for f in fields(Points)[1:]}
            changed = {f.name: values[f.name] for f in fields(Points)[1:] if values[f.name] != f.default}
            points = points.which
        changed |= {
            name.removesuffix("_points"): keywords[name]
            for name in names
            if name in keywords and name != "reference_points"
        }
        plain = isinstance(points, str | int)
        which = repr(points) if plain else "(x, y)" if isinstance(points, tuple | list) else "x"
        if not changed and not isinstance(keywords.get("points"), Points):
            return f"points={which}", ""
        parts = [which, *(f"{name}={shown(value)}" for name, value in changed.items())]
        return f"points=Points({', '.join(parts)})", "from lipreg import Points"

    return Moved(names, "points", form)
