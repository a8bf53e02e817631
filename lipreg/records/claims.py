"""What a certificate claims, and where the record that names it says something else.

A certificate is proved by the checker; that it is of the network, the point and the question of a record is another
statement. Its file is named by a hash of all that it claims, so the name in a record says which claim is meant; what can
be told apart field by field is compared beside it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lipreg.plain import alike
from lipreg.records.kinds import AuditRecord
from lipreg.records.subjects import reference_hash, subject_hash

SUFFIX = ".certificate.json.gz"
"""Of the names of certificates."""
CLAIMED = ("format", "version", "question", "network", "claim")
"""What of a certificate's file its name is a hash of."""
BALLS = {"inf": "LinfBall", "2": "L2Ball", "1": "L1Ball"}


@dataclass(frozen=True)
class Claim:
    """Whose interval a certificate bounds, in the words of records.

    Attributes:
        name: of the file, as what it claims has it.
        question: scope, p, q and region, as far as the checker reads them.
        center: the float64 numbers of the reference point in hexadecimal; empty for a fixed box.
        said: what its producer says beside that and no checker reads: the functional, the subject, the whole question.
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
    asked, producer = plain["question"], plain["producer"]
    region, center = asked["region"], b""
    if region["kind"] == "ball":
        center = base64.b64decode(region["center"]["float64"])
        low, high = (None if region[end] is None else _numbers(region[end])[0] for end in ("low", "high"))
        where = {"kind": BALLS[region["norm"]], "radius": _numbers(region["radius"])[0], "low": low, "high": high}
    else:
        where = {"kind": "Box", **{end: _numbers(region[end]) for end in ("lower", "upper")}}
    said = {name: producer[name] for name in ("functional", "subject") if name in producer}
    if "question" in producer:
        said["question"] = json.loads(producer["question"])
    read = {"scope": asked["scope"], "p": asked["p"], "q": asked["q"], "region": where}
    return Claim(name_of(plain), read, center.hex(), said)


def differences(claim: Claim, record: AuditRecord) -> list[str]:
    """What a record says otherwise than the certificate that it names, each with both values."""
    asked = record.question
    own = claim.question
    pairs: list[tuple[str, Any, Any]] = [(name, asked.get(name), own[name]) for name in ("scope", "p", "q")]
    region = asked.get("region", {})
    region = region if isinstance(region, dict) else {}
    for name, proved in own["region"].items():
        told = region.get(name)
        if name == "kind":
            told = "Box" if told == "UnitCube" else told
        elif name in ("lower", "upper"):
            told = _spread(told, len(proved))
            if told is None:  # a hash of many numbers
                continue
        pairs.append((f"region's {name}", told, proved))
    if claim.center:
        point = bytes.fromhex(claim.center)
        if record.reference:
            pairs.append(("reference", record.reference, reference_hash(point)))
        if record.subject:
            pairs.append(("subject of its fingerprint", record.subject, subject_hash(record.fingerprint, point)))
    said = {"functional": record.functional, "subject": record.subject, "question": record.question}
    pairs += [(name, said[name], value) for name, value in claim.said.items() if said[name]]
    pairs.append(("certificate's name", Path(record.certificate_file).name, claim.name))
    return [
        f"{name} {_short(told)}, the certificate {_short(proved)}"
        for name, told, proved in pairs
        if not alike(told, proved)
    ]


def _numbers(plain: Mapping[str, Any]) -> list[float]:
    raw = base64.b64decode(plain["float64"])
    return list(struct.unpack(f"<{len(raw) // 8}d", raw))


def _spread(told: Any, count: int) -> list[float] | None:
    """Nested numbers, or one for all, as so many; None where they are told in another way, by a hash or to be spread."""
    if isinstance(told, int | float):
        return [float(told)] * count
    flat: list[Any] = told if isinstance(told, list) else [None]
    while any(isinstance(part, list) for part in flat):
        flat = [each for part in flat for each in (part if isinstance(part, list) else [part])]
    if len(flat) != count or not all(isinstance(number, int | float) for number in flat):
        return None
    return [float(number) for number in flat]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
