"""python -m experiments.report, as a user starts it."""

from __future__ import annotations

from pathlib import Path

from lipreg.records import to_line
from tests.experiments.programs import run_here, run_there
from tests.forks import ForkServer
from tests.reporting.conftest import build


def test_a_folder_becomes_a_page(tmp_path: Path, programs: ForkServer) -> None:
    for name in ("a", "b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "records.jsonl").write_text("".join(to_line(r) + "\n" for r in build()))
    (tmp_path / "runs" / "other.jsonl").write_text("{}\n")
    done = run_there(programs, tmp_path, "experiments.report", "runs=runs", "output=page.html")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "page.html: 160 records of 2 files" in done.stdout
    assert "left out: other.jsonl: holds no records of lipreg" in done.stdout
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "a/records.jsonl, 80 records" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "runs"], "nothing else is left behind"
    wrong = run_here(tmp_path, "experiments.report", "runs=nowhere")
    assert wrong.returncode == 1 and "no folder or file nowhere" in wrong.stdout and "Traceback" not in wrong.stderr
