"""The figures of single reference points, and the checks that two of them are about the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lipreg.errors import CrossingBounds, IncomparableResults, RenamedAttribute
from lipreg.records import AuditRecord
from lipreg.runs import same_recipe
from lipreg.transfer.margins import is_certified, margin_over_constant
from lipreg.transfer.radius import certified_radius
from lipreg.transfer.ratios import Interval
from lipreg.transfer.tightness import tightness


@dataclass(frozen=True)
class PointFigures:
    """The figures of one reference point of one run at one epoch.

    Attributes:
        bound: upper end of the penalised bound; inf when it proved none.
        combined: the interval that all methods together prove for the constant.
        record: the record of that, with its certificate, status and functional.
        lp: upper end of the LP relaxation, where it ran.
        sampling: lower end of random sampling, where it ran.
        recipe: of the bound; empty where the records do not tell it.
        closed: the least upper end that was proved without a search; inf where there is none.
        closed_by: the estimator that proved it, or the bound in its place where it was cut short.
        methods: the records of all methods.
    """

    bound: float
    combined: Interval
    record: AuditRecord
    lp: float | None = None
    sampling: float | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    closed: float = math.inf
    closed_by: str = ""
    methods: tuple[AuditRecord, ...] = field(default=(), repr=False, compare=False)
    exact = RenamedAttribute("combined")

    @property
    def point(self) -> int:
        """The index of the point in the audit's list."""
        return self.record.point

    @cached_property
    def tightness(self) -> Interval | None:
        """Bound / combined interval; None when the bound is infinite or the constant is certainly 0."""
        return tightness(self.bound, self.combined)

    @cached_property
    def radius(self) -> float | None:
        """``certified_radius`` of the combined record."""
        return certified_radius(self.record)

    @cached_property
    def margin_over_constant(self) -> Interval | None:
        """``margin_over_constant`` of the combined record."""
        return margin_over_constant(self.record)

    @cached_property
    def certified(self) -> tuple[bool, bool, bool] | None:
        """Whether the whole region keeps its class: proved by the constant's upper end, if its lower end were the constant,
        and proved by ``closed``; None where that is undefined (``is_certified``).

        Raises:
            CrossingBounds: it is proved, and an attack found a point of another class in the region.
        """
        ends = [is_certified(self.record, end) for end in (self.record.upper, self.record.lower, self.closed)]
        if self.record.attacked and (ends[0] or ends[2]):
            raise CrossingBounds(
                f"the region is proved to have one class, and a point of another was found in it (point {self.point})",
                where=f"run {self.record.run!r}, epoch {self.record.epoch}",
                todo="One of the two is wrong. Please report this with the network and the reference point",
                between=(self.record,),
            )
        return None if ends[0] is None else (bool(ends[0]), bool(ends[1]), bool(ends[2]))


def check_same_recipe(recipe: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Refuses a bound of another recipe than that of the penalised one.

    Args:
        recipe: what was audited, ``Bound.describe()``; empty where records do not tell it, which is not refused.
        wanted: the recipe of the penalised bound, likewise.
        where: the run and point, for the error.

    Raises:
        IncomparableResults: the two make different bounds.
    """
    if not same_recipe(recipe, wanted):
        differing = sorted(key for key in {*recipe, *wanted} if recipe.get(key) != wanted.get(key))
        raise IncomparableResults(
            "; ".join(f"{key} {recipe.get(key)!r} against {wanted.get(key)!r}" for key in differing),
            where=where,
            accepted="bounds of one recipe",
            todo=f"Audit the penalised bound there too: {how_to_audit(wanted)}",
        )


def how_to_audit(recipe: Mapping[str, Any]) -> str:
    """The argument of an audit that adds a bound's recipe."""
    methods = recipe.get("preactivations")
    argument = "" if methods is None else f", preactivations={methods if isinstance(methods, str) else list(methods)!r}"
    return f"LipschitzAudit(estimators=[..., Bound({recipe.get('estimator')!r}{argument})])"


def check_same_functional(first: AuditRecord, second: AuditRecord) -> None:
    """Raises IncomparableResults unless both records are about the same reference point and functional of the output."""
    if first.reference and second.reference and first.reference != second.reference:
        raise IncomparableResults(
            f"point {first.point} of {first.run!r} is another reference point than point {second.point} of {second.run!r}",
            where="comparing audits",
            accepted="audits at the same reference points",
            todo="Give both audits the same points=(x, y), or the same data, number of points and seed",
        )
    if (first.functional, first.label) != (second.functional, second.label):
        one, two = (f"{r.functional!r} (label {r.label}) in {r.run!r}" for r in (first, second))
        raise IncomparableResults(
            f"point {first.point} is about {one} and {two}",
            where="comparing audits",
            accepted="the same reference point and functional",
            todo="A runner-up changes as a network trains: use AllMargins() of as many outputs, or name the rival",
        )


def check_same_weights(one: AuditRecord, two: AuditRecord) -> None:
    """Raises IncomparableResults if the two audits are of different kinds of weights (``AuditRecord.weights``)."""
    if one.weights != two.weights:
        raise IncomparableResults(
            f"{one.weights} weights of {one.run!r}, {two.weights} ones of {two.run!r}",
            where="compare",
            accepted="two trainings that leave the same kind of weights",
        )
