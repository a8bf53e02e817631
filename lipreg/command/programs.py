"""What each subcommand does: reads files, calls the public function of its name, prints what came out."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from lipreg.audits import AuditResult
from lipreg.audits import audit as audit_network
from lipreg.budget import Budget
from lipreg.command.points import named_data, reference_points
from lipreg.command.population import population_of
from lipreg.command.progress import ProgressLine, both
from lipreg.command.question import question_of
from lipreg.command.words import number
from lipreg.comparisons import NetworkComparison
from lipreg.comparisons import compare as compare_networks
from lipreg.errors import InvalidInput
from lipreg.estimators import Settings, certify, get_estimator, usual_estimators
from lipreg.graph import capture
from lipreg.loading import load_network
from lipreg.outputs import AllMargins, Output
from lipreg.words import aligned


def audit(asked: argparse.Namespace) -> None:
    """Prints a line a point; records and page where they are asked for."""
    problem, network = question_of(asked), _network(asked)
    x, y = _points(asked, problem.output)
    population = population_of(asked, x, y)
    line = ProgressLine(len(x) if population is None else population.most)
    found = audit_network(
        network,
        problem,
        *((x, y) if population is None else ()),
        population=population,
        estimators=asked.estimators,
        budget=Budget(asked.seconds, gap=asked.gap),
        settings=Settings(seed=asked.seed),
        executor=asked.executor,
        name=asked.name or asked.model,
        on_progress=lambda progress: line.at(progress.done, progress.seconds_left),
    )
    line.end()
    print(found.table())
    _kept(asked, found)


def bounds(asked: argparse.Namespace) -> None:
    """Prints a line a point, a column a method."""
    problem, network = question_of(asked), _network(asked)
    x, y = _points(asked, problem.output)
    captured = capture(network, x)
    graph = captured.frozen()
    names = asked.estimators or [n for n in usual_estimators(problem, graph) if not get_estimator(n).searches]
    names = names if asked.estimators else [name for name in names if name != "sampling"]
    if not names:
        raise InvalidInput("no method without a search covers the question", where="bounds", todo="Take lipreg audit")
    found = [certify(captured, problem, x, y, estimator=name) for name in names]
    rows = [("point", *names)]
    rows += [(str(i), *(number(column[i].upper) for column in found)) for i in range(len(x))]
    print("\n".join([f"upper bounds on the {problem.sentence()}", "", *aligned(rows, left=0)]))


def radius(asked: argparse.Namespace) -> None:
    """Prints a line a point; what was asked above them."""
    from lipreg.command.radii import radii, radii_text, write_radii

    network, (x, y) = _network(asked), _points(asked, AllMargins())
    own = {"p": asked.p, "bounds": asked.bounds, "low": asked.low, "high": asked.high}
    line = ProgressLine(len(x))
    found = radii(network, x, y, own, line.at)
    line.end()
    print(radii_text(found, own))
    if asked.out:
        write_radii(found, asked.out)
        print(f"written to {asked.out}")


def compare(asked: argparse.Namespace) -> None:
    """Prints the table of both."""
    problem, network = question_of(asked), _network(asked)
    x, y = _points(asked, problem.output)
    if asked.twin is None and asked.twin_weights is None and asked.twin_module is None:
        raise InvalidInput("one network", where="compare", accepted="--twin MODEL, or --twin-weights FILE")
    other = asked.twin or asked.model
    arguments = asked.twin_arguments if asked.twin or asked.twin_arguments else asked.arguments
    module = asked.twin_module if asked.twin or asked.twin_module else asked.module
    twin = load_network(other, arguments=_arguments(arguments), weights=asked.twin_weights, module=module)
    names = tuple(Path(w or m).name for w, m in ((asked.weights, asked.model), (asked.twin_weights, other)))
    line = ProgressLine(2 * len(x))
    found = compare_networks(
        network,
        twin,
        problem,
        x,
        y,
        bound=asked.bound,
        estimators=asked.estimators,
        budget=Budget(asked.seconds, gap=asked.gap),
        settings=Settings(seed=asked.seed),
        executor=asked.executor,
        names=(names[0], names[1]) if names[0] != names[1] else ("network", "twin"),
        on_progress=both(line, len(x)),
    )
    line.end()
    print(found.table())
    _kept(asked, found)


def report(asked: argparse.Namespace) -> None:
    """Writes the page, and says what could not be read."""
    from lipreg.command.unfinished import unfinished
    from lipreg.records import read_sources
    from lipreg.reporting.html import write_runs_report

    sources = read_sources(asked.paths)
    sources = replace(sources, left_out=(*sources.left_out, *unfinished(asked.paths)))
    print(write_runs_report(sources, asked.html, asked.metric))
    for name, reason in sources.left_out:
        print(f"left out: {name}: {reason}")


def _kept(asked: argparse.Namespace, found: AuditResult | NetworkComparison) -> None:
    """Writes records and page where they are asked for, and says where they are."""
    if asked.records:
        runs = [found.run] if isinstance(found, AuditResult) else [run.record for run in found.runs]
        print(f"records: {found.save(asked.records)}, run {' and '.join(run.id for run in runs)}")
    if asked.html:
        print(f"page: {found.html(asked.html)}")


def _network(asked: argparse.Namespace) -> Any:
    arguments = _arguments(asked.arguments)
    return load_network(asked.model, arguments=arguments, weights=asked.weights, module=asked.module)


def _arguments(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r}: {error}", where="arguments", accepted='JSON: {"widths": [4, 8, 3]}') from None
    if not isinstance(found, dict):
        raise InvalidInput(f"{text!r}", where="arguments", accepted='an object: {"widths": [4, 8, 3]}')
    return found


def _points(asked: argparse.Namespace, output: Output) -> tuple[Any, Any]:
    data = named_data(asked.data, _arguments(asked.data_arguments), labels=asked.labels, shape=asked.shape)
    return reference_points(data, asked.points, asked.points_seed, output)
