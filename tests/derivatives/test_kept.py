"""Ranges of derivatives in record files, and on the page."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from lipreg import DerivativeRanges, LinfBall, LocalLipschitz, Logit, derivative_range
from lipreg.errors import InvalidInput
from lipreg.ranges import RangeEnd
from lipreg.records import DerivativeRecord, RecordFile, Source, Sources, from_line, read_records, to_line
from lipreg.reporting.html import write_runs_report
from lipreg.runs import recorded_runs
from tests.derivatives.cases import steep
from tests.oracles import mlp
from tests.reporting.conftest import build
from tests.reporting.pages import HOSTILE, Page


@pytest.fixture(scope="module")
def ranges() -> DerivativeRanges:
    net, x = steep(mlp(2, 5, 1).double(), 0), torch.tensor([[0.2, 0.4], [0.9, 0.1]], dtype=torch.float64)
    return derivative_range(net, LocalLipschitz(LinfBall(0.3), Logit(0)), x)


def test_a_file_gives_them_back(ranges: DerivativeRanges, tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "records.jsonl")
    file.append(*ranges.records("flats", epoch=3, run_id="a1"))
    read = read_records(file.path)
    assert [record.derivative_range for record in read if isinstance(record, DerivativeRecord)] == list(ranges)
    (run,) = recorded_runs(read)
    assert (run.key, run.label, run.audits) == ("a1", "flats", ()) and len(run.derivatives) == 4


def test_what_nothing_has_proved_is_no_record(ranges: DerivativeRanges) -> None:
    line = json.loads(to_line(ranges.records("flats")[0]))
    assert from_line(json.dumps(line)).kind == "derivative"
    crossed = line["range"]["largest"] | {"upper": line["range"]["least"]["lower"] - 1.0}
    bare = line["range"]["least"] | {"proof": ""}
    for wrong in ({"largest": crossed}, {"least": bare}, {"input": "area"}, {"least": None}):
        with pytest.raises(InvalidInput, match="range of a derivative"):
            from_line(json.dumps(line | {"range": line["range"] | wrong}))


def test_the_page_counts_signs(ranges: DerivativeRanges, tmp_path: Path) -> None:
    older, kept = ranges.records("regularised", epoch=1), ranges.records("regularised", epoch=2)
    hostile = [DerivativeRecord("other", 0, record.range | {"output": HOSTILE}) for record in kept]
    sources = Sources((Source("records.jsonl", (*build(), *older, *kept, *hostile)),))
    page = Page(write_runs_report(sources, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Derivatives and their signs" in page.text and "Of 12 ranges" in page.text
    for column in (0, 1):
        signs = [found.sign for found in ranges.of(input=column)]
        numbers = " ".join(str(signs.count(sign)) for sign in ("increasing", "decreasing", "both signs", "open"))
        assert f"regularised 2 logit 0 {column} 2 {numbers}" in page.text
    bare = Sources((Source("records.jsonl", tuple(build())),))
    page = Page(write_runs_report(bare, tmp_path / "bare.html").read_text(encoding="utf-8"))
    assert "Derivatives and their signs" not in page.text


def test_an_end_without_a_proof_is_not_proved(ranges: DerivativeRanges, tmp_path: Path) -> None:
    (record, *_) = ranges.records("regularised")
    unproved = {"least": {**record.range["least"], "lower": None, "proof": ""}}
    assert DerivativeRecord("regularised", 0, record.range | unproved).derivative_range.lower == -math.inf
    sources = Sources(
        (Source("records.jsonl", (*build(), DerivativeRecord("regularised", 0, record.range | unproved))),)
    )
    page = Page(write_runs_report(sources, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "not proved" in page.text and RangeEnd().width == math.inf
