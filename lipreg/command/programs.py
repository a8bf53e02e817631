"""What each subcommand does: reads files, checks all that it needs, calls the public function of its name, prints what came
out. Each returns an exit code, or None for success."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from lipreg.auditing.interrupts import Stopping
from lipreg.audits import AuditResult
from lipreg.audits import audit as audit_network
from lipreg.budget import Budget
from lipreg.command.destinations import check_writable
from lipreg.command.networks import captured, own_weights, points_for, read_network
from lipreg.command.population import population_of
from lipreg.command.progress import ProgressLine, StageLine, both
from lipreg.command.question import question_of
from lipreg.command.words import number
from lipreg.comparisons import NetworkComparison
from lipreg.comparisons import compare as compare_networks
from lipreg.errors import InvalidInput
from lipreg.estimators import Settings, certify, get_estimator, usual_estimators
from lipreg.outputs import AllMargins
from lipreg.records import EXACT, AuditRecord
from lipreg.surveys import FIRST
from lipreg.words import aligned, counted

TOGETHER = 16
"""Points of which closed forms are evaluated at once: what is done of the others is printed after a Ctrl-C."""
NAMED = 10
"""So many of what a page leaves out are printed."""
_CUT = "its last line is cut off and left out: it is being written, or the file is a copy that is not whole"


def audit(asked: argparse.Namespace) -> int:
    """Prints a line a point; records and page where they are asked for."""
    check_writable(records=asked.records, html=asked.html)
    if asked.certificates and not asked.records:
        todo = "Name a record file: certificates are written beside it"
        raise InvalidInput("--certificates alone", where="audit", accepted="--certificates --records FILE", todo=todo)
    budget_of(asked)
    problem, network = question_of(asked), read_network(asked)
    x, y = points_for(asked, network, problem.output)
    population = population_of(asked, x, y)
    subject = captured(asked, network, x if population is None else x[:FIRST])
    line = ProgressLine(len(x) if population is None else population.most)
    with Stopping(line.stopping) as stopping:
        found = audit_network(
            subject,
            problem,
            *((x, y) if population is None else ()),
            population=population,
            estimators=asked.estimators,
            budget=budget_of(asked, stopping.event),
            settings=Settings(seed=asked.seed),
            executor=asked.executor,
            name=asked.name or asked.model,
            records=asked.records,
            certificates=asked.certificates,
            keep_points=asked.keep_points,
            on_progress=lambda progress: line.at(progress.done, progress.seconds_left),
        )
    line.end()
    print(found.table())
    _told_of_weights(asked)
    _kept(asked, found)
    return _ended(stopping, asked.records)


def bounds(asked: argparse.Namespace) -> int:
    """Prints a line a point, a column a method."""
    problem, network = question_of(asked), read_network(asked)
    x, y = points_for(asked, network, problem.output)
    subject = captured(asked, network, x)
    graph = subject.frozen_at(x)
    names = asked.estimators or [n for n in usual_estimators(problem, graph) if not get_estimator(n).searches]
    names = names if asked.estimators else [name for name in names if name != "sampling"]
    if not names:
        raise InvalidInput("no method without a search covers the question", where="bounds", todo="Take lipreg audit")
    for name in names:
        get_estimator(name).check(problem, graph)
    rows, line = [("point", *names)], ProgressLine(len(x))
    with Stopping(line.stopping) as stopping:
        for first in range(0, len(x), TOGETHER):
            part = slice(first, first + TOGETHER)
            own = None if y is None else y[part]
            budget = Budget(stop=stopping.event)
            network = subject if first == 0 else graph  # which is compared with the module's hooks once
            found = [certify(network, problem, x[part], own, estimator=name, budget=budget) for name in names]
            if stopping.signal:
                break
            rows += [(str(first + i), *(number(column[i].upper) for column in found)) for i in range(len(found[0]))]
            line.at(len(rows) - 1)
    line.end()
    print("\n".join([f"upper bounds on the {problem.sentence()}", "", *aligned(rows, left=0)]))
    _told_of_weights(asked)
    return _ended(stopping)


def radius(asked: argparse.Namespace) -> int:
    """Prints a line a point; what was asked above them."""
    from lipreg.command.radii import radii, radii_text, write_radius

    check_writable(out=asked.out)
    network = read_network(asked)
    x, y = points_for(asked, network, AllMargins())
    own = {"p": asked.p, "bounds": asked.bounds, "low": asked.low, "high": asked.high}
    line, subject = ProgressLine(len(x)), captured(asked, network, x)

    def on_point(done: int, at: Any) -> None:
        if asked.out:
            write_radius(done, at, asked.out)
        line.at(done)

    with Stopping(line.stopping) as stopping:
        found = radii(subject, x, y, own, on_point, stopping.event)
    line.end()
    print(radii_text(found, own))
    _told_of_weights(asked)
    if asked.out:
        print(f"written to {asked.out}")
    return _ended(stopping)


def compare(asked: argparse.Namespace) -> int:
    """Prints the table of both."""
    check_writable(records=asked.records, html=asked.html)
    if asked.twin is None and asked.twin_weights is None and asked.twin_module is None:
        raise InvalidInput("one network", where="compare", accepted="--twin MODEL, or --twin-weights FILE")
    budget_of(asked)
    problem, network = question_of(asked), read_network(asked)
    x, y = points_for(asked, network, problem.output)
    theirs = _asked_of_twin(asked)
    twin = read_network(theirs)
    names = tuple(Path(own.weights or own.model).name for own in (asked, theirs))
    subject, other = captured(asked, network, x), captured(theirs, twin, x)
    line = ProgressLine(2 * len(x))
    with Stopping(line.stopping) as stopping:
        found = compare_networks(
            subject,
            other,
            problem,
            x,
            y,
            bound=asked.bound,
            estimators=asked.estimators,
            budget=budget_of(asked, stopping.event, networks=2),
            settings=Settings(seed=asked.seed),
            executor=asked.executor,
            names=(names[0], names[1]) if names[0] != names[1] else ("network", "twin"),
            records=asked.records,
            on_progress=both(line, len(x)),
        )
    line.end()
    print(found.table())
    _told_of_weights(asked, theirs)
    _kept(asked, found)
    return _ended(stopping, asked.records)


def report(asked: argparse.Namespace) -> None:
    """Writes the page, and says what could not be read."""
    from lipreg.records import LeftOut, read_sources
    from lipreg.reporting.html import write_runs_report

    check_writable(html=asked.html)
    line = StageLine()
    sources = read_sources(asked.paths, line.at)
    cut = [LeftOut(source.name, _CUT) for source in sources.files if source.cut]
    sources = replace(sources, left_out=(*sources.left_out, *cut))
    path = write_runs_report(sources, asked.html, asked.metric, line.at)
    line.end()
    print(path)
    read = {source.name for source in sources.files}
    for name, reason in sources.left_out[:NAMED]:
        print(f"{name}: {reason}" if name in read else f"left out: {name}: {reason}")  # lines of a file that is shown
    if len(sources.left_out) > NAMED:
        print(f"left out: {len(sources.left_out) - NAMED} more, which the page names")


def budget_of(asked: argparse.Namespace, stop: Any = None, networks: int = 1) -> Budget:
    """The budget of one of so many networks.

    Raises:
        InvalidInput: no seconds, or a gap that is none.
    """
    if not 0 <= asked.seconds < math.inf:
        raise InvalidInput(f"--seconds {asked.seconds:g}", where="budget", accepted="a finite number of at least 0")
    return Budget(asked.seconds / networks, gap=asked.gap, stop=stop)


def _asked_of_twin(asked: argparse.Namespace) -> argparse.Namespace:
    """What is asked about the other network, in the flags of the one: what is not said of it is as there."""
    other = argparse.Namespace(**vars(asked))
    other.model = asked.twin or asked.model
    other.weights = asked.twin_weights
    other.arguments = asked.twin_arguments if asked.twin or asked.twin_arguments else asked.arguments
    other.module = asked.twin_module if asked.twin or asked.twin_module else asked.module
    return other


def _told_of_weights(*asked: argparse.Namespace) -> None:
    """Says below a table which networks have no saved weights."""
    for own in asked:
        if own_weights(own):
            print(own_weights(own))


def _kept(asked: argparse.Namespace, found: AuditResult | NetworkComparison) -> None:
    """Says where the records are, and writes the page where it is asked for."""
    if asked.records:
        runs = [found.run] if isinstance(found, AuditResult) else [run.record for run in found.runs]
        again = sum(record.resumed for record in found.records if isinstance(record, AuditRecord) and _is_whole(record))
        more = f"; {counted(again, 'point')} went on from what stood there" if again else ""
        print(f"records: {asked.records}, run {' and '.join(run.id for run in runs)}{more}")
    if asked.html:
        print(f"page: {found.html(asked.html)}")


def _is_whole(record: AuditRecord) -> bool:
    return record.estimator == EXACT


def _ended(stopping: Stopping, records: str | None = None) -> int:
    """The exit code; what became of the rest, where the command was stopped."""
    if not stopping.signal:
        return 0
    more = f"; the same command goes on from {records}" if records else ""
    print(f"Interrupted: what was proved by then is above{more}.", file=sys.stderr)
    return 128 + stopping.signal
