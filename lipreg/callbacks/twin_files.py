"""The files in which a twin's records may be, and the errors for those in which they are not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lipreg.errors import InvalidInput
from lipreg.records import RunRecord, read_records
from lipreg.runs import RecordedRun, recorded_runs
from lipreg.words import natural, of_system

FORMS = "the path of a run folder, record file or checkpoint"


def runs_in(file: Path, record: RunRecord) -> list[RecordedRun]:
    """The audited runs of a record file, without the one of ``record``."""
    runs = recorded_runs(read_records(file), str(file)) if file.exists() and file.stat().st_size else []
    return [run for run in runs if run.record.id != record.id and run.audits]


def other_versions(path: Path) -> list[Path]:
    """The record files in the folders of other runs, of a logger that makes a folder ``version_N`` for each."""
    if not path.parent.name.startswith("version_"):
        return []
    return sorted(set(path.parent.parent.glob(f"version_*/{path.name}")) - {path}, key=natural)


def candidates(path: Path, record: RunRecord) -> str:
    """The summaries of the runs in a training's record file and its ``other_versions``, without that of ``record``."""
    return "; ".join(run.summary() for file in (path, *other_versions(path)) for run in runs_in(file, record))


def accepted_twins(path: Path, record: RunRecord) -> str:
    """What ``twin=`` takes here, for errors: the ``candidates``, and paths."""
    return "; ".join(part for part in (candidates(path, record), FORMS) if part)


@contextmanager
def reading(name: str, where: str) -> Iterator[None]:
    """Makes errors of the block name the argument ``twin=`` and its value."""
    try:
        yield
    except InvalidInput as error:
        got = f"twin={name!r}: {error.got}"
        raise InvalidInput(got, where=where, accepted=error.accepted or FORMS, todo=error.todo) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"twin={name!r} cannot be read: {of_system(error)}", where=where, accepted=FORMS) from None
