"""The saved records: plain data, one JSON object a line, appended as they come. Reports and loggers are views of them."""

from lipreg.records.files import LeftOut, ProgressCallback, RecordFile, Source, Sources, read_records, read_sources
from lipreg.records.former import COMBINED, FORMER, current_keys, current_metric
from lipreg.records.inputs import PointRecord
from lipreg.records.kinds import (
    TRAINING,
    WEIGHTS,
    AuditRecord,
    CalibrationRecord,
    DerivativeRecord,
    PopulationRecord,
    Record,
    field_names,
)
from lipreg.records.lines import READABLE, SCHEMA, DamagedLine, from_line, to_line
from lipreg.records.once import each_once
from lipreg.records.training import EpochRecord, NewerRun, RunRecord, started_now

__all__ = [
    "COMBINED",
    "FORMER",
    "READABLE",
    "SCHEMA",
    "TRAINING",
    "WEIGHTS",
    "AuditRecord",
    "CalibrationRecord",
    "DamagedLine",
    "DerivativeRecord",
    "EpochRecord",
    "LeftOut",
    "NewerRun",
    "PointRecord",
    "PopulationRecord",
    "ProgressCallback",
    "Record",
    "RecordFile",
    "RunRecord",
    "Source",
    "Sources",
    "current_keys",
    "current_metric",
    "each_once",
    "field_names",
    "from_line",
    "read_records",
    "read_sources",
    "started_now",
    "to_line",
]
