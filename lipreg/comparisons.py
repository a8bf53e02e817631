"""Two networks of any origin under one question: both audited, the first compared with the second, with views of it."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lipreg.arguments import check_functions, check_switches, moved_arguments
from lipreg.auditing.call_records import CallRecords
from lipreg.auditing.executors import Executing
from lipreg.auditing.moved import moved_workers
from lipreg.auditing.plan import AuditPlan
from lipreg.auditing.points import versions
from lipreg.auditing.reference_points import PointRecords
from lipreg.auditing.run import AuditProgress, audit
from lipreg.budget import Budget
from lipreg.calibration import CalibrationPoints, among, keys
from lipreg.errors import IncomparableResults, InvalidInput
from lipreg.estimators import ESTIMATORS, Bound, Settings, get_estimator
from lipreg.estimators.asked import tensors_of
from lipreg.estimators.evaluate import Network, frozen_graph, structure_of
from lipreg.estimators.settings import DEFAULTS
from lipreg.graph import CapturedNetwork, Graph
from lipreg.points import Inputs, Points
from lipreg.problem import LocalLipschitz
from lipreg.recorded import Recorded
from lipreg.records import Record, RunRecord, started_now
from lipreg.results import Certificate
from lipreg.runs import RecordedRun
from lipreg.transfer import (  # noqa: F401  (documentation reads the types of inherited fields here)
    CalibratedMovement,
    Comparison,
    Interval,
    Likeness,
    Metric,
    Movement,
    Pair,
    RunFigures,
    compare_pair,
)


@dataclass(frozen=True, repr=False)
class NetworkComparison(Comparison, Recorded):
    """A comparison of two networks, and views of it.

    Attributes:
        runs: what was proved of each, the first network first.
    """

    runs: tuple[RecordedRun, ...] = ()

    @property
    def called(self) -> str:
        """The names of both networks."""
        return " against ".join(run.label for run in self.runs)

    @property
    def records(self) -> list[Record]:
        """Of each network its run, points and calibration, and a record for each point and estimator, as they are saved."""
        return [record for run in self.runs for record in (run.record, *run.points, *run.calibrations, *run.audits)]

    def table(self) -> str:
        """Both networks and the ratio side by side, aligned; what moved, and the verdict, below."""
        from lipreg.reporting.tables import comparison_text

        return comparison_text(self).rstrip("\n")


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
    records: str | Path | None = None,
    keep_points: bool = True,
    on_progress: Callable[[AuditProgress], None] | None = None,
) -> NetworkComparison:
    """How far the bound and the true constant moved from one network to another: movement, bound movement, transfer.

        comparison = lipreg.compare(pruned, whole, problem, x, y)
        print(comparison.table())      # comparison.frame(), .records, .html("page.html"), .save("records.jsonl")
        comparison.margin_ratio        # median margin over constant, over the twin's: rescaled outputs leave it
        comparison.calibrated.movement # the same as below of T * E and T * B, given calibration=(x, y)
        comparison.movement.combined   # E_network / E_twin, an interval
        comparison.movement.bound      # B_network / B_twin
        comparison.movement.transfer   # log of the one over log of the other, an interval

    Both networks are audited at the same points by the same recipes, in float64 on the CPU. They need not have been trained
    by lipreg, nor have the same architecture; only with the same seed, initial weights and batches is the second a twin, and
    the difference due to what else differed. How they came about is not recorded.

    Args:
        network: the one that moved: a module, a ``capture(module, x)``, or its ``frozen()`` graph.
        twin: the one that it is compared with.
        problem: the question, the same for both.
        x: reference points ``(batch, *shape)``.
        y: class labels ``(batch,)``, where the output functional needs them.
        bound: whose movement is compared with the constant's.
        estimators: names or recipes; None takes the usual ones that cover the question.
        budget: for each of the two audits, as for ``audit``: a ``Budget`` or a number of seconds.
        settings: which engines serve, and the seed of sampling.
        executor: where searches run, as for ``audit``.
        calibration: inputs and targets, none of them among x, that calibrate the outputs of both
            (``lipreg.calibration``); without them no calibrated figures.
        names: what the two are called in result, records and views.
        records: a file to which the records are added as points are done, and from which a call that was cut short goes on,
            as for ``audit``.
        keep_points: whether the records hold the points themselves, as for ``audit``.
        on_progress: called whenever something was added to a point, of the first network and then of the second.

    Returns:
        The comparison, with table, frame, records and page; its field ``regularised`` is the first network, which no view
        calls so, ``twin`` the second, and ``epoch`` is None.

    Raises:
        InvalidInput: points that do not fit, a bound that is no upper one, two equal names, or a record file that cannot be
            written.
        UnsupportedRequest: the bound, or an estimator, does not cover the question or one of the networks.
        IncomparableResults: the functional at a point is another one in the second network, as a runner-up may be; raised
            before anything is searched.
        CrossingBounds: two proofs contradict each other.
    """
    texts = isinstance(names, tuple | list) and all(isinstance(name, str) for name in names)
    if not texts or len(names) != 2 or names[0] == names[1]:
        todo = 'Write names=("pruned", "whole"), say'
        raise InvalidInput(f"names={names!r}", where="compare", accepted="two different names", todo=todo)
    check_switches("compare", keep_points=keep_points)
    check_functions("compare", on_progress=on_progress)
    upper = [name for name, kind in ESTIMATORS.offered().items() if kind.certificate is Certificate.UPPER]
    recipe = Bound.of(bound, "compare.bound", upper).certified
    if get_estimator(recipe.estimator).certificate is not Certificate.UPPER:
        raise InvalidInput(
            f"bound={recipe.estimator!r}", where="compare", accepted="an estimator that proves upper ends"
        )
    plan = AuditPlan(problem, estimators, Budget.of(budget, "compare"), settings).asking(recipe)  # type: ignore[arg-type]
    x, y = tensors_of(x, y, "compare")
    subjects = [structure_of(subject, x, y, "compare") for subject in (network, twin)]
    _check_same_functionals([_graph(subject, plan) for subject in subjects], problem, x, y)
    calibrating = None if calibration is None else _calibrating(calibration, x, problem)
    run_records = _run_records(names, problem, recipe)
    runs: list[RecordedRun] = []
    with CallRecords(records) as call:
        for run, subject in zip(run_records, subjects, strict=True):
            at = PointRecords(x, run.run, run.id) if keep_points else {}
            watch, earlier = call.listener(run, on_progress, at), call.earlier(subject, problem, x)
            points = audit(subject, plan, x, y, executor=executor, earlier=earlier, on_progress=watch)
            calibration_record = (
                replace(calibrating.of(_outputs(subject), run.run, 0, points[0].fingerprint), run_id=run.id)
                if calibrating
                else None
            )
            audits = [record for point in points for record in point.records(run.run, 0, None, run.id)]
            if calibration_record is not None:
                call.append(run, calibration_record)
            calibrations = () if calibration_record is None else (calibration_record,)
            runs.append(RecordedRun(run, tuple(audits), calibrations=calibrations, points=tuple(at.values())))
    compared = compare_pair(Pair.of(runs[0], runs[1]))
    figures = {field.name: getattr(compared, field.name) for field in fields(compared)}
    return NetworkComparison(**figures, runs=(runs[0], runs[1]))


def _graph(subject: Graph | CapturedNetwork, plan: AuditPlan) -> Graph:
    """The frozen graph of a network that the plan covers, so that the second is refused before the first is audited."""
    graph = frozen_graph(subject)
    plan.covering(graph).check(graph)
    return graph


def _check_same_functionals(graphs: Sequence[Graph], problem: LocalLipschitz, x: Tensor, y: Tensor | None) -> None:
    """Raises IncomparableResults unless the question is about the same functionals of both networks' outputs."""
    x, y = x.detach().to("cpu", torch.float64), None if y is None else y.detach().to("cpu")
    with torch.no_grad():
        names = [problem.place(x, graph(x), y, graph.of).functional_names for graph in graphs]
    differing = next((i for i, (first, second) in enumerate(zip(*names, strict=True)) if first != second), None)
    if differing is None:
        return
    todo = "A runner-up changes as a network trains: use AllMargins(), or name the rival"
    if len({graph.output.shape for graph in graphs}) > 1:
        outputs = " and ".join(str(math.prod(graph.output.shape)) for graph in graphs)
        todo = f"They have {outputs} outputs: ask about one that both have, Margin(target, rival) or Logit(index)"
    raise IncomparableResults(
        f"point {differing} is about {' and '.join(repr(texts[differing]) for texts in names)}",
        where="compare",
        accepted="the same functional of both networks",
        todo=todo,
    )


