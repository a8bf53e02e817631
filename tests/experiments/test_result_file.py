"""Files of results: what a kill leaves is cut off, other settings are not mixed, and what is no result is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.result_file import ResultFile
from lipreg.errors import InvalidInput


def test_whole_jobs_are_read_back_and_half_a_job_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    file = ResultFile(path, {"epochs": 2})
    rows = [{"job": 1, "last": False}, {"job": 1, "last": True}]
    file.append(rows)
    whole = path.read_text(encoding="utf-8")
    for rest in ('{"job":2,"last":false}\n', '{"job":2,"last":false}\n{"job":2,"la'):
        path.write_text(whole + rest, encoding="utf-8")
        assert ResultFile(path).rows == rows  # who only reads leaves the file as it is
        assert path.read_text(encoding="utf-8") == whole + rest
        assert ResultFile(path, {"epochs": 2}).rows == rows
        assert path.read_text(encoding="utf-8") == whole


def test_other_settings_are_not_mixed_and_what_is_no_result_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    ResultFile(path, {"epochs": 2}).append([{"job": 1, "last": True}])
    with pytest.raises(InvalidInput, match="other settings"):
        ResultFile(path, {"epochs": 3})
    path.write_text('{"asked":{}}\n{"job":1}\n', encoding="utf-8")
    with pytest.raises(InvalidInput, match="results of this program"):
        ResultFile(path)
    with pytest.raises(InvalidInput, match="no results"):
        ResultFile(tmp_path / "nowhere.jsonl")
