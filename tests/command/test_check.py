"""``lipreg check``: certificates that audits write beside their records, re-derived from their files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

import lipreg
from lipreg.command.main import MISTAKE, main
from lipreg.records import AuditRecord, read_records
from lipreg.testing.networks import network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Records of two points, with their certificates."""
    net, x = network("shallow"), torch.tensor([[0.1, 0.2], [0.4, -0.3]], dtype=torch.float64)
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.5), lipreg.AllLogits())
    found = lipreg.audit(net, problem, x, estimators=["branch_and_bound"], certificates=True)
    assert "2 of 2 points with a certificate" in found.table()
    found.save(tmp_path / "r.jsonl")
    return tmp_path


def test_files_lie_beside_the_records_that_name_them(folder: Path) -> None:
    audits = [r for r in read_records(folder / "r.jsonl") if isinstance(r, AuditRecord)]
    named = [record.certificate_file for record in audits if record.estimator == "exact"]
    assert sorted(named) == sorted(path.name for path in folder.glob("*.certificate.json.gz"))
    assert not any(record.certificate_file for record in audits if record.estimator != "exact")


def test_a_folder_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    ends = [r for r in read_records(folder / "r.jsonl") if isinstance(r, AuditRecord) and r.estimator == "exact"]
    assert len(lines) == 2 and all(": holds: [" in line for line in lines)
    for record, line in zip(ends, lines, strict=True):  # nine digits, rounded outward
        low, high = json.loads(line.partition(": holds: ")[2].partition(" by ")[0])
        assert low <= record.lower <= low * (1 + 1e-8) and high * (1 - 1e-8) <= record.upper <= high


def test_what_is_refused_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = sorted(folder.glob("*.certificate.json.gz"))
    plain = json.loads(gzip.decompress(first.read_bytes()))
    plain["claim"]["upper"] = plain["claim"]["lower"]
    plain["claim"]["lower"] = "0/1"
    first.write_text(json.dumps(plain | {"lower": None}))
    second.unlink()
    assert main(["check", str(folder)]) == MISTAKE
    said = capsys.readouterr()
    assert f"{first}: refused: tree " in said.out and f"{second}: refused: a record names it" in said.out
    assert "2 of 2 certificates refused" in said.err


def test_a_certificate_of_another_interval_than_the_record_tells(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = sorted(folder.glob("*.certificate.json.gz"))
    plain = json.loads(gzip.decompress(first.read_bytes()))
    plain["claim"]["upper"] = "100/1"
    first.write_text(json.dumps(plain))
    assert main(["check", str(first)]) == 0
    assert main(["check", str(folder)]) == MISTAKE
    assert f"{first}: refused: its record says [" in capsys.readouterr().out


def test_nothing_to_check_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == MISTAKE
    assert "no certificate at" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "none.json")]) == MISTAKE
    assert "cannot be read" in capsys.readouterr().out


def test_a_call_that_is_made_again_takes_the_certificates_that_are_there(tmp_path: Path) -> None:
    net, x = network("shallow"), torch.tensor([[0.1, 0.2], [0.4, -0.3]], dtype=torch.float64)
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.5), lipreg.AllLogits())

    def again() -> list[Path]:
        own = {"estimators": ["branch_and_bound"], "certificates": True, "records": tmp_path / "r.jsonl"}
        lipreg.audit(net, problem, x, **own)
        return sorted(tmp_path.glob("*.certificate.json.gz"))

    first, second = again()
    kept = first.read_bytes()
    first.write_bytes(kept[:100])  # as a kill or a full disk leaves it
    other = gzip.compress(json.dumps(json.loads(gzip.decompress(second.read_bytes())) | {"producer": {}}).encode())
    second.write_bytes(other)
    assert again() == [first, second]
    audits = [r for r in read_records(tmp_path / "r.jsonl") if isinstance(r, AuditRecord) and r.estimator == "exact"]
    assert len(audits) == 4 and {r.certificate_file for r in audits} == {first.name, second.name}
    assert first.read_bytes() == kept, "what does not hold is written anew"
    plain = json.loads(gzip.decompress(second.read_bytes()))
    assert plain["upper"] == json.loads(gzip.decompress(other))["upper"]
    assert main(["check", str(tmp_path)]) == 0
