"""Maps put together from others and kept so: one after another, and sums. Each part acts once, however many share it.

x + B x, over and over, makes of x a sum whose terms are twice as many after every step, and that of n maps in all. So a map
is put together from what acts on what, each once, and goes through that in order (``Joined.steps``).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self, cast

from torch import Tensor

from lipreg.linalg.maps import Dense, LinearMap, Shape, V


class Step(NamedTuple):
    """``map`` of the value ``first``; or, without one, the sum of the values ``first`` and ``second``.

    Values are counted from 0, what the whole acts on; step i gives value i + 1.

    Attributes:
        map: what acts, None for a sum.
        first, second: the values that the step reads; of a map both are the one.
    """

    map: LinearMap | None
    first: int
    second: int


class CompositeMap(LinearMap):
    """A map put together from two others: what sums and compositions have in common."""

    @property
    @abstractmethod
    def parts(self) -> tuple[LinearMap, LinearMap]:
        """The two maps that it is put together from, as they stand in ``description``."""

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The maps and sums that act, each once on each value, in an order that works; the last one gives the whole."""
        value_of: dict[tuple[int, int], int] = {}
        steps: list[Step] = []
        waiting: list[tuple[LinearMap, int]] = [(self, 0)]
        while waiting:
            map, at = waiting[-1]
            key, needed = (id(map), at), None
            if key in value_of:
                waiting.pop()
                continue
            match map:
                case Composed(outer=outer, inner=inner):
                    needed = (inner, at)
                    if (id(inner), at) in value_of:
                        needed = (outer, value_of[id(inner), at])
                        end = value_of.get((id(outer), needed[1]))
                        needed = needed if end is None else None
                        value_of |= {} if end is None else {key: end}
                case Sum(first=first, second=second):
                    ends = [value_of.get((id(part), at)) for part in (first, second)]
                    if None not in ends:
                        steps.append(Step(None, *cast(list[int], ends)))
                        value_of[key] = len(steps)
                    else:
                        needed = (first if ends[0] is None else second, at)
                case _:
                    steps.append(Step(map, at, at))
                    value_of[key] = len(steps)
            if needed is not None:
                waiting.append(needed)
        return tuple(steps)

    @cached_property
    def _last_uses(self) -> tuple[tuple[int, ...], ...]:
        """The values, for each step, that no later step reads."""
        last = {value: i for i, step in enumerate(self.steps) for value in step[1:]}
        return tuple(
            tuple(value for value in {step.first, step.second} if last[value] == i) for i, step in enumerate(self.steps)
        )

    def through(self, x: V, act: Callable[[LinearMap, V, bool], V]) -> V:
        values: dict[int, V] = {0: x}
        for i, (map, first, second) in enumerate(self.steps):
            values[i + 1] = values[first] + values[second] if map is None else map.through(values[first], act)
            for value in self._last_uses[i]:
                del values[value]
        return values[len(self.steps)]

    def back(self, y: V, act: Callable[[LinearMap, V, bool], V]) -> V:
        values: dict[int, V] = {len(self.steps): y}

        def pour(value: int, more: V) -> None:
            values[value] = values[value] + more if value in values else more

        for i, (map, first, second) in reversed(list(enumerate(self.steps))):
            image = values.pop(i + 1)
            if map is None:
                pour(first, image)
                pour(second, image)
            else:
                pour(first, map.back(image, act))
        return values[0]

    def __call__(self, x: Tensor) -> Tensor:
        return self.through(x, _plain)

    def transpose(self, y: Tensor) -> Tensor:
        return self.back(y, _plain)

    def with_entries(self, change: Callable[[Tensor], Tensor]) -> Self:
        return cast(Self, self._rebuilt(lambda map: map.with_entries(change)))

    @cached_property
    def exact_form(self) -> LinearMap:  # type: ignore[override]  # computed once
        return self._rebuilt(lambda map: map.exact_form)

    @property
    def rounded(self) -> bool:
        return True

    def _rebuilt(self, change: Callable[[LinearMap], LinearMap]) -> LinearMap:
        """The map with other ones in place of those that are not put together; itself where all stay."""
        replacement: dict[int, LinearMap] = {}
        for map in self._inside():
            if not isinstance(map, CompositeMap):
                replacement[id(map)] = change(map)
                continue
            one, other = (replacement[id(part)] for part in map.parts)
            same = one is map.parts[0] and other is map.parts[1]
            replacement[id(map)] = map if same else cast(Any, type(map))(one, other)
        return replacement[id(self)]

    def _inside(self) -> list[LinearMap]:
        """All maps that it is put together from, each once, parts before wholes; itself last."""
        inside: dict[int, LinearMap] = {}
        waiting: list[LinearMap] = [self]
        while waiting:
            map = waiting[-1]
            missing = [part for part in map.parts if id(part) not in inside] if isinstance(map, CompositeMap) else []
            if not missing:
                inside.setdefault(id(map), map)
                waiting.pop()
            waiting += missing[::-1]
        return list(inside.values())

    @cached_property
    def _written(self) -> tuple[str, tuple[Tensor, ...]]:
        """``layout`` and ``entries``; a map in several places is written in the first and a number in the others."""
        layouts: dict[int, str] = {}
        entries: dict[int, tuple[Tensor, ...]] = {}
        names: dict[int, str] = {}

        def use(map: LinearMap) -> tuple[str, tuple[Tensor, ...]]:
            if not isinstance(map, CompositeMap):
                return map.description, map.entries
            if id(map) in names:
                return names[id(map)], ()
            names[id(map)] = f"#{len(names)}"
            return f"{type(map).__name__}({map.in_shape} {map.out_shape} {layouts[id(map)]})", entries[id(map)]

        for map in self._inside():
            if isinstance(map, CompositeMap):
                (one, first), (other, second) = (use(part) for part in map.parts)
                layouts[id(map)], entries[id(map)] = f"{one} {map.word} {other}", first + second
        return layouts[id(self)], entries[id(self)]

    @property
    @abstractmethod
    def word(self) -> str:
        """The word between the two parts in ``layout``."""

    @property
    def layout(self) -> str:
        return self._written[0]

    @property
    def entries(self) -> tuple[Tensor, ...]:
        return self._written[1]

    def _longest(self, length: Callable[[LinearMap], int]) -> int:
        """The most roundings on a way through, forth and back.

        An output is a sum over ways from inputs, each of which is rounded where it passes. Forth a way passes no more
        additions than there are sums; back, values meet where forth they part, just as often.
        """
        ways, sums = [0], 0
        for map, first, second in self.steps:
            sums += map is None
            ways.append(max(ways[first], ways[second]) if map is None else ways[first] + length(map))
        return ways[-1] + 2 * sums

    @cached_property
    def roundings(self) -> int:  # type: ignore[override]  # computed once
        return self._longest(lambda map: map.roundings)

    @cached_property
    def lengths(self) -> int:  # type: ignore[override]  # computed once
        return self._longest(lambda map: map.lengths)


