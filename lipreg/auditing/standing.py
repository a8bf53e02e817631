"""The product of the layers' norms, which stands at points of an audit for which there was no time at all."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

from lipreg.auditing.points import PointAudit
from lipreg.auditing.tasks import Assignment
from lipreg.budget import Budget
from lipreg.estimators.cheap_bounds import products
from lipreg.results import Certificate, CertifiedInterval, Status


class ProductFallback:
    """What a point has where a method that proves an upper end had no time, or was stopped, and nothing else has proved one.

    The product is found of all points together, in one pass that looks at no region, once the first of them asks for it.

    Args:
        assignment: of the audit.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment

    @cached_property
    def _intervals(self) -> list[CertifiedInterval]:
        return products(self._assignment.analysis, Budget(0.0))

    def without_answer(self, point: PointAudit, name: str, status: Status, detail: str) -> PointAudit:
        """The point with a method that gave no answer, and with the product where it has no upper end else.

        Args:
            point: as it is by now.
            name: label of the method's recipe.
            status: how its work ended; where neither time nor a stop ended it, there is no product.
            detail: why.
        """
        proves = self._assignment.estimators[name].certificate not in (Certificate.LOWER, Certificate.ESTIMATE)
        if proves and status in (Status.TIME_LIMIT, Status.INTERRUPTED) and math.isinf(point.combined.upper):
            product = replace(self._intervals[point.point], status=status, detail=detail)
            return point.joined(name, product, 0.0)
        return point.without_answer(name, status, detail)