def _run_records(names: tuple[str, str], problem: LocalLipschitz, recipe: Bound) -> list[RunRecord]:
    """The run of each network, as it is saved: the first one names its twin, and the bound that it is compared with."""
    ids = secrets.token_hex(6), secrets.token_hex(6)
    started = started_now()
    about: dict[str, Any] = {"question": problem.describe(), "sentence": problem.sentence(), "of_training": False}
    about |= {"started": started, "versions": versions()}
    comparing = {"bound": recipe.label, "recipe": recipe.describe(), "twin": names[1], "twin_id": ids[1]}
    runs = RunRecord(names[0], id=ids[0], **about, **comparing), RunRecord(names[1], id=ids[1], **about)
    return [run.invoked() for run in runs]


def _calibrating(points: Inputs | Points, audited: Tensor, problem: LocalLipschitz) -> CalibrationPoints:
    """The points of a calibration.

    Raises:
        InvalidInput: they are no inputs with targets, or an audited point is among them.
    """
    calibration_points = Points.of(points, "compare.calibration")
    pair = calibration_points.supplied_points
    if pair is None or pair[1] is None:
        raise InvalidInput("calibration without targets", where="compare", accepted="calibration=(x, y)")
    if (both := among(pair[0], set(keys(audited)))).any():
        raise InvalidInput(
            f"{int(both.sum())} of the points of calibration are audited too",
            where="compare",
            accepted="points that are not among x, so that no figure is fitted to the points it is about",
        )
    return CalibrationPoints(*pair, problem, calibration_points.ignore_index)


def _outputs(subject: Graph | CapturedNetwork) -> Callable[[Tensor], Tensor]:
    """Outputs in float64, of the copy that is audited."""
    graph = frozen_graph(subject)
    return lambda x: graph(x.to("cpu", torch.float64))
