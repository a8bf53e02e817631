"""Records as pandas tables, for one's own analysis."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lipreg.extras import require
from lipreg.records import AuditRecord, CalibrationRecord, Record, field_names, read_records
from lipreg.runs import recorded_runs
from lipreg.transfer import is_certified, margin_over_constant

if TYPE_CHECKING:
    import pandas as pd


_LOGGED = ("logged_epoch", "logged_step")
_SCALE_FREE = ("margin_over_constant", "certified")


def audit_frame(records: str | Path | Iterable[Record]) -> pd.DataFrame:
    """The audit records as a DataFrame, one row each, in the order they were written.

    Columns are the fields of ``AuditRecord``, the question flattened to ``question.scope``, ``question.p`` and so on, and
    ``logged_epoch`` and ``logged_step``, by which a row joins the row of Lightning's loggers of the same moment: ``epoch``
    and ``step`` count what is completed, Lightning counts from 0. Ends that were not proved are infinite.
    ``margin_over_constant`` is the distance to another class that the row's upper end proves; ``certified`` says whether
    that covers the whole region, so its mean is a certified accuracy. Both are missing where no class is at stake.
    ``run`` is a label, ``run_id`` tells runs apart. When an audit was repeated, the last record of a (run_id, epoch, point,
    estimator) stays; records that a resumed run has made void are not in the table.

    Args:
        records: the records, or where they are: a run folder, a folder of such, or a record file.

    Raises:
        MissingExtra: pandas is not installed.

    Example:
        >>> frame = audit_frame("runs")  # doctest: +SKIP
        >>> frame[frame.estimator == "combined"].groupby(["run", "epoch"]).upper.mean()  # doctest: +SKIP
    """
    pd, records = _pandas(), _read(records)
    standing = {id(record) for run in recorded_runs(records) for record in run.audits}
    audits = [record for record in records if isinstance(record, AuditRecord) and id(record) in standing]
    if not audits:
        return pd.DataFrame(columns=[*AuditRecord.__dataclass_fields__, *_SCALE_FREE, *_LOGGED])
    frame = _as_logged(pd.DataFrame([{**record.__dict__, **_scale_free(record)} for record in audits]))
    question = pd.json_normalize(list(frame.pop("question"))).add_prefix("question.")
    key = ["run_id", "run", "epoch", "point", "estimator"]
    return pd.concat([frame, question], axis=1).drop_duplicates(key, keep="last").reset_index(drop=True)


def epoch_frame(records: str | Path | Iterable[Record]) -> pd.DataFrame:
    """The metrics that training itself logged as a DataFrame, one row for each run and epoch, a column for each name.

    ``epoch`` and ``step`` count what is completed; ``logged_epoch`` and ``logged_step`` are those of Lightning's row of
    the same moment.

    Args:
        records: as for ``audit_frame``.

    Raises:
        MissingExtra: pandas is not installed.

    Example:
        >>> audits, epochs = audit_frame("runs"), epoch_frame("runs")  # doctest: +SKIP
        >>> audits.merge(epochs, on=["run_id", "epoch"], suffixes=("", "_epoch"))  # doctest: +SKIP
    """
    pd = _pandas()
    reported = [r for run in recorded_runs(_read(records)) for r in run.epochs]
    rows = [{**r.metrics, "run_id": r.run_id, "run": r.run, "epoch": r.epoch, "step": r.step} for r in reported]
    first = ["run_id", "run", "epoch", "step"]
    frame = pd.DataFrame(rows, columns=[*first, *dict.fromkeys(key for r in reported for key in r.metrics)])
    return _as_logged(frame.drop_duplicates(["run_id", "run", "epoch"], keep="last").reset_index(drop=True))


def calibration_frame(records: str | Path | Iterable[Record]) -> pd.DataFrame:
    """The calibrations of audited weights as a DataFrame, one row for each run and epoch: the fields of
    ``CalibrationRecord``.

    ``factor`` is T: a constant of the same ``run_id`` and ``epoch`` times it is calibrated.

    Args:
        records: as for ``audit_frame``.

    Raises:
        MissingExtra: pandas is not installed.

    Example:
        >>> audits, factors = audit_frame("runs"), calibration_frame("runs")  # doctest: +SKIP
        >>> both = audits.merge(factors, on=["run_id", "epoch"], suffixes=("", "_calibration"))  # doctest: +SKIP
        >>> both.upper * both.factor  # doctest: +SKIP
    """
    pd = _pandas()
    calibrations = [vars(r) for run in recorded_runs(_read(records)) for r in run.calibrations]
    frame = pd.DataFrame(calibrations, columns=field_names(CalibrationRecord))
    return _as_logged(frame.drop_duplicates(["run_id", "run", "epoch"], keep="last").reset_index(drop=True))


def _scale_free(record: AuditRecord) -> dict[str, float | bool | None]:
    margin = margin_over_constant(record)
    return dict(zip(_SCALE_FREE, (margin and margin.lower, is_certified(record, record.upper)), strict=True))


def _as_logged(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the epoch and step of Lightning's row of the same moment; untrained networks have no epoch."""
    epoch, step = frame.epoch.astype("Int64"), frame.step.astype("Int64")
    return frame.assign(logged_epoch=(epoch - 1).where(epoch > 0), logged_step=(step - 1).clip(lower=0))


def _pandas():
    require("views", "pandas", where="lipreg.reporting.frames")
    import pandas

    return pandas


def _read(records: str | Path | Iterable[Record]) -> list[Record]:
    return read_records(records) if isinstance(records, str | Path) else list(records)
