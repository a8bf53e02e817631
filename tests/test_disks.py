"""What a full disk leaves: everything that was written before, and one error that names the file and what is free."""

from __future__ import annotations

import errno
import os
import re
import traceback
from pathlib import Path

import pytest

from lipreg.callbacks import LipschitzAudit
from lipreg.disks import FullDisk, writing
from lipreg.records import AuditRecord, EpochRecord, RecordFile, read_records
from lipreg.whole_files import write_whole
from tests.callbacks.cases import PROBLEM, Classifier, batches, fit
from tests.disks import no_larger_than


def test_a_record_file_that_is_full_holds_what_it_held_and_takes_more_when_there_is_room(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "records.jsonl")
    records = [EpochRecord("a", epoch, {"loss": 0.5}) for epoch in range(6)]
    file.append(*records[:2])
    size = file.path.stat().st_size
    with no_larger_than(size + 150), pytest.raises(FullDisk, match=r"records\.jsonl: File too large \(.* free\)"):
        file.append(*records[2:])  # one and a half of them have room
    assert file.path.stat().st_size == size
    file.append(*records[4:])
    assert read_records(file.path) == [*records[:2], *records[4:]]


def test_a_file_that_is_written_whole_is_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_whole(path, b"before")
    with no_larger_than(10), pytest.raises(FullDisk, match=r"page\.html: File too large"):
        write_whole(path, b"more than there is room for")
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_it_says_what_to_do_in_one_line(number: int, tmp_path: Path) -> None:
    path = tmp_path / "not" / "made.csv"
    with pytest.raises(FullDisk) as caught, writing(path):
        raise OSError(number, os.strerror(number))
    told = (
        rf"{re.escape(f'{path}: {os.strerror(number)}')} \([\d.]+ \w+ of [\d.]+ \w+ free\)\. Make room there, and start"
    )
    assert re.match(told, str(caught.value)) and "\n" not in str(caught.value)
    assert caught.value.errno == number and isinstance(caught.value, OSError)


def test_other_errors_of_the_system_stay_what_they_are() -> None:
    with pytest.raises(PermissionError), writing("x"):
        raise PermissionError(errno.EACCES, "no")


def test_a_training_ends_with_one_error_and_what_was_proved_stays(tmp_path: Path) -> None:
    def audit() -> LipschitzAudit:
        return LipschitzAudit(PROBLEM, points=3, estimators=["affine_relu", "lp"], folder=tmp_path, every_n_epochs=1)

    data = batches(4, 8)
    with no_larger_than(10_000), pytest.raises(FullDisk) as caught:
        fit(Classifier(), data, audit(), validation=data, max_epochs=20)
    told = "".join(traceback.format_exception(caught.value))
    assert told.count("Traceback") == 1 and told.count("File too large") == 1
    assert not list(tmp_path.glob("*.lock")), "the next start finds nobody who writes"
    kept = [r for r in read_records(tmp_path) if isinstance(r, AuditRecord)]
    assert kept
    fit(Classifier(), data, audit(), validation=data, max_epochs=1)
    after = [r for r in read_records(tmp_path) if isinstance(r, AuditRecord)]
    assert after[: len(kept)] == kept and len(after) > len(kept)
