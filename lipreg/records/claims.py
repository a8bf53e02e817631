"""The claim of a certificate, and where the record that names it differs.

A certificate is proved by the checker; that it is of the network, the point and the question of a record is another
statement. Its file is named by a hash of all that it claims, so the name in a record identifies the claim; the fields that
both have are compared beside it, for a message that says what differs.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lipreg.plain import alike, flatten
from lipreg.records.kinds import AuditRecord
from lipreg.records.subjects import reference_hash, subject_hash

SUFFIX = ".certificate.json.gz"
"""The suffix of the names of certificates."""
CLAIMED = ("format", "version", "question", "network", "claim")
"""The parts of a certificate's file that its name is a hash of."""
FOREIGN = "it is a certificate of another question, network and point"
"""The difference of a certificate that has nothing in common with the record that names it."""
SHOWN = 60
"""The most characters of a value that are shown."""
BALLS = {"inf": "LinfBall", "2": "L2Ball", "1": "L1Ball"}


@dataclass(frozen=True)
class Claim:
    """The question, network and point whose interval a certificate bounds, with the names of records.

    Attributes:
        name: of the file that has this claim (``name_of``).
        question: scope, p, q and region, as far as the checker reads them.
        center: the float64 numbers of the reference point in hexadecimal; empty for a fixed box.
        said: what its producer adds and no checker reads: the functional, the subject, the whole question.
    """

    name: str
    question: dict[str, Any]
    center: str
    said: dict[str, Any] = field(default_factory=dict)


def name_of(plain: Mapping[str, Any]) -> str:
    """The name of a certificate's file: a hash of what is claimed, so that the same claim has the same name."""
    claim = {name: plain[name] for name in CLAIMED}
    return f"{hashlib.sha256(json.dumps(claim, separators=(',', ':')).encode()).hexdigest()[:20]}{SUFFIX}"


def claim_of(path: Path) -> Claim:
    """The claim of a certificate that the checker has read; it need not hold.

    Raises:
        OSError, ValueError, KeyError, TypeError: it cannot be read.
    """
    text = path.read_bytes()
    plain = json.loads(gzip.decompress(text) if text[:2] == b"\x1f\x8b" else text)
    question, producer = plain["question"], plain["producer"]
    region, center = question["region"], b""
    if region["kind"] == "ball":
        center = base64.b64decode(region["center"]["float64"])
        low, high = (None if region[end] is None else _numbers(region[end])[0] for end in ("low", "high"))
        where = {"kind": BALLS[region["norm"]], "radius": _numbers(region["radius"])[0], "low": low, "high": high}
    else:
        where = {"kind": "Box", **{end: _numbers(region[end]) for end in ("lower", "upper")}}
    statements = {name: producer[name] for name in ("functional", "subject") if name in producer}
    if "question" in producer:
        statements["question"] = json.loads(producer["question"])
    read = {"scope": question["scope"], "p": question["p"], "q": question["q"], "region": where}
    return Claim(name_of(plain), read, center.hex(), statements)


def differences(claim: Claim, record: AuditRecord) -> list[str]:
    """Where a record differs from the certificate that it names, each with both values; ``FOREIGN`` if everywhere."""
    question = record.question
    claimed = claim.question
    pairs: list[tuple[str, Any, Any]] = [(name, question.get(name), claimed[name]) for name in ("scope", "p", "q")]
    region = question.get("region", {})
    region = region if isinstance(region, dict) else {}
    for name, proved in claimed["region"].items():
        in_record = region.get(name)
        if name == "kind":
            in_record = "Box" if in_record == "UnitCube" else in_record
        elif name in ("lower", "upper"):
            in_record = _expanded(in_record, len(proved))
            if in_record is None:  # a hash of many numbers
                continue
        pairs.append((f"region's {name}", in_record, proved))
    about = _differing_names(pairs)
    point = bytes.fromhex(claim.center)
    if claim.center:
        if record.reference:
            pairs.append(("reference", record.reference, reference_hash(point)))
        if record.subject:
            pairs.append(("subject of its fingerprint", record.subject, subject_hash(record.fingerprint, point)))
    recorded = {"functional": record.functional, "subject": record.subject, "question": record.question}
    pairs += [(name, recorded[name], value) for name, value in claim.said.items() if recorded[name]]
    network = claim.said.get("subject", "") not in ("", subject_hash(record.fingerprint, point))
    if (
        network
        and about | _differing_names(pairs) & {"question"}
        and record.reference not in ("", reference_hash(point))
    ):
        return [FOREIGN]
    pairs.append(("certificate's name", Path(record.certificate_file).name, claim.name))
    return [
        words
        for name, in_record, proved in pairs
        if not alike(in_record, proved)
        for words in _apart(name, in_record, proved)
    ]


def discrepancy(phrases: Sequence[str]) -> str:
    """A clause on some ``differences``, at least one."""
    return FOREIGN if phrases[0] == FOREIGN else f"its record says {'; '.join(phrases)}"


def _differing_names(pairs: Iterable[tuple[str, Any, Any]]) -> set[str]:
    """The names of the pairs that differ."""
    return {name for name, in_record, proved in pairs if not alike(in_record, proved)}


def _apart(name: str, recorded: Any, proved: Any) -> list[str]:
    """The words for a pair that differs, with both values; of objects, for each part that does."""
    if isinstance(recorded, Mapping) and isinstance(proved, Mapping):
        one, other = flatten(recorded), flatten(proved)
        parts = [(f"{name} {part}", *(side.get(part, "nothing") for side in (one, other))) for part in one | other]
        if differing := [part for part in parts if part[1] != part[2]]:
            return [words for part in differing for words in _apart(*part)]
    texts = [value if isinstance(value, str) else json.dumps(value) for value in (recorded, proved)]
    begin = next((i for i, (one, other) in enumerate(zip(*texts, strict=False)) if one != other), min(map(len, texts)))
    shown = [_cut(text, begin) for text in texts]
    return [f"{name} {shown[0]}, the certificate {shown[1]}"]


def _numbers(plain: Mapping[str, Any]) -> list[float]:
    raw = base64.b64decode(plain["float64"])
    return list(struct.unpack(f"<{len(raw) // 8}d", raw))


def _expanded(value: Any, count: int) -> list[float] | None:
    """Nested numbers, or one for all, as a list of ``count``; None where the value is a hash, or has another count."""
    if isinstance(value, int | float):
        return [float(value)] * count
    flat: list[Any] = value if isinstance(value, list) else [None]
    while any(isinstance(part, list) for part in flat):
        flat = [each for part in flat for each in (part if isinstance(part, list) else [part])]
    if len(flat) != count or not all(isinstance(number, int | float) for number in flat):
        return None
    return [float(number) for number in flat]


def _cut(text: str, begin: int) -> str:
    """A text cut to ``SHOWN`` characters or little more, with the place where it begins to differ among them."""
    start = 0 if begin < SHOWN // 2 or len(text) <= SHOWN else begin - SHOWN // 4
    shown = text[start:] if len(text) - start <= SHOWN else f"{text[start : start + SHOWN - 3]}..."
    return f"...{shown}" if start else shown
