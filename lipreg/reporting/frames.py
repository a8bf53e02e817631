"""Audit records as a pandas table, for one's own analysis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lipreg.records import AuditRecord, Record

if TYPE_CHECKING:
    import pandas as pd


def audit_frame(records: Iterable[Record]) -> pd.DataFrame:
    """The audit records as a DataFrame, one row each, in the order they were written.

    Columns are the fields of ``AuditRecord``, the question flattened to ``question.scope``, ``question.p`` and so on. Ends
    that were not proved are infinite. When an audit was repeated, the last record of a (run, epoch, point, estimator) stays.

    Example:
        >>> from lipreg.records import read_records
        >>> frame = audit_frame(read_records("runs"))  # doctest: +SKIP
        >>> frame[frame.estimator == "exact"].groupby(["run", "epoch"]).upper.mean()  # doctest: +SKIP
    """
    import pandas as pd

    audits = [record for record in records if isinstance(record, AuditRecord)]
    if not audits:
        return pd.DataFrame(columns=list(AuditRecord.__dataclass_fields__))
    frame = pd.DataFrame([record.__dict__ for record in audits])
    question = pd.json_normalize(list(frame.pop("question"))).add_prefix("question.")
    key = ["run", "epoch", "point", "estimator"]
    return pd.concat([frame, question], axis=1).drop_duplicates(key, keep="last").reset_index(drop=True)
