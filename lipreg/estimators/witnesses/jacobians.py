"""The Jacobian at points, each time more accurately: first in float64, then in as many digits as there is time for."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import UNLIMITED, Budget
from lipreg.estimators.witnesses.pattern import Pattern, pattern
from lipreg.estimators.witnesses.unchanging import without_unchanging
from lipreg.graph.accurate import precisions
from lipreg.linalg import Limbs, Numbers


def jacobians(
    analysis: Analysis, x: Tensor, rows: Tensor, budget: Budget, at_once: bool = False
) -> Iterator[tuple[Pattern, Numbers]]:
    """rows . J at points, with the pattern there, until the caller has enough of it.

    The values are computed in more digits until they show that the network is differentiable. From then on the slopes of
    ReLUs and pools are certain, and only the products need more; those of curves have as many digits as the values, so
    that both get more in turn.

    Args:
        analysis: the analysis of the reference points.
        x: points ``(batch, k, *shape)`` in the regions.
        rows: functionals of the output, ``(batch, k or 1, rows, outputs)``.
        budget: started.
        at_once: whether float64 alone is used, whatever it shows.

    Yields:
        The pattern, ``smooth`` unless at once, and the gradients ``(batch, k, rows, *shape)`` within their errors. Nothing
        where no number of digits shows that the network is differentiable at all points.
    """
    graph, curved = analysis.graph, bool(analysis.graph.curves())
    products = enumerate(
        precisions(graph, rows, UNLIMITED if curved else budget)
    )  # in turn with values, which judge both
    for value_digits, start in enumerate(precisions(graph, x, budget)):
        seen = pattern(analysis, graph.evaluate(start))
        if isinstance(start, Limbs) and not bool(seen.smooth.all()):
            seen = without_unchanging(analysis, seen, budget) or seen
        if not (at_once or bool(seen.smooth.all())):
            continue
        for product_digits, functionals in products:
            yield seen, graph.differentiate(seen.slopes, functionals)
            if at_once or (curved and product_digits >= value_digits):
                break
        else:
            return
        if at_once:
            return
