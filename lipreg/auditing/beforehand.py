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
"""The largest number of points at which bounds are evaluated at once."""
READ = 256
"""The number of points at which margins are evaluated at once."""


def prior_ends(
    graph: Graph, plan: AuditPlan, x: Tensor, y: Tensor | None, budget: Budget
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the constant at every point, by closed forms and random points, which do not depend on any draw.

    Args:
        graph: the network, frozen.
        plan: whose question is asked and whose settings are used; its estimators are not.
        x: all points of the data set, ``(N, *shape)``.
        y: their labels ``(N,)``; None without.
        budget: for all of this; the first method answers at least at one block of points, whatever the budget.

    Returns:
        The lower and the upper ends, ``(N,)`` each; 0 and inf where nothing was proved.
    """
    size = len(x)
    floor, ceiling = np.zeros(size), np.full(size, np.inf)
    closed = [name for name in usual_estimators(plan.problem, graph) if get_estimator(name).proves_at_once]
    names = [
        *closed,
        *(["random_points"] if get_estimator("random_points").uncovered(plan.problem, graph) is None else []),
    ]
    for done, name in enumerate(names):
        part_budget = budget.share(1 / (len(names) - done))
        for part in blocks(size, part_budget, least=int(done == 0)):
            labels = None if y is None else y[part]
            intervals = certify(
                graph, plan.problem, x[part], labels, estimator=name, budget=part_budget, settings=plan.settings
            )
            floor[part] = np.maximum(floor[part], [interval.lower for interval in intervals])
            ceiling[part] = np.minimum(ceiling[part], [interval.upper for interval in intervals])
    return floor, ceiling


def blocks(size: int, budget: Budget, least: int) -> Iterator[slice]:
    """Blocks of points while there is time for the next one, going by the last: of one point, two, four and so on.

    Args:
        size: how many points there are.
        budget: for all of them.
        least: how many blocks are done in any case.

    Yields:
        The indices of a block, in ascending order.
    """
    first, count, done, each = 0, 1, 0, 0.0
    while first < size:
        began = budget.clock()
        if done >= least and (budget.stop_reason() is not None or each * count > budget.seconds_left):
            return
        yield slice(first, first + count)
        each = (budget.clock() - began) / count
        first, count, done = first + count, min(2 * count, TOGETHER), done + 1


def every_margin(graph: Graph, x: Tensor, y: Tensor | None, budget: Budget) -> np.ndarray | None:
    """The smallest logit margin at every point, rounded down.

    Args:
        graph: the network, frozen.
        x: all points of the data set, ``(N, *shape)``, on any device and of any dtype.
        y: their labels ``(N,)``; None without.
        budget: ends the evaluation.

    Returns:
        The margins ``(N,)``. None without a class of each point, or without the time for all: those of some points alone
        would be of no use.
    """
    outputs = graph.output.shape
    classes = [] if y is None or len(outputs) != 1 else classes_if_any(y, len(x), outputs[0])
    if not classes or outputs[0] < 2 or None in classes:
        return None
    labels, parts = torch.tensor(classes, dtype=torch.int64), []
    for first in budget.paced(range(0, len(x), READ)):
        part = slice(first, first + READ)
        ahead = margins(graph, x[part].detach().cpu().double(), labels[part])
        parts.append(ahead.scatter(1, labels[part].unsqueeze(1), torch.inf).amin(1).numpy())
    smallest = np.concatenate(parts) if parts else np.empty(0)
    return smallest if len(smallest) == len(x) and np.isfinite(smallest).all() else None
