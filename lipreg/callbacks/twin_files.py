"""Where a twin's records may lie, and what is said of a place where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lipreg.errors import InvalidInput
from lipreg.records import RunRecord, read_records
from lipreg.runs import RecordedRun, recorded_runs
from lipreg.words import natural, of_system

FORMS = "the path of a run folder, record file or checkpoint"


def runs_in(file: Path, own: RunRecord) -> list[RecordedRun]:
    """The audited runs of a record file, without the training's own."""
    runs = recorded_runs(read_records(file), str(file)) if file.exists() and file.stat().st_size else []
    return [run for run in runs if run.record.id != own.id and run.audits]


def other_versions(path: Path) -> list[Path]:
    """Of a logger that makes a folder ``version_N`` for each run: the record files in the others."""
    if not path.parent.name.startswith("version_"):
        return []
    return sorted(set(path.parent.parent.glob(f"version_*/{path.name}")) - {path}, key=natural)


def candidates(path: Path, own: RunRecord) -> str:
    """The runs that there are."""
    return "; ".join(run.said() for file in (path, *other_versions(path)) for run in runs_in(file, own))


def accepted_twins(path: Path, own: RunRecord) -> str:
    """What ``twin=`` takes here."""
    return "; ".join(part for part in (candidates(path, own), FORMS) if part)


@contextmanager
def reading(name: str, where: str) -> Iterator[None]:
    """Whatever is wrong with what the user gave as twin, the error names the argument."""
    try:
        yield
    except InvalidInput as error:
        told = f"twin={name!r}: {error.got}"
        raise InvalidInput(told, where=where, accepted=error.accepted or FORMS, todo=error.todo) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"twin={name!r} cannot be read: {of_system(error)}", where=where, accepted=FORMS) from None
