"""Names of earlier versions, where records, results or checkpoints that are read hold them, and the names in their place.

Up to and with schema 8 what all estimators together prove at a point was named "exact", as are intervals whose ends meet; it
often is not exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMBINED = "combined"
"""The name under which an audit records what all its estimators together prove at a point."""
FORMER = "exact"
"""The same in records until schema ``_LAST_FORMER``, and in the names of logged metrics then."""
_LAST_FORMER = 8
_ENDS = (f"{FORMER}_lower", f"{FORMER}_upper")


def current_estimator(name: Any, schema: int) -> Any:
    """The name of a record's estimator as it is now.

    Args:
        name: as the record has it, whatever it is.
        schema: of the record.
    """
    return COMBINED if schema <= _LAST_FORMER and name == FORMER else name


def current_metric(name: str) -> str:
    """The name of a logged metric as it is now: "audit/combined_upper" for "audit/exact_upper"."""
    first, slash, last = name.rpartition("/")
    return f"{first}/{COMBINED}{last.removeprefix(FORMER)}" if slash and last in _ENDS else name


def current_keys(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of saved results in which the combined interval stands under the name of now."""
    return {COMBINED if key == FORMER else key: value for key, value in row.items()}
