"""Certificates of a training's audits: files beside the records, named in them; and what pages say of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from lipreg.callbacks import Beside
from lipreg.checking import check, read
from lipreg.command.main import MISTAKE, main
from lipreg.records import AuditRecord, read_sources
from lipreg.reporting.html import write_runs_report
from tests.callbacks.test_audit import PROBLEM, Model, audit, records, train

OURS: dict[str, Any] = {"estimators": ("branch_and_bound",), "budget": 600.0, "certificates": True, "every_n_epochs": 2}


def whole(folder: Path) -> list[AuditRecord]:
    """What all estimators prove together, point by point."""
    return [record for record in records(folder) if record.estimator == "combined"]


@pytest.mark.parametrize("executor", ["inline", Beside(waiting=5)])
def test_every_exact_point_has_a_file_that_proves_its_ends(
    tmp_path: Path, executor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pl.seed_everything(7, verbose=False)
    with caplog.at_level("INFO", logger="lipreg.callbacks.audit"):
        train(Model(), audit(**OURS, executor=executor), folder=tmp_path, max_epochs=2)
    found = whole(tmp_path)
    assert [(r.epoch, r.point) for r in found] == [(epoch, point) for epoch in (0, 2) for point in range(3)]
    for record in found:
        verdict = check(read(tmp_path / record.certificate_file))
        assert (float(verdict.lower), float(verdict.upper)) == (record.lower, record.upper)
    assert {r.certificate_file for r in records(tmp_path) if r.estimator != "combined"} == {""}
    assert len(list(tmp_path.glob("*.certificate.json.gz"))) == 6 and not list(tmp_path.rglob("*.partial"))
    assert "3 of 3 points exact" in caplog.text and "3 of 3 points with a certificate" in caplog.text


def test_a_page_says_which_were_checked_until_one_changes(tmp_path: Path) -> None:
    pl.seed_everything(7, verbose=False)
    train(Model(), audit(**OURS), folder=tmp_path, max_epochs=2)

    def said() -> str:
        return write_runs_report(read_sources(tmp_path), tmp_path / "page.html").read_text(encoding="utf-8")

    assert "6 certificates, named by 6 records: 6 not checked." in said()
    assert main(["check", str(tmp_path)]) == 0
    assert "6 certificates, named by 6 records: 6 checked in exact mode by checker" in said()
    first = tmp_path / whole(tmp_path)[0].certificate_file
    plain = json.loads(gzip.decompress(first.read_bytes()))
    first.write_bytes(gzip.compress(json.dumps(plain | {"producer": {}}).encode()))  # it would still hold
    assert "5 checked in exact mode" in said() and "1 not checked" in said()
    plain["claim"]["upper"] = plain["claim"]["lower"]
    plain["claim"]["lower"] = "0/1"
    first.write_bytes(gzip.compress(json.dumps(plain | {"lower": None}).encode()))
    assert main(["check", str(tmp_path)]) == MISTAKE
    assert "5 checked in exact mode" in said() and "1 refused by checker" in said()


def test_what_has_no_place_in_the_format_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="lipreg.callbacks.audit"):
        other = type(PROBLEM)(PROBLEM.region, scope="pointed")
        ours = audit(**{**OURS, "problem": other, "every_n_epochs": 9}, at_end=False)
        train(Model(), ours, folder=tmp_path, max_epochs=1)
    assert "0 of 3 points with a certificate; no certificate of" in caplog.text and "scope='pointed'" in caplog.text
    assert any(r.levelname == "WARNING" and "no certificate of" in r.getMessage() for r in caplog.records)
    assert not any(record.certificate_file for record in records(tmp_path))
