"""Why there is no certificate of an interval."""

from __future__ import annotations

from lipreg.errors import UnsupportedRequest


class NoCertificate(UnsupportedRequest):
    """An interval of which no certificate can be written: a question that the format has no place for, or no time left."""
