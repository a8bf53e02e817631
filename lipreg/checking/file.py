"""The file of a certificate: JSON, compressed or not, read into what the check goes through. Nothing in it is trusted."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from lipreg.checking.emptiness import Kind, Term
from lipreg.checking.integers import Array
from lipreg.checking.layers import node_of
from lipreg.checking.network import Node
from lipreg.checking.plain import array, count, exactly, fields, fraction, is_whole, items, refuse
from lipreg.checking.refusal import Damaged, Refused
from lipreg.checking.region import BallInBox
from lipreg.checking.squares import Square

FORMAT, VERSION = "lipreg certificate", 3
"""The first words of every certificate, and the version of its format that is written."""
LARGEST_EXPONENT, LARGEST_MANTISSA = 4096, 1 << 256
LARGEST_TEXT = 1 << 30


@dataclass(frozen=True)
class RegionalQuestion:
    """The regional constant: the largest norm of the gradient of any functional over a region.

    Attributes:
        norm: of gradients, the dual of p: 1 for p = inf, 2 for p = 2, 0 (the largest entry) for p = 1.
        signs: whether all signed sums of the rows are the functionals (q = 1) and not the rows themselves.
        region: over which the largest is taken.
        rows: of outputs, ``(rows, outputs)`` float64.
    """

    norm: int
    signs: bool
    region: BallInBox
    rows: Array


@dataclass(frozen=True)
class Split:
    """Two parts: a unit above 0 and not.

    Attributes:
        unit: its number among all.
    """

    unit: int


@dataclass(frozen=True)
class ImpliedSide:
    """The same part, in which a unit is shown to be nowhere on its other side.

    Attributes:
        unit: its number among all.
        side: 1 for nowhere below 0, -1 for nowhere above.
        terms: the multipliers that show it.
    """

    unit: int
    side: int
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Leaf:
    """A part that is closed.

    Attributes:
        kind: "bounds", "gradient", "empty", "flat" or "square".
        squares: the multipliers and weights that this kind needs.
    """

    kind: str
    squares: tuple[Square, ...] = ()


Step = Split | ImpliedSide | Leaf
"""A node of a tree."""


@dataclass(frozen=True)
class WrittenCertificate:
    """A claim and its proof.

    Attributes:
        question: what the claim is about.
        nodes: the network.
        lower, upper: the claimed ends.
        witness: the functional and the point that attain the lower end.
        trees: one for each functional, in preorder.
        producer: what wrote it, in its own words; nothing is checked of that.
    """

    question: RegionalQuestion
    nodes: tuple[Node, ...]
    lower: Fraction
    upper: Fraction
    witness: tuple[int, Array] | None
    trees: tuple[tuple[Step, ...], ...]
    producer: dict[str, str]


def read(path: str | Path) -> WrittenCertificate:
    """Reads a certificate.

    Raises:
        Damaged: it is empty, its end is missing, or it cannot be decompressed.
        Refused: it cannot be read, or is not of this format and version.
    """
    try:
        return parse(_plain(_text(Path(path)), str(path)))
    except (OSError, ValueError, RecursionError, OverflowError, MemoryError) as error:
        raise Refused(f"cannot be read: {error or type(error).__name__}", str(path)) from None


def _text(path: Path) -> bytes:
    """The text of a file, compressed or not, up to ``LARGEST_TEXT`` bytes."""
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with gzip.GzipFile(fileobj=raw) if compressed else raw as file:
            try:
                text = file.read(LARGEST_TEXT + 1)
            except EOFError:
                raise Damaged("cannot be read: its end is missing", str(path)) from None
            except (gzip.BadGzipFile, zlib.error) as error:
                raise Damaged(f"cannot be read: it is damaged ({error})", str(path)) from None
    if not text:
        raise Damaged("cannot be read: it is empty", str(path))
    return text if len(text) <= LARGEST_TEXT else refuse(f"a text of more than {LARGEST_TEXT} bytes", str(path))


def _plain(text: bytes, path: str) -> Any:
    """The plain data of a text in JSON."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        begun = text.lstrip()[:1] == b"{"
        why = f"its JSON breaks off or is damaged: {error}" if begun else "neither JSON nor compressed JSON"
        raise Refused(f"no certificate: {why}", path) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object none of whose names stands there twice."""
    whole = dict(pairs)
    return whole if len(whole) == len(pairs) else refuse("a name that stands twice in one object", "file")


def parse(plain: Any) -> WrittenCertificate:
    """A certificate of plain data."""
    names = "format version producer question network claim lower upper"
    kind, version, producer, question, network, claim, lower, upper = fields(plain, names, "file")
    if kind != FORMAT or not is_whole(version) or not 1 <= version <= VERSION:
        raise Refused(f"{kind!r} of version {version!r}, and this checker knows {FORMAT!r} of versions 1 to {VERSION}")
    if not isinstance(producer, dict) or any(not isinstance(v, str) for v in producer.values()):
        raise Refused("not an object of texts", "producer")
    inputs, listed = fields(network, "inputs nodes", "network")
    sizes = [count(inputs, "inputs")]
    nodes: list[Node] = []
    for i, node in enumerate(items(listed, "nodes")):
        nodes.append(node_of(node, sizes, f"node {i + 1}"))
        sizes.append(nodes[-1].size)
    read_question = _question(question if version > 1 else _with_counts(question), sizes[0], sizes[-1])
    ends = [fraction(end, "claim") for end in fields(claim, "lower upper", "claim")]
    witness = None
    if lower is not None:
        row, point = fields(lower, "row point", "lower")
        witness = count(row, "row", 0), array(point, "point", (sizes[0],))
    trees = tuple(_tree(tree, version, f"tree {i}") for i, tree in enumerate(items(upper, "upper")))
    return WrittenCertificate(read_question, tuple(nodes), ends[0], ends[1], witness, trees, producer)


def _with_counts(plain: Any) -> Any:
    """A question as version 1 has it, in which every entry of a gradient counts as it is."""
    fields(plain, "scope p q region rows", "question")
    return plain | {"counts": None}


def _question(plain: Any, inputs: int, outputs: int) -> RegionalQuestion:
    scope, p, q, region, rows, counts = fields(plain, "scope p q region rows counts", "question")
    if scope != "regional" or p not in ("1", "2", "inf") or q not in (None, "1", "inf"):
        raise Refused(f"scope {scope!r} with p = {p!r}, q = {q!r}", "question")
    matrix = array(rows, "rows", (None, outputs))
    if not len(matrix):
        raise Refused("no functional", "rows")
    where = _region(region, inputs)
    where = where if counts is None else replace(where, counts=array(counts, "counts", (inputs,)))
    return RegionalQuestion({"1": 0, "2": 2, "inf": 1}[p], q == "1", where, matrix)


def _region(plain: Any, inputs: int) -> BallInBox:
    if isinstance(plain, dict) and plain.get("kind") == "box":
        _, lower, upper = fields(plain, "kind lower upper", "region")
        low, high = (array(end, "region", (inputs,)) for end in (lower, upper))
        return BallInBox(low, exactly(low), exactly(high))
    kind, norm, center, radius, low, high = fields(plain, "kind norm center radius low high", "region")
    if kind != "ball" or norm not in ("1", "2", "inf"):
        raise Refused(f"{kind!r} in the norm {norm!r}", "region")
    middle, (size,) = array(center, "center", (inputs,)), exactly(array(radius, "radius", (1,)))
    if size <= 0:
        raise Refused("a radius that is not above 0", "region")
    lower, upper = ([x + s * size for x in exactly(middle)] for s in (-1, 1))
    if low is not None:
        lower = [max(x, *exactly(array(low, "low", (1,)))) for x in lower]
    if high is not None:
        upper = [min(x, *exactly(array(high, "high", (1,)))) for x in upper]
    return BallInBox(middle, tuple(lower), tuple(upper), 0 if norm == "inf" else int(norm), size)


def _tree(plain: Any, version: int, where: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    for i, node in enumerate(items(plain, where)):
        place = f"{where}, node {i}"
        kind, *rest = items(node, place) or [None]
        if kind == "split" and len(rest) == 1:
            steps.append(Split(count(rest[0], place, 0)))
        elif kind == "known" and len(rest) == 3 and version > 2 and rest[1] in ("on", "off"):
            steps.append(ImpliedSide(count(rest[0], place, 0), 1 if rest[1] == "on" else -1, _terms(rest[2], place)))
        elif kind in ("bounds", "gradient") and not rest:
            steps.append(Leaf(kind))
        elif kind == "flat" and len(rest) == 1 and version > 2:
            units = [count(unit, place, 0) for unit in items(rest[0], place)]
            steps.append(Leaf(kind, (Square(0, tuple(Term(unit, Kind.SIDE, 1, 0) for unit in units)),)))
        elif kind == "empty" and len(rest) == 1:
            steps.append(Leaf(kind, (Square(0, _terms(rest[0], place)),)))
        elif kind == "square" and len(rest) == 1:
            steps.append(Leaf(kind, tuple(_square(part, version, place) for part in items(rest[0], place))))
        else:
            raise Refused(f"a node {str(node)[:60]}", place)
    return tuple(steps)


def _square(plain: Any, version: int, where: str) -> Square:
    if version < 3:
        entry, terms, weights = fields(plain, "entry terms weights", where)
        alone = None
    else:
        entry, alone, terms, weights = fields(plain, "entry alone terms weights", where)
        alone = tuple(count(j, where, 0) for j in items(alone, where))
        if any(a >= b for a, b in itertools.pairwise(alone)):
            raise Refused("entries that are not in order", where)
    masses = tuple(count(m, where, 1, LARGEST_MANTISSA) for m in items(weights, where))
    return Square(count(entry, where, 0), _terms(terms, where), masses, alone)


def _terms(plain: Any, where: str) -> tuple[Term, ...]:
    flat, terms = items(plain, where), []
    if any(not is_whole(n) for n in flat) or len(flat) % 4:
        raise Refused("multipliers that are not fours of whole numbers", where)
    for unit, kind, mantissa, exponent in zip(*(flat[i::4] for i in range(4)), strict=True):
        in_range = 0 <= mantissa < LARGEST_MANTISSA and abs(exponent) <= LARGEST_EXPONENT
        if unit < 0 or kind not in tuple(Kind) or not in_range:
            raise Refused(f"a multiplier {unit}, {kind}, {mantissa}, {exponent}", where)
        terms.append(Term(unit, Kind(kind), mantissa, exponent))
    return tuple(terms)
