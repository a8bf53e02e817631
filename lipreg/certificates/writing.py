"""Certificates of intervals: the claim, the proof of each end, and the file."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lipreg.budget import UNLIMITED, Budget
from lipreg.certificates import encoding
from lipreg.certificates.growing import Tree
from lipreg.certificates.refusal import NoCertificate
from lipreg.checking import FORMAT, VERSION, Refused, check, read
from lipreg.checking import cells as exact
from lipreg.checking.file import Leaf, WrittenCertificate, parse
from lipreg.checking.region import IntegerRegion
from lipreg.checking.verdict import functionals, rounded_roots
from lipreg.checking.witness import measured, reaches
from lipreg.disks import FullDisk
from lipreg.errors import InvalidInput
from lipreg.graph import Graph
from lipreg.problem import PlacedProblem
from lipreg.records.claims import name_of
from lipreg.results import CertifiedInterval
from lipreg.whole_files import write_whole

SPARES = 1e-12, 1e-9
"""Shares of the claim that squares leave to rounding: where whole numbers refuse what that proves, the larger one."""


@dataclass(frozen=True)
class PlainCertificate:
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

    @property
    def name(self) -> str:
        """Of the file beside records: a hash of what is claimed, so that the same claim has the same name."""
        return name_of(self.plain)

    def save(self, path: str | Path) -> Path:
        """Writes the file, compressed, and returns its path; whatever ends the writing leaves no half of it there.

        Raises:
            InvalidInput: a path that cannot be written.
        """
        try:
            write_whole(Path(path), gzip.compress(_text(self.plain), mtime=0))
        except FullDisk:
            raise
        except OSError as error:
            raise InvalidInput(
                f"cannot write {path}: {error.strerror}", where="certificate", accepted="a file"
            ) from None
        return Path(path)


def certificate_of(
    graph: Graph,
    placed: PlacedProblem,
    interval: CertifiedInterval,
    budget: Budget | None = None,
    folder: Path | None = None,
) -> PlainCertificate:
    """A certificate of an interval that was proved at one point, whatever proved it.

    The tree of the upper end is not that of a search: it is grown anew, towards the upper end that is proved by now, and
    every leaf of it has been judged by the checker when it is written.

    Args:
        graph: the network, frozen, with its float64 weights.
        placed: the question at the point.
        interval: what was proved of it.
        budget: for writing.
        folder: where a certificate of the same claim may lie from before: one that holds is not written again.

    Raises:
        NoCertificate: the format has no place for the question or the network, nothing was proved from above, the budget
            ended, or no proof comes of the search for one.
    """
    if interval.upper == math.inf:
        raise NoCertificate("an interval without an upper end", where="certificate", accepted="both ends proved")
    budget = (budget or UNLIMITED).started()
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
            "question": json.dumps(interval.problem.describe()),
            "arithmetic": "the float64 copy of the weights, in real arithmetic; not a float32 program",
            **moved,
        },
        "question": encoding.question(placed),
        "network": encoding.network(graph),
        "claim": {"lower": _fraction(0.0), "upper": _fraction(interval.upper)},
        "lower": None,
        "upper": [],
    }
    claimed = parse(plain)
    region = claimed.question.region
    placed_region = region.placed()
    lower = _lower(plain, claimed, placed_region, interval)
    if folder is not None and (proofs := _reusable_proofs(folder / name_of(plain), plain)) is not None:
        return PlainCertificate(plain | proofs[0], lower, interval.upper, proofs[1])
    upper, refused = Fraction(interval.upper), Refused("nothing was tried")
    rows = functionals(claimed.question.rows, claimed.question.signs)
    question = claimed.nodes, region.center, placed_region, rows
    exactly, begun = cache(lambda: list(exact.roots(*question))), rounded_roots(*question)
    for spare in SPARES:
        plain["upper"], kinds = [], Counter[str]()
        for number, root in enumerate(begun):
            tree = Tree(claimed.question.norm, upper, lambda number=number: exactly()[number], spare)
            tree.grow(root, _budget_check(budget))
            plain["upper"].append(tree.nodes)
            kinds += tree.kinds
        try:
            # the lower end has been judged by itself
            check(replace(parse(plain), lower=Fraction(0), witness=None), lambda _: _budget_check(budget)())
        except Refused as error:  # radii have proved what whole numbers do not: nothing is certified that they refuse
            refused = error
        else:
            return PlainCertificate(plain, lower, interval.upper, dict(kinds))
    raise NoCertificate(f"a proof that does not hold in whole numbers ({refused})", where="certificate")


def _text(plain: dict[str, Any]) -> bytes:
    return json.dumps(plain, separators=(",", ":")).encode()


def _reusable_proofs(path: Path, plain: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]] | None:
    """Both proofs of a file that claims the same and holds, and its nodes by kind; None where there is none."""
    if not path.is_file():
        return None
    try:
        earlier = read(path)
        check(earlier)
        whole: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    except (Refused, OSError, EOFError, ValueError):  # cut off, or changed: it is written anew
        return None
    if name_of(whole) != path.name or any(whole[name] != plain[name] for name in ("question", "network", "claim")):
        return None
    nodes = (node.kind if isinstance(node, Leaf) else "split" for tree in earlier.trees for node in tree)
    return {name: whole[name] for name in ("lower", "upper")}, dict(Counter(nodes))


def _budget_check(budget: Budget) -> Callable[[], None]:
    def check() -> None:
        ended = budget.stop_reason()
        if ended is not None:
            raise NoCertificate(f"{ended.value} before the proof was written", where="certificate")

    return check


def _lower(
    plain: dict[str, Any], claimed: WrittenCertificate, region: IntegerRegion, interval: CertifiedInterval
) -> float:
    """Enters the witness, with the functional that is steepest there, and what is claimed of it.

    Raises:
        NoCertificate: the witness reaches its end, and lies outside of the region.
    """
    if interval.witness is None or interval.lower == 0:
        return 0.0
    point, question = np.array(interval.witness.point, dtype=float), claimed.question
    rows, bits = functionals(question.rows, question.signs)
    for at, row in enumerate(rows):
        try:
            gradient = measured(claimed.nodes, point, region, (row, bits))
        except Refused:
            return 0.0
        if reaches(question.norm, gradient, Fraction(interval.lower)):
            if not question.region.holds(point):
                beyond = question.region.beyond(point)
                raise NoCertificate(f"a witness that lies outside of the region, by {beyond:.3g}", where="certificate")
            plain["lower"] = {"row": at, "point": encoding.numbers(point)}
            plain["claim"]["lower"] = _fraction(interval.lower)
            return interval.lower
    return 0.0


def _fraction(number: float) -> str:
    above, below = number.as_integer_ratio()
    return f"{above}/{below}"
