"""Fixed samples of products of cases: ``make test`` runs one in so many combinations, ``make test-all`` every one."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable

import pytest

EVERYTHING = os.environ.get("LIPREG_TESTS") == "all"
"""Whether full products are run (``make test-all``), not only the samples of them that reach every value of every factor."""


def sampled(count: int, *places: int) -> bool:
    """Whether a combination is run, of values that stand at these places of their factors.

    All of them with ``make test-all``; else one in so many, in diagonals through the product, which reach each value of each
    factor, and every pair of values of two factors where a third has so many.
    """
    return EVERYTHING or sum(places) % count == 0


def one_in(count: int) -> pytest.MarkDecorator:
    """Marks a parametrised test of which ``make test`` runs one in so many combinations, as ``sampled`` chooses them."""
    return pytest.mark.sampled(count)


def split(items: Iterable[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The tests that are run and those that ``make test-all`` adds to them.

    Raises:
        pytest.UsageError: a sample leaves out a value of a factor; the message names the tests.
    """
    items, left, wrong = list(items), [], []
    products: defaultdict[tuple[str, int], list[pytest.Item]] = defaultdict(list)
    for item in items:
        for mark in [] if EVERYTHING else item.iter_markers("sampled"):
            products[item.nodeid.partition("[")[0], *mark.args].append(item)
    for (name, count), cases in products.items():
        factors = _factors(cases)
        kept = [sampled(count, *places) for places in zip(*factors, strict=True)]
        if any({k for k, run in zip(factor, kept, strict=True) if run} != set(factor) for factor in factors):
            wrong.append(f"{name}: one in {count} of {' x '.join(str(len(set(factor))) for factor in factors)}")
        left += [case for case, run in zip(cases, kept, strict=True) if not run]
    if wrong:
        raise pytest.UsageError("samples that leave out a value of a factor:\n" + "\n".join(wrong))
    out = set(left)
    return [item for item in items if item not in out], left


def _factors(cases: list[pytest.Item]) -> set[tuple[int, ...]]:
    """At which place of its factor each case has its value, by factor; arguments that vary together are one."""
    found: set[tuple[int, ...]] = set()
    for name in cases[0].callspec.params:  # type: ignore[attr-defined]
        values = [id(case.callspec.params[name]) for case in cases]  # type: ignore[attr-defined]
        order = {value: place for place, value in enumerate(dict.fromkeys(values))}
        found.add(tuple(order[value] for value in values))
    return found
