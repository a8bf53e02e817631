"""What costs little at every point of a data set, drawn or not: ends of the constant, and margins."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lipreg.auditing.plan import AuditPlan
from lipreg.budget import Budget
from lipreg.estimators import certify, get_estimator, usual_estimators
from lipreg.graph import Graph
from lipreg.graph.accurate import margins
from lipreg.labels import classes_if_any

TOGETHER = 32
"""Points at which bounds are evaluated at once at most."""
READ = 256
"""Points at which margins are."""


def known_ends(
    graph: Graph, plan: AuditPlan, x: Tensor, y: Tensor | None, budget: Budget
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the constant at every point, ``(N,)`` each, by closed forms and random points; none of it looks at a draw."""
    size = len(x)
    floor, ceiling = np.zeros(size), np.full(size, np.inf)
    closed = [name for name in usual_estimators(plan.problem, graph) if get_estimator(name).proves_at_once]
    names = [
        *closed,
        *(["random_points"] if get_estimator("random_points").uncovered(plan.problem, graph) is None else []),
    ]
    for done, name in enumerate(names):
        own = budget.share(1 / (len(names) - done))
        for part in blocks(size, own, least=int(done == 0)):
            labels = None if y is None else y[part]
            found = certify(graph, plan.problem, x[part], labels, estimator=name, budget=own, settings=plan.settings)
            floor[part] = np.maximum(floor[part], [interval.lower for interval in found])
            ceiling[part] = np.minimum(ceiling[part], [interval.upper for interval in found])
    return floor, ceiling


def blocks(size: int, budget: Budget, least: int) -> Iterator[slice]:
    """Blocks of points while there is time for the next one, going by the last: of one point, two, four and so on.

    Args:
        size: how many points there are.
        budget: for all of them.
        least: how many blocks are done in any case.
    """
    first, count, done, each = 0, 1, 0, 0.0
    while first < size:
        began = budget.clock()
        if done >= least and (budget.ended() is not None or each * count > budget.seconds_left):
            return
        yield slice(first, first + count)
        each = (budget.clock() - began) / count
        first, count, done = first + count, min(2 * count, TOGETHER), done + 1


def every_margin(graph: Graph, x: Tensor, y: Tensor | None, budget: Budget) -> np.ndarray | None:
    """The smallest logit margin at every point, rounded down, ``(N,)``.

    Returns:
        None without a class of each point, or without the time for all: of some of them alone it would be of no use.
    """
    outputs = graph.output.shape
    own = [] if y is None or len(outputs) != 1 else classes_if_any(y, len(x), outputs[0])
    if not own or outputs[0] < 2 or None in own:
        return None
    labels, found = torch.tensor(own, dtype=torch.int64), []
    for first in budget.paced(range(0, len(x), READ)):
        part = slice(first, first + READ)
        ahead = margins(graph, x[part].detach().cpu().double(), labels[part])
        found.append(ahead.scatter(1, labels[part].unsqueeze(1), torch.inf).amin(1).numpy())
    read = np.concatenate(found) if found else np.empty(0)
    return read if len(read) == len(x) and np.isfinite(read).all() else None
