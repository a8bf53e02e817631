"""Samples of parametrised tests: every value of every factor is run, or the sample is refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests import sampling


class Case:
    """As much of a collected test as a sample looks at."""

    def __init__(self, name: str, count: int | None = None, **params: object) -> None:
        self.nodeid, self.count, self.callspec = f"{name}[{params}]", count, SimpleNamespace(params=params)

    def iter_markers(self, name: str) -> Iterator[pytest.Mark]:
        assert name == "sampled"
        if self.count is not None:
            yield sampling.one_in(self.count).mark


def product(count: int, *sizes: int) -> list[Any]:
    return [
        Case("grid", count, **dict(zip("abc", place, strict=False))) for place in itertools.product(*map(range, sizes))
    ]


def test_a_sample_has_every_value_of_every_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "EVERYTHING", False)
    plain: Any = Case("plain", a=1)
    run, left = sampling.split([*product(3, 4, 3, 2), plain])
    assert (len(run), len(left)) == (9, 16) and run[-1] is plain
    for factor, size in zip("abc", (4, 3, 2), strict=True):
        assert {case.callspec.params[factor] for case in run[:-1]} == set(range(size))  # type: ignore[attr-defined]


def test_arguments_that_vary_together_are_one_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "EVERYTHING", False)
    cases: list[Any] = [Case("pairs", 2, a=k, said="wxyz"[k], b=j) for k in range(4) for j in range(2)]
    run, _ = sampling.split(cases)
    assert [(case.callspec.params["a"], case.callspec.params["b"]) for case in run] == [(0, 0), (1, 1), (2, 0), (3, 1)]  # type: ignore[attr-defined]


def test_everything_is_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "EVERYTHING", True)
    cases = product(3, 4, 3)
    assert sampling.split(cases) == (cases, [])


def test_a_sample_that_leaves_out_a_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "EVERYTHING", False)
    with pytest.raises(pytest.UsageError, match="grid: one in 3 of "):
        sampling.split(product(3, 4, 2))
