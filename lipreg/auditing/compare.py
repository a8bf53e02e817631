"""Two networks of any origin under one question: both audited, and the first compared with the second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lipreg.arguments import moved_arguments
from lipreg.auditing.executors import Executing
from lipreg.auditing.moved import moved_workers
from lipreg.auditing.plan import AuditPlan
from lipreg.auditing.run import audit
from lipreg.budget import Budget
from lipreg.calibration import Calibrating, among, keys
from lipreg.errors import InvalidInput
from lipreg.estimators import ESTIMATORS, Bound, Settings, get_estimator
from lipreg.estimators.evaluate import Network, structure_of
from lipreg.estimators.settings import DEFAULTS
from lipreg.graph import CapturedNetwork, Graph
from lipreg.points import Inputs, Points
from lipreg.problem import LocalLipschitz
from lipreg.records import RunRecord
from lipreg.results import Certificate
from lipreg.runs import RecordedRun
from lipreg.transfer import Comparison, Pair, compare_pair


@moved_arguments(moved_workers())
def compare(
    network: Network,
    twin: Network,
    problem: LocalLipschitz,
    x: Tensor,
    y: Tensor | None = None,
    *,
    bound: str | Bound = "affine_relu",
    estimators: Sequence[str | Bound] | None = None,
    budget: Budget | float = 60.0,
    settings: Settings = DEFAULTS,
    executor: Executing | None = None,
    calibration: Inputs | Points | None = None,
    names: tuple[str, str] = ("network", "twin"),
) -> Comparison:
    """How far the bound and the true constant moved from one network to another: movement, bound movement, transfer.

        comparison = lipreg.compare(regularised, plain, problem, x, y)
        comparison.margin_ratio        # median margin over constant, over the twin's: rescaled outputs leave it
        comparison.calibrated.movement # the same as below of T * E and T * B, given calibration=(x, y)
        comparison.movement.exact      # E_network / E_twin, an interval
        comparison.movement.bound      # B_network / B_twin
        comparison.movement.transfer   # log of the one over log of the other, an interval

    Both networks are audited at the same points by the same recipes, in float64 on the CPU. They need not have been trained
    by lipreg, nor have the same architecture; only with the same seed, initial weights and batches is the second a twin, and
    the difference due to what else differed. Of how they came about nothing is known here, and nothing is said.

    Args:
        network: the one that moved: a module, a ``capture(module, x)``, or its ``frozen()`` graph.
        twin: the one that it is held against.
        problem: the question, the same for both.
        x: reference points ``(batch, *shape)``.
        y: class labels ``(batch,)``, where the output functional needs them.
        bound: whose movement is compared with the constant's.
        estimators: names or recipes; None takes the usual ones that cover the question.
        budget: for the searches of each of the two audits, a ``Budget`` or a number of seconds.
        settings: which engines serve, and the seed of sampling.
        executor: where searches run, as for ``audit``.
        calibration: inputs and targets, none of them among x, that tell what the outputs of both mean
            (``lipreg.calibration``); without them no calibrated figures.
        names: what the two are called in the result.

    Returns:
        The comparison; ``regularised`` is the first network, ``twin`` the second, and ``epoch`` is None.

    Raises:
        InvalidInput: points that do not fit, a bound that is no upper one, or two equal names.
        UnsupportedRequest: the bound, or an estimator, does not cover the question or one of the networks.
        IncomparableResults: the functional at a point is another one in the second network, as a runner-up may be.
        CrossingBounds: two proofs contradict each other.
    """
    if len(names) != 2 or names[0] == names[1]:
        raise InvalidInput(f"names={names!r}", where="compare", accepted="two different names")
    upper = [name for name, kind in ESTIMATORS.offered().items() if kind.certificate is Certificate.UPPER]
    recipe = Bound.of(bound, "compare.bound", upper).certified
    if get_estimator(recipe.estimator).certificate is not Certificate.UPPER:
        raise InvalidInput(
            f"bound={recipe.estimator!r}", where="compare", accepted="an estimator that proves upper ends"
        )
    asked = None if estimators is None else (*estimators, recipe)
    plan = AuditPlan(problem, asked, Budget.of(budget, "compare"), settings).asking(recipe)  # type: ignore[arg-type]
    about: dict[str, Any] = {"question": problem.describe(), "sentence": problem.sentence(), "of_training": False}
    penalised = {"bound": recipe.label, "recipe": recipe.describe()}
    subjects = [structure_of(subject, x, y, "compare") for subject in (network, twin)]
    for subject in subjects:  # of the second network too before the first is audited
        graph = subject if isinstance(subject, Graph) else subject.frozen()
        plan.covering(graph).check(graph)
    known = None if calibration is None else _calibrating(calibration, x, problem)
    runs: list[RecordedRun] = []
    for name, subject, more in zip(names, subjects, (penalised, {}), strict=True):
        points = audit(subject, plan, x, y, executor=executor)
        told = () if known is None else (known.of(_outputs(subject), name, 0, points[0].fingerprint),)
        records = [record for point in points for record in point.records(name, 0, recipe.label)]
        runs.append(RecordedRun(RunRecord(name, **about, **more), tuple(records), calibrations=told))
    return compare_pair(Pair.of(runs[0], runs[1]))


def _calibrating(points: Inputs | Points, audited: Tensor, problem: LocalLipschitz) -> Calibrating:
    """The points of a calibration.

    Raises:
        InvalidInput: they are no inputs with targets, or an audited point is among them.
    """
    asked = Points.of(points, "compare.calibration")
    given = asked.given
    if given is None or given[1] is None:
        raise InvalidInput("calibration without targets", where="compare", accepted="calibration=(x, y)")
    if (both := among(given[0], set(keys(audited)))).any():
        raise InvalidInput(
            f"{int(both.sum())} of the points of calibration are audited too",
            where="compare",
            accepted="points that are not among x, so that no figure is fitted to the points it is about",
        )
    return Calibrating(*given, problem, asked.ignore_index)


def _outputs(subject: Graph | CapturedNetwork) -> Callable[[Tensor], Tensor]:
    """Outputs in float64, of the copy that is audited."""
    graph = subject if isinstance(subject, Graph) else subject.frozen()
    return lambda x: graph(x.to("cpu", torch.float64))
