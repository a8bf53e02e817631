"""The picture of a report in the docs is drawn by a program, at the size that the page has it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from lipreg.records import Record, RecordFile
from tests.reporting.conftest import build

REPORT = Path(__file__).resolve().parents[1] / "docs" / "images" / "report.png"


def test_it_is_drawn_from_a_folder_of_runs(tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        pytest.skip("no chromium or chromium-browser on the path")
    from benchmarks.report_picture import HEIGHT, WIDTH, draw

    records: Sequence[Record] = build("regularised", "twin")
    RecordFile(tmp_path / "runs" / "records.jsonl").append(*records)
    draw(tmp_path / "runs", tmp_path / "report.png")
    with image.open(tmp_path / "report.png") as drawn, image.open(REPORT) as committed:
        assert drawn.size == committed.size == (WIDTH, HEIGHT)
        for picture in (drawn, committed):
            colours = {tuple(pixel[:3]) for _, pixel in picture.convert("RGB").getcolors(1 << 24)}
            assert {(0, 104, 168), (189, 75, 0)} <= colours, "the lines of run and twin"
