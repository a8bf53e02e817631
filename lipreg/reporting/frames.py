"""Audit records as a pandas table, for one's own analysis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lipreg.records import AuditRecord, Record
from lipreg.runs import recorded_runs

if TYPE_CHECKING:
    import pandas as pd


def audit_frame(records: Iterable[Record]) -> pd.DataFrame:
    """The audit records as a DataFrame, one row each, in the order they were written.

    Columns are the fields of ``AuditRecord``, the question flattened to ``question.scope``, ``question.p`` and so on. Ends
    that were not proved are infinite. ``run`` is a label, ``run_id`` tells runs apart. When an audit was repeated, the last
    record of a (run_id, epoch, point, estimator) stays; what a resumed run has left behind is not in the table.

    Example:
        >>> from lipreg.records import read_records
        >>> frame = audit_frame(read_records("runs"))  # doctest: +SKIP
        >>> frame[frame.estimator == "exact"].groupby(["run", "epoch"]).upper.mean()  # doctest: +SKIP
    """
    import pandas as pd

    records = list(records)
    standing = {id(record) for run in recorded_runs(records) for record in run.audits}
    audits = [record for record in records if isinstance(record, AuditRecord) and id(record) in standing]
    if not audits:
        return pd.DataFrame(columns=list(AuditRecord.__dataclass_fields__))
    frame = pd.DataFrame([record.__dict__ for record in audits])
    question = pd.json_normalize(list(frame.pop("question"))).add_prefix("question.")
    key = ["run_id", "run", "epoch", "point", "estimator"]
    return pd.concat([frame, question], axis=1).drop_duplicates(key, keep="last").reset_index(drop=True)