def _plain(map: LinearMap, x: Tensor, back: bool) -> Tensor:
    return map.transpose(x) if back else map(x)


@dataclass(frozen=True)
class Composed(CompositeMap):
    """outer after inner, applied one after the other.

    Exact (see ``LinearMap.exact``) where every entry of the product is one product of entries, as beside a permutation;
    else |outer| |inner| and the norms that follow from it are upper bounds.

    Attributes:
        outer, inner: the maps, inner first.
    """

    outer: LinearMap
    inner: LinearMap

    @property
    def parts(self) -> tuple[LinearMap, LinearMap]:
        return self.outer, self.inner

    @property
    def word(self) -> str:
        return "after"

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        """That of the inner map."""
        return self.inner.in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        """That of the outer map."""
        return self.outer.out_shape

    @property
    def exact(self) -> bool:
        one_product = self.outer.single_rows or self.inner.single_columns
        return one_product and self.outer.exact and self.inner.exact

    @property
    def single_rows(self) -> bool:
        return self.outer.single_rows and self.inner.single_rows

    @property
    def single_columns(self) -> bool:
        return self.outer.single_columns and self.inner.single_columns

    def row_norms(self, order: float, columns: Tensor) -> Tensor:
        if self.outer.single_rows:  # each row is a multiple of one row of the inner map
            return self.outer.abs()(self.inner.row_norms(order, columns))
        if self.inner.single_columns and self.exact and order != math.inf:
            return super().row_norms(order, columns)
        return self.outer.abs()(self.inner.row_norms(order, columns))  # the triangle inequality


@dataclass(frozen=True)
class Sum(CompositeMap):
    """The sum of two maps between the same shapes; |first| + |second| is an upper bound of its magnitude.

    Attributes:
        first, second: the maps.
    """

    first: LinearMap
    second: LinearMap

    @property
    def parts(self) -> tuple[LinearMap, LinearMap]:
        return self.first, self.second

    @property
    def word(self) -> str:
        return "plus"

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        """That of both maps."""
        return self.first.in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        """That of both maps."""
        return self.first.out_shape

    def square(self) -> LinearMap:
        return Dense(self.dense().square(), self.in_shape, self.out_shape)

    @property
    def exact(self) -> bool:
        return False

    def row_norms(self, order: float, columns: Tensor) -> Tensor:
        return self.first.row_norms(order, columns) + self.second.row_norms(order, columns)
