"""What results are about, as hashes: of a reference point, and of a network there."""

from __future__ import annotations

import hashlib


def reference_hash(point: bytes) -> str:
    """Of a reference point alone, as its float64 numbers lie in memory: equal for audits of two networks there."""
    return hashlib.sha256(point).hexdigest()[:16]


def subject_hash(fingerprint: str, point: bytes) -> str:
    """Of a network, by its fingerprint, and a reference point."""
    return hashlib.sha256(fingerprint.encode() + point).hexdigest()[:16]
