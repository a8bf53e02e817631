"""What each subcommand does: reads files, calls the public function of its name, prints what came out."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lipreg.auditing.compare import compare as compare_networks
from lipreg.audits import audit as audit_network
from lipreg.budget import Budget
from lipreg.command.progress import ProgressLine
from lipreg.command.question import question_of
from lipreg.errors import InvalidInput
from lipreg.estimators import Settings, certify, get_estimator, usual_estimators
from lipreg.graph import capture
from lipreg.loading import load_network, load_points
from lipreg.loading.points import chosen
from lipreg.words import aligned

_REQUIRED = ("lipreg", "torch", "numpy", "scipy", "highspy", "cvxpy", "scs", "clarabel", "pytorch-lightning")
_OPTIONAL = ("gurobipy", "pyscipopt", "onnx", "pandas", "rich", "matplotlib", "ray")


def audit(asked: argparse.Namespace) -> None:
    """Prints a line a point; records and page where they are asked for."""
    problem, network, (x, y) = question_of(asked), _network(asked), _points(asked)
    line = ProgressLine(len(x))
    found = audit_network(
        network,
        problem,
        x,
        y,
        estimators=asked.estimators,
        budget=Budget(asked.seconds, gap=asked.gap),
        settings=Settings(seed=asked.seed),
        executor=asked.executor,
        name=asked.name or asked.model,
        on_progress=lambda progress: line.at(progress.done, progress.seconds_left),
    )
    line.end()
    print(found.table())
    if asked.records:
        print(f"records: {found.save(asked.records)}, run {found.run.id}")
    if asked.html:
        print(f"page: {found.html(asked.html)}")


def bounds(asked: argparse.Namespace) -> None:
    """Prints a line a point, a column a method."""
    problem, network, (x, y) = question_of(asked), _network(asked), _points(asked)
    captured = capture(network, x)
    graph = captured.frozen()
    names = asked.estimators or [n for n in usual_estimators(problem, graph) if not get_estimator(n).searches]
    names = names if asked.estimators else [name for name in names if name != "sampling"]
    if not names:
        raise InvalidInput("no method without a search covers the question", where="bounds", todo="Take lipreg audit")
    found = [certify(captured, problem, x, y, estimator=name) for name in names]
    rows = [("point", *names)]
    rows += [(str(i), *(_number(column[i].upper) for column in found)) for i in range(len(x))]
    print("\n".join([f"upper bounds on the {problem.sentence()}", "", *aligned(rows, left=0)]))


def radius(asked: argparse.Namespace) -> None:
    """Prints a line a point; what was asked above them."""
    from lipreg.estimators.radius import certified_radii

    network, (x, y) = _network(asked), _points(asked)
    graph = capture(network, x).frozen()
    own = {"p": asked.p, "bounds": asked.bounds, "low": asked.low, "high": asked.high}
    line, found = ProgressLine(len(x)), []
    for i in range(len(x)):
        found += certified_radii(graph, x[i : i + 1], None if y is None else y[i : i + 1], **own)
        line.at(i + 1)
    line.end()
    rows = [("point", "class", "nearest rival", "margin", "constant", "certified radius")]
    for i, at in enumerate(found):
        rival = "misclassified" if at.rival is None else str(at.rival)
        rows.append((str(i), str(at.label), rival, f"{at.margin:.4g}", _number(at.constant), f"{at.radius:.5g}"))
    norm = {"1": "l1", "2": "l2", "inf": "l\u221e"}[asked.p]
    region = f"balls in {norm}, {_range(asked.low, asked.high)}"
    print(f"certified radius in {norm}: pointed scope, {region}, bound by {' or '.join(asked.bounds)}\n")
    print("\n".join(aligned(rows, left=0)))
    if asked.out:
        text = "".join(json.dumps({"point": i, **asdict(at)}) + "\n" for i, at in enumerate(found))
        _write(asked.out, text)
        print(f"written to {asked.out}")


def compare(asked: argparse.Namespace) -> None:
    """Prints the table of both."""
    from lipreg.reporting.tables import comparison_text

    problem, network, (x, y) = question_of(asked), _network(asked), _points(asked)
    if asked.twin is None and asked.twin_weights is None and asked.twin_module is None:
        raise InvalidInput("one network", where="compare", accepted="--twin MODEL, or --twin-weights FILE")
    other = asked.twin or asked.model
    arguments = asked.twin_arguments if asked.twin or asked.twin_arguments else asked.arguments
    module = asked.twin_module if asked.twin or asked.twin_module else asked.module
    twin = load_network(other, arguments=_arguments(arguments), weights=asked.twin_weights, module=module)
    names = tuple(Path(w or m).name for w, m in ((asked.weights, asked.model), (asked.twin_weights, other)))
    comparison = compare_networks(
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
    )
    print(comparison_text(comparison), end="")


def report(asked: argparse.Namespace) -> None:
    """Writes the page, and says what could not be read."""
    from lipreg.records import read_sources
    from lipreg.reporting.html import write_runs_report

    sources = read_sources(asked.paths)
    print(write_runs_report(sources, asked.html, asked.metric))
    for name, reason in sources.left_out:
        print(f"left out: {name}: {reason}")


def version(asked: argparse.Namespace) -> None:
    """Prints what is installed."""
    import torch

    print(f"python {platform.python_version()}")
    for name in (*_REQUIRED, *_OPTIONAL):
        try:
            print(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is not installed")
    print(f"threads: {torch.get_num_threads()} of {os.cpu_count()} cores")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f"devices: {', '.join(['cpu', *devices])}")


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


def _points(asked: argparse.Namespace) -> tuple[Any, Any]:
    return chosen(*load_points(asked.data, labels=asked.labels, shape=asked.shape), asked.points)


def _number(value: float) -> str:
    return "none" if value == math.inf else f"{value:.5g}"


def _range(low: float | None, high: float | None) -> str:
    ends = ("-\u221e" if low is None else f"{low:g}", "\u221e" if high is None else f"{high:g}")
    return "no data range" if low is high is None else f"data range [{ends[0]}, {ends[1]}]"


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}", where="out", accepted="a file") from None
