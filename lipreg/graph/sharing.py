"""Products with maps, and sums, that several terms share, computed once for all of them.

After n residual blocks a layer A reads x + B_1 r_1 + ... + B_n r_n, so its node has n maps A B_i, and all layers together
have some n^2 / 2. In float64 each of them is one matrix. An arithmetic that bounds its rounding acts by the factors instead:
then A acts once, on the sum; each B_i acts once for all layers; and the sum of a layer is that of the layer before it and
one term more. From the output back it is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from operator import add
from typing import Generic

from torch import Tensor

from lipreg.graph.nodes import Affine
from lipreg.linalg import Composed, LinearMap, Plain
from lipreg.linalg.numbers import N


class _Sums(Generic[N]):
    """Sums of two values by the identities of both; the values are kept, so that no other value gets their identities."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], tuple[N, N, N]] = {}

    def plus(self, one: N, other: N) -> N:
        """The sum of two values, the same object each time."""
        key = id(one), id(other)
        if key not in self._made:
            self._made[key] = one, other, one + other
        return self._made[key][2]


class SharedForward(Generic[N]):
    """The values of Affine nodes in one pass from the input on."""

    def __init__(self) -> None:
        self._sums = _Sums[N]()
        # by the identities of a map and of what it acts on: both, their rank by order of arrival, and the product
        self._inner: dict[tuple[int, int], tuple[LinearMap | None, N | Tensor, int, N]] = {}

    def combine(self, node: Affine, values: Mapping[int, N]) -> N:
        """The value of ``Affine.combine``, with shared products and sums computed once."""
        like = next(iter(values.values())).like
        first = like(node.bias)
        if isinstance(first, Plain):
            return node.combine(values)
        parts: list[N] = [] if node.bias_of else [first]
        outer: dict[int, tuple[LinearMap, list[tuple[int, N]]]] = {}
        terms = [(map, values[i]) for i, map in node.terms() if i in values]
        for map, of in [*node.bias_of, *terms]:
            exact = None if map is None else map.exact_form
            if exact is None:
                parts.append(like(of) if isinstance(of, Tensor) else of)
                continue
            last, inner = (exact.outer, exact.inner) if isinstance(exact, Composed) else (exact, None)
            outer.setdefault(id(last), (last, []))[1].append(self._through(inner, of, like))
        return reduce(add, parts + [self._total(inner).through(map) for map, inner in outer.values()])

    def _through(self, map: LinearMap | None, of: N | Tensor, like: Callable[[Tensor], N]) -> tuple[int, N]:
        key = id(map), id(of)
        if key not in self._inner:
            value = like(of) if isinstance(of, Tensor) else of
            self._inner[key] = map, of, len(self._inner), value if map is None else value.through(map)
        return self._inner[key][2:]

    def _total(self, parts: list[tuple[int, N]]) -> N:
        """The sum in the order of arrival, so that the sum of a layer begins with the sum of the layer before it."""
        return reduce(self._sums.plus, (part for _, part in sorted(parts, key=lambda part: part[0])))


class Flow(Generic[N]):
    """The value that flows back into a node, as a sum of values, some of which have yet to go through a map.

    Args:
        parts: maps and values, by the identities of the maps; None with the key 0 for no map.
    """

    def __init__(self, parts: Mapping[int, tuple[LinearMap | None, N]]) -> None:
        self.parts = parts

    @classmethod
    def of(cls, value: N) -> Flow[N]:
        """A value that has gone through all its maps."""
        return cls({0: (None, value)})

    def total(self) -> N:
        """The whole value, with all maps applied."""
        return reduce(add, (value if map is None else value.back(map) for map, value in self.parts.values()))


class SharedBackward(Generic[N]):
    """What flows through Affine nodes in one pass from the output back."""

    def __init__(self) -> None:
        self._sums = _Sums[N]()

    def join(self, one: Flow[N], other: Flow[N]) -> Flow[N]:
        """The sum of what flows into a node along two paths."""
        parts = dict(one.parts)
        for key, (map, value) in other.parts.items():
            if key in parts:
                value = self._sums.plus(parts[key][1], value) if key else parts[key][1] + value
            parts[key] = map, value
        return Flow(parts)

    def flows(self, node: Affine, value: N) -> Iterable[tuple[int, Flow[N]]]:
        """What flows into each source of an Affine node, by index of the source."""
        if isinstance(value, Plain):
            return [(source, Flow.of(value.back(map))) for source, map in node.terms()]
        return self._flows(node, value)

    def _flows(self, node: Affine, value: N) -> Iterator[tuple[int, Flow[N]]]:
        outer: dict[int, tuple[LinearMap, N]] = {}
        for source, map in node.terms():
            exact = map.exact_form
            if isinstance(exact, Composed):
                key = id(exact.outer)
                if key not in outer:
                    outer[key] = exact.outer, value.back(exact.outer)
                yield source, Flow({id(exact.inner): (exact.inner, outer[key][1])})
            else:
                yield source, Flow.of(value.back(exact))
