"""What each subcommand does: reads files, checks all that it needs, calls the public function of its name, prints what came
out. Each returns an exit code, or None for success."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lipreg.auditing.interrupts import StopOnSignal
from lipreg.audits import AuditResult
from lipreg.audits import audit as audit_network
from lipreg.command.budgets import budget_of
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
from lipreg.records import COMBINED, AuditRecord
from lipreg.records.endings import Ending, ending_lines
from lipreg.results import Certificate
from lipreg.surveys import FIRST
from lipreg.words import aligned, counted, listed

TOGETHER = 16
"""Points of which closed forms are evaluated at once; after a Ctrl-C those that are done are printed."""
NAMED = 10
"""So many of what a page leaves out are printed."""
_CUT = "its last line is cut off and left out: it is being written, or the file is a copy that is not whole"


def audit(options: argparse.Namespace) -> int:
    """Prints a line a point; writes records and page where flags name them.

    Raises:
        InvalidInput, UnsupportedRequest, UnsupportedModel: as ``lipreg.audit``, or flags that do not go together.
    """
    check_writable(records=options.records, html=options.html)
    if options.certificates and not options.records:
        todo = "Name a record file: certificates are written beside it"
        raise InvalidInput("--certificates alone", where="audit", accepted="--certificates --records FILE", todo=todo)
    budget_of(options)
    problem, network = question_of(options), read_network(options)
    x, y = points_for(options, network, problem.output)
    population = population_of(options, x, y)
    subject = captured(options, network, x if population is None else x[:FIRST])
    line = ProgressLine(len(x) if population is None else population.most)
    with StopOnSignal(line.stopping) as stopping:
        result = audit_network(
            subject,
            problem,
            *((x, y) if population is None else ()),
            population=population,
            estimators=options.estimators,
            budget=budget_of(options, stopping.event),
            settings=Settings(seed=options.seed),
            executor=options.executor,
            name=options.name or options.model,
            records=options.records,
            certificates=options.certificates,
            keep_points=options.keep_points,
            on_progress=lambda progress: line.at(progress.done, progress.seconds_left),
        )
    line.end()
    print(result.table())
    _print_own_weights(options)
    _report_files(options, result)
    return _exit_code(stopping, options.records)


def bounds(options: argparse.Namespace) -> int:
    """Prints a line a point, a column a method; below them what was left out, and whose number stands in its place.

    Raises:
        InvalidInput, UnsupportedRequest, UnsupportedModel: as ``lipreg.certify``, or no method without a search.
    """
    budget_of(options)
    problem, network = question_of(options), read_network(options)
    x, y = points_for(options, network, problem.output)
    subject = captured(options, network, x)
    graph = subject.frozen_at(x)
    names = options.estimators or [n for n in usual_estimators(problem, graph) if not get_estimator(n).searches]
    names = names if options.estimators else [name for name in names if name != "sampling"]
    if not names:
        raise InvalidInput("no method without a search covers the question", where="bounds", todo="Take lipreg audit")
    for name in names:
        get_estimator(name).check(problem, graph)
    rows, line, ended = [("point", *names)], ProgressLine(len(x)), list[list[Ending]]()
    with StopOnSignal(line.stopping) as stopping:
        budget = budget_of(options, stopping.event).started()
        for first in range(0, len(x), TOGETHER):
            part, share = slice(first, first + TOGETHER), budget.share(min(1.0, TOGETHER / (len(x) - first)))
            labels = None if y is None else y[part]
            network = subject if first == 0 else graph  # which is compared with the module's hooks once
            columns = [
                certify(network, problem, x[part], labels, estimator=name, budget=share.share(1 / (len(names) - k)))
                for k, name in enumerate(names)
            ]
            if stopping.signal:
                break
            rows += [(str(first + i), *(number(column[i].upper) for column in columns)) for i in range(len(columns[0]))]
            by_method = zip(names, columns, strict=True)
            ended += [[Ending.of(name, each) for each in column] for name, column in by_method]
            line.at(len(rows) - 1, budget.seconds_left)
    line.end()
    notes = [*_of_other_kinds(names), *ending_lines(ended, named=True, smaller=True)]
    table = [f"upper bounds on the {problem.sentence()}", "", *aligned(rows, left_columns=0)]
    print("\n".join([*table, *(["", *notes] if notes else [])]))
    _print_own_weights(options)
    return _exit_code(stopping)


def _of_other_kinds(names: Sequence[str]) -> list[str]:
    """The lines below a table of bounds about those methods that are not bounds in closed form; none where all are."""
    searches = [name for name in names if get_estimator(name).searches]
    lower = [name for name in names if get_estimator(name).certificate in (Certificate.LOWER, Certificate.ESTIMATE)]
    lines = [f"by a search or programs at each point, not in closed form: {listed(searches)}"] if searches else []
    return [*lines, f"without an upper end, which it does not prove: {listed(lower)}"] if lower else lines


def radius(options: argparse.Namespace) -> int:
    """Prints a line a point, below norm, region and bounds.

    Raises:
        InvalidInput, UnsupportedRequest, UnsupportedModel: as ``certified_radii``, or flags that do not go together.
    """
    from lipreg.command.radii import radii, radii_text, write_radius

    check_writable(out=options.out)
    network = read_network(options)
    x, y = points_for(options, network, AllMargins())
    budget_of(options)
    settings = {"p": options.p, "bounds": options.bounds, "low": options.low, "high": options.high}
    line, subject = ProgressLine(len(x)), captured(options, network, x)

    def on_point(done: int, at: Any) -> None:
        if options.out:
            write_radius(done, at, options.out)
        line.at(done)

    with StopOnSignal(line.stopping) as stopping:
        budget = budget_of(options, stopping.event, seconds=math.inf)
        results = radii(subject, x, y, {**settings, "budget": budget}, on_point, stopping.event)
    line.end()
    print(radii_text(results, settings))
    _print_own_weights(options)
    if options.out:
        print(f"written to {options.out}")
    return _exit_code(stopping)


def compare(options: argparse.Namespace) -> int:
    """Prints the table of both networks and their ratio.

    Raises:
        InvalidInput, UnsupportedRequest, UnsupportedModel, IncomparableResults: as ``lipreg.compare``, or one network alone.
    """
    check_writable(records=options.records, html=options.html)
    if options.twin is None and options.twin_weights is None and options.twin_module is None:
        raise InvalidInput("one network", where="compare", accepted="--twin MODEL, or --twin-weights FILE")
    budget_of(options)
    problem, network = question_of(options), read_network(options)
    x, y = points_for(options, network, problem.output)
    theirs = _twin_options(options)
    twin = read_network(theirs)
    names = tuple(Path(flags.weights or flags.model).name for flags in (options, theirs))
    subject, other = captured(options, network, x), captured(theirs, twin, x)
    line = ProgressLine(2 * len(x))
    with StopOnSignal(line.stopping) as stopping:
        comparison = compare_networks(
            subject,
            other,
            problem,
            x,
            y,
            bound=options.bound,
            estimators=options.estimators,
            budget=budget_of(options, stopping.event, networks=2),
            settings=Settings(seed=options.seed),
            executor=options.executor,
            names=(names[0], names[1]) if names[0] != names[1] else ("network", "twin"),
            records=options.records,
            on_progress=both(line, len(x)),
        )
    line.end()
    print(comparison.table())
    _print_own_weights(options, theirs)
    _report_files(options, comparison)
    return _exit_code(stopping, options.records)


def report(options: argparse.Namespace) -> None:
    """Writes the page, and prints which records could not be read."""
    from lipreg.records import LeftOut, read_sources
    from lipreg.reporting.html import write_runs_report

    check_writable(html=options.html)
    line = StageLine()
    sources = read_sources(options.paths, line.at)
    cut = [LeftOut(source.name, _CUT) for source in sources.files if source.cut]
    sources = replace(sources, left_out=(*sources.left_out, *cut))
    path = write_runs_report(sources, options.html, options.metric, line.at)
    line.end()
    print(path)
    read = {source.name for source in sources.files}
    for name, reason in sources.left_out[:NAMED]:
        print(f"{name}: {reason}" if name in read else f"left out: {name}: {reason}")  # lines of a file that is shown
    if len(sources.left_out) > NAMED:
        print(f"left out: {len(sources.left_out) - NAMED} more, which the page names")


def _twin_options(options: argparse.Namespace) -> argparse.Namespace:
    """The options of the other network, in the flags of the one: what no flag sets for it is as there."""
    other = argparse.Namespace(**vars(options))
    other.model = options.twin or options.model
    other.weights = options.twin_weights
    other.arguments = options.twin_arguments if options.twin or options.twin_arguments else options.arguments
    other.module = options.twin_module if options.twin or options.twin_module else options.module
    return other


def _print_own_weights(*options: argparse.Namespace) -> None:
    """Prints below a table which networks have no saved weights."""
    for network in options:
        if own_weights(network):
            print(own_weights(network))


def _report_files(options: argparse.Namespace, result: AuditResult | NetworkComparison) -> None:
    """Prints where the records are, and writes the page where a flag names it."""
    if options.records:
        runs = [result.run] if isinstance(result, AuditResult) else [run.record for run in result.runs]
        again = sum(
            record.resumed for record in result.records if isinstance(record, AuditRecord) and _is_whole(record)
        )
        more = f"; {counted(again, 'point')} went on from what stood there" if again else ""
        print(f"records: {options.records}, run {' and '.join(run.id for run in runs)}{more}")
    if options.html:
        print(f"page: {result.html(options.html)}")


def _is_whole(record: AuditRecord) -> bool:
    return record.estimator == COMBINED


def _exit_code(stopping: StopOnSignal, records: str | None = None) -> int:
    """The exit code; what became of the rest, where the command was stopped."""
    if not stopping.signal:
        return 0
    more = f"; the same command goes on from {records}" if records else ""
    print(f"Interrupted: what was proved by then is above{more}.", file=sys.stderr)
    return 128 + stopping.signal
