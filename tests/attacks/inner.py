"""The bounds on which all others rest, against the truth: every unit's range by each method, the Jacobian's entries."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import torch

from lipreg import AllLogits, LocalLipschitz
from lipreg.bounds.jacobian import interval_jacobian
from lipreg.estimators import frozen_analysis
from lipreg.graph import Graph
from lipreg.regions import Region
from tests.attacks.oracle import Oracle, functional
from tests.attacks.programs import Relu
from tests.attacks.tally import Tally


def compare_inner(graph: Graph, region: Region, x: torch.Tensor, oracles: Sequence[Oracle], tally: Tally) -> None:
    """Compares the pre-activations' bounds by every method on its own and by all, and the interval Jacobian behind these."""
    problem = LocalLipschitz(region, AllLogits())
    with torch.no_grad():
        for methods in (["interval"], ["ball"], ["crown"], None):
            analysis = frozen_analysis(graph, problem, x, None, methods)
            if oracles[0].where.endless:
                continue  # units have no range
            nodes = [node.source for _, node in graph.relus()]
            positions = [i for i, step in enumerate(oracles[0].program) if isinstance(step, Relu)]
            for node, position in zip(nodes, positions, strict=True):
                reach = analysis.value_bounds[node]
                ends = torch.stack([reach.lower.flatten(1), reach.upper.flatten(1)], -1).tolist()
                for point, oracle in enumerate(oracles):
                    if oracle.where.kind == "l2":
                        continue  # the oracle's ranges are those of the box around the ball
                    for unit, (said, truth) in enumerate(zip(ends[point], oracle.ranges[position], strict=True)):
                        tally.compare_inner(
                            (said[0], said[1]), truth, of=f"unit {unit}, ReLU {position}", methods=methods, point=point
                        )
        _jacobian(*interval_jacobian(analysis)[0], oracles, tally)


def _jacobian(lower: torch.Tensor, upper: torch.Tensor, oracles: Sequence[Oracle], tally: Tally) -> None:
    low, high = (end.expand(len(oracles), *end.shape[1:]).flatten(2).tolist() for end in (lower, upper))
    outputs = lower.shape[1]
    told = functional("all_logits", outputs)
    for point, oracle in enumerate(oracles):
        found = oracle.jacobians(told)
        for row, column in itertools.product(range(outputs), range(len(oracle.free))):
            entries = [Fraction(jacobian[row][column], 1 << scale) for jacobian, scale in found]
            at = oracle.free[column]
            said = low[point][row][at], high[point][row][at]
            tally.compare_inner(said, (min(entries), max(entries)), of=f"Jacobian {row}, {column}", point=point)
