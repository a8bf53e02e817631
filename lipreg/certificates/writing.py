"""Certificates of intervals: the claim, the proof of each end, and the file."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lipreg.budget import FREE, Budget
from lipreg.certificates import encoding
from lipreg.certificates.growing import Tree
from lipreg.certificates.refusal import NoCertificate
from lipreg.checking import FORMAT, VERSION, Refused
from lipreg.checking.cells import roots
from lipreg.checking.file import Question, parse
from lipreg.checking.network import Node
from lipreg.checking.verdict import functionals
from lipreg.checking.witness import attained, reaches
from lipreg.errors import InvalidInput
from lipreg.graph import Graph
from lipreg.problem import PlacedProblem
from lipreg.results import CertifiedInterval


@dataclass(frozen=True)
class Written:
    """A certificate, as plain data.

    Attributes:
        plain: the whole file.
        lower, upper: the ends that it claims.
        kinds: nodes of its trees, counted by kind.
    """

    plain: dict[str, Any]
    lower: float
    upper: float
    kinds: dict[str, int]

    def save(self, path: str | Path) -> Path:
        """Writes the file, compressed, and returns its path.

        Raises:
            InvalidInput: a path that cannot be written.
        """
        text = json.dumps(self.plain, separators=(",", ":")).encode()
        try:
            Path(path).write_bytes(gzip.compress(text, mtime=0))
        except OSError as error:
            raise InvalidInput(
                f"cannot write {path}: {error.strerror}", where="certificate", accepted="a file"
            ) from None
        return Path(path)


def certificate_of(
    graph: Graph, placed: PlacedProblem, interval: CertifiedInterval, budget: Budget | None = None
) -> Written:
    """A certificate of an interval that was proved at one point, whatever proved it.

    The tree of the upper end is not that of a search: it is grown anew, towards the upper end that is known by now, and
    every leaf of it has been judged by the checker when it is written.

    Args:
        graph: the network, frozen, with its float64 weights.
        placed: the question at the point.
        interval: what was proved of it.
        budget: for writing.

    Raises:
        NoCertificate: the format has no place for the question or the network, nothing was proved from above, the budget
            ended, or the proof is not found.
    """
    if interval.upper == math.inf:
        raise NoCertificate("an interval without an upper end", where="certificate", accepted="both ends proved")
    budget = (budget or FREE).started()
    outside = max(placed.outside, default=0.0)
    moved = {"point": f"lay {outside:.17g} outside: the region is around the nearest point inside"} if outside else {}
    plain: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "producer": {
            "name": f"lipreg {importlib.metadata.version('lipreg')}",
            "sentence": interval.problem.sentence(),
            "functional": interval.functional,
            "subject": interval.subject,
            "arithmetic": "the float64 copy of the weights, in real arithmetic; not a float32 program",
            **moved,
        },
        "question": encoding.question(placed),
        "network": encoding.network(graph),
        "claim": {"lower": _fraction(0.0), "upper": _fraction(interval.upper)},
        "lower": None,
        "upper": [],
    }
    read = parse(plain)
    lower = _lower(plain, read.question, read.nodes, interval)
    kinds, upper = Counter[str](), Fraction(interval.upper)
    region = read.question.region
    for root in roots(read.nodes, region.center, region.placed(), functionals(read.question.rows, read.question.signs)):
        tree = Tree(read.question.norm, upper)
        tree.grow(root, _going_on(budget))
        plain["upper"].append(tree.nodes)
        kinds += tree.kinds
    return Written(plain, lower, interval.upper, dict(kinds))


def _going_on(budget: Budget) -> Callable[[], None]:
    def check() -> None:
        ended = budget.ended()
        if ended is not None:
            raise NoCertificate(f"{ended.value} before the proof was written", where="certificate")

    return check


def _lower(plain: dict[str, Any], question: Question, nodes: tuple[Node, ...], interval: CertifiedInterval) -> float:
    """Enters the witness, with the functional that is steepest there, and what is claimed of it."""
    if interval.witness is None or interval.lower == 0:
        return 0.0
    point = np.array(interval.witness.point, dtype=float)
    rows, bits = functionals(question.rows, question.signs)
    for at, row in enumerate(rows):
        try:
            found = attained(nodes, point, question.region.moves, (row, bits))
        except Refused:
            return 0.0
        if reaches(question.norm, found, Fraction(interval.lower)):
            plain["lower"] = {"row": at, "point": encoding.numbers(point)}
            plain["claim"]["lower"] = _fraction(interval.lower)
            return interval.lower
    return 0.0


def _fraction(number: float) -> str:
    above, below = number.as_integer_ratio()
    return f"{above}/{below}"
