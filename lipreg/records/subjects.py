"""The hashes of what results are about: of a reference point, and of a network there."""

from __future__ import annotations

import hashlib


def reference_hash(point: bytes) -> str:
    """The hash of a reference point alone, of the bytes of its float64 numbers: equal for audits of two networks there."""
    return hashlib.sha256(point).hexdigest()[:16]


def subject_hash(fingerprint: str, point: bytes) -> str:
    """The hash of a network, by its fingerprint, and a reference point, by the bytes of its float64 numbers."""
    return hashlib.sha256(fingerprint.encode() + point).hexdigest()[:16]
