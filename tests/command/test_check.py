"""``lipreg check``: certificates that audits write beside their records, re-derived from their files."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lipreg
from lipreg.command.main import MISTAKE, main
from lipreg.records import AuditRecord, RecordFile, RunRecord, read_records, read_sources
from lipreg.records.verdicts import checked
from lipreg.reporting.html import write_runs_report
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
    named = [record.certificate_file for record in audits if record.estimator == "combined"]
    assert sorted(named) == sorted(path.name for path in folder.glob("*.certificate.json.gz"))
    assert not any(record.certificate_file for record in audits if record.estimator != "combined")


def test_a_folder_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    ends = [r for r in read_records(folder / "r.jsonl") if isinstance(r, AuditRecord) and r.estimator == "combined"]
    assert lines.pop() == "2 certificates, named by 2 records: all hold" and all(": holds: [" in line for line in lines)
    for record, line in zip(ends, lines, strict=True):  # nine digits, rounded outward
        low, high = json.loads(line.partition(": holds: ")[2].partition(" by ")[0])
        assert low <= record.lower <= low * (1 + 1e-8) and high * (1 - 1e-8) <= record.upper <= high


def test_what_rounding_hides_is_not_called_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = min(folder.glob("*.certificate.json.gz"))
    plain = json.loads(gzip.decompress(first.read_bytes()))
    plain["claim"]["upper"] = str(Fraction(plain["claim"]["lower"]) * (1 + Fraction(1, 10**14)))
    (alone := folder / "alone").mkdir()
    file = alone / "close.certificate.json.gz"
    file.write_bytes(gzip.compress(json.dumps(plain).encode()))
    assert main(["check", str(file), "--rounded"]) == MISTAKE
    told = capsys.readouterr()
    assert f"{file}: not shown in float64 with radii; whole numbers may show it (without --rounded): tree" in told.out
    assert "refused:" not in told.out and "1 neither shown nor refused: check them without --rounded" in told.err
    assert [path.name for path in alone.iterdir()] == [file.name], "nothing is known of it, and no verdict is kept"
    assert main(["check", str(file)]) == 0


def test_what_is_refused_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = sorted(folder.glob("*.certificate.json.gz"))
    plain = json.loads(gzip.decompress(first.read_bytes()))
    plain["claim"]["upper"] = plain["claim"]["lower"]
    plain["claim"]["lower"] = "0/1"
    first.write_text(json.dumps(plain | {"lower": None}))
    second.unlink()
    assert main(["check", str(folder)]) == MISTAKE
    said = capsys.readouterr()
    assert f"{first}: refused: tree " in said.out
    records = [r for r in read_records(folder / "r.jsonl") if isinstance(r, AuditRecord)]
    lost = next(r for r in records if r.certificate_file == second.name)
    todo = "audit again with the same records: it is written anew"
    about = f"{lost.run}, epoch {lost.epoch}, point {lost.point}"
    assert f"{second}: refused: a record names it, and it is not there; {todo}; {about}\n" in said.out
    assert "2 certificates, named by 2 records: 2 refused" in said.err


def test_a_certificate_of_another_interval_than_the_record_tells(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = sorted(folder.glob("*.certificate.json.gz"))
    plain = json.loads(gzip.decompress(first.read_bytes()))
    plain["claim"]["upper"] = "100/1"
    first.write_text(json.dumps(plain))
    assert main(["check", str(first)]) == 0
    assert main(["check", str(folder)]) == MISTAKE
    assert f"{first}: refused: its record says ends [" in capsys.readouterr().out


def _question(**changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["question"].update(changed)


def _region(**changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["question"]["region"].update(changed)


def _itself(**changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.update(changed)


EDITS = {
    "ends": lambda record: record.update(lower=1.5 * record["lower"], upper=1.5 * record["upper"]),
    "p": _question(p="2"),
    "scope": _question(scope="pointed"),
    "q": _question(q="1"),
    "region's radius": _region(radius=10.0),
    "region's low": _region(low=0.0),
    "region's kind": _region(kind="L2Ball", norm="2"),
    "reference": _itself(reference="0" * 16),
    "subject of its fingerprint": _itself(fingerprint="0" * 16),
    "subject": _itself(subject="0" * 16),
    "functional": _itself(functional="f_1"),
    "question": _question(output={"kind": "Logit", "target": 1}),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_certificate_of_something_else_than_the_record_says(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that was changed, or never was of this certificate, has no mark, whenever the file was checked."""
    assert main(["check", str(folder)]) == 0
    lines = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]
    edited = next(line for line in lines if line.get("certificate_file"))
    EDITS[name](edited)
    (folder / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    records = list(read_records(folder / "r.jsonl"))
    file = edited["certificate_file"]
    marks = checked(records, folder)
    assert marks[file].startswith("refused, as its record says ")
    assert len(marks) == 2 and sum(mark.startswith("checked in exact mode") for mark in marks.values()) == 1
    capsys.readouterr()
    assert main(["check", str(folder)]) == MISTAKE
    said = capsys.readouterr()
    assert f"{file}: refused: its record says " in said.out and f"{name} " in said.out
    assert "2 certificates, named by 2 records: 1 refused" in said.err


def test_another_network_s_certificate_under_the_same_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, _ = sorted(folder.glob("*.certificate.json.gz"))
    plain = json.loads(gzip.decompress(first.read_bytes()))
    layer = plain["network"]["nodes"][
        0
    ]  # what it adds to its bias changes no gradient where all is open or closed alike
    bias = np.frombuffer(base64.b64decode(layer["bias"][0][1]["float64"])) * (1 + 1e-12)
    layer["bias"][0][1]["float64"] = base64.b64encode(bias.tobytes()).decode()
    first.write_bytes(gzip.compress(json.dumps(plain).encode()))
    assert main(["check", str(first)]) == 0, "it is true of that network"
    assert main(["check", str(folder)]) == MISTAKE
    assert "certificate's name" in capsys.readouterr().out
    assert checked(list(read_records(folder / "r.jsonl")), folder)[first.name].startswith("refused, as its record")


def test_a_foreign_certificate_is_told_in_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that shares question, network or point with its record is told by what differs, and by no more of it."""
    net, x, other = network("shallow"), torch.tensor([[0.3, 0.2]], dtype=torch.float64), network("deep")
    first, _ = sorted(folder.glob("*.certificate.json.gz"))
    foreign = "it is a certificate of another question, network and point"
    for i, (subject, region, whole) in enumerate(
        ((other, lipreg.LinfBall(0.1), True), (net, lipreg.LinfBall(0.1), False), (other, lipreg.LinfBall(0.5), False))
    ):
        problem = lipreg.LocalLipschitz(region, lipreg.AllLogits())
        found = lipreg.audit(subject, problem, x, estimators=["branch_and_bound"], certificates=True)
        found.save(folder / str(i) / "r.jsonl")
        shutil.copy(next((folder / str(i)).glob("*.certificate.json.gz")), first)
        capsys.readouterr()
        assert main(["check", str(folder / "r.jsonl")]) == MISTAKE
        said = next(line for line in capsys.readouterr().out.splitlines() if f"{first.name}: refused" in line)
        assert (foreign in said) is whole and ("its record says" in said) is not whole, said
        mark = checked(list(read_records(folder / "r.jsonl")), folder)[first.name]
        assert (mark == f"refused, as {foreign}") is whole, mark
        if i == 1:
            assert "question region.radius 0.5, the certificate 0.1;" in said and "output" not in said, said


def test_boxes_and_units_are_compared_too(tmp_path: Path) -> None:
    net, x = network("shallow"), torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    for i, region in enumerate((lipreg.Box(-1.0, [0.9, 0.8]), lipreg.UnitCube(), lipreg.L1Ball(0.4, low=0.0))):
        problem = lipreg.LocalLipschitz(region, lipreg.AllLogits(), p=math.inf, scale=[0.5, 2.0])
        own = tmp_path / str(i)
        own.mkdir()
        lipreg.audit(net, problem, x, estimators=["branch_and_bound"], certificates=True).save(own / "r.jsonl")
        assert len(list(own.glob("*.certificate.json.gz"))) == 1
        assert main(["check", str(own)]) == 0
        text = (own / "r.jsonl").read_text()
        (own / "r.jsonl").write_text(text.replace("[0.5, 2.0]", "[0.5, 3.0]"))
        assert main(["check", str(own)]) == MISTAKE


def test_nothing_to_check_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == MISTAKE
    assert "no certificate at" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "none.json")]) == MISTAKE
    assert "nothing at" in capsys.readouterr().err
    (tmp_path / "some.json").write_text("[]")
    assert main(["check", str(tmp_path / "some.json")]) == MISTAKE
    assert "some.json: refused" in capsys.readouterr().out


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
    audits = [r for r in read_records(tmp_path / "r.jsonl") if isinstance(r, AuditRecord) and r.estimator == "combined"]
    assert len(audits) == 4 and {r.certificate_file for r in audits} == {first.name, second.name}
    assert first.read_bytes() == kept, "what does not hold is written anew"
    plain = json.loads(gzip.decompress(second.read_bytes()))
    assert plain["upper"] == json.loads(gzip.decompress(other))["upper"]
    assert main(["check", str(tmp_path)]) == 0
    second.unlink()
    assert again() == [first, second] and main(["check", str(tmp_path)]) == 0, "what is lost is written anew, too"


def test_files_that_are_no_certificates_any_more_say_what_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = sorted(folder.glob("*.certificate.json.gz"))
    whole = first.read_bytes()
    for text, why in (
        (b"", "it is empty"),
        (whole[:-40], "its end is missing"),
        (whole[:-8] + bytes(8), "it is damaged ("),
    ):
        first.write_bytes(text)
        assert main(["check", str(folder)]) == MISTAKE
        said = capsys.readouterr()
        assert f"{first}: refused: {why}" in said.out and "remove it, and audit again" in said.out
        assert "2 certificates, named by 2 records: 1 refused" in said.err
    monkeypatch.setattr("lipreg.checking.file.LARGEST_TEXT", 1 << 10)
    monkeypatch.setattr("gzip.open", None)  # what is refused for its size is not decompressed again
    first.write_bytes(gzip.compress(b" " * (1 << 20)))
    assert main(["check", str(first)]) == MISTAKE
    assert f"{first}: refused: a text of more than 1024 bytes" in capsys.readouterr().out
    monkeypatch.undo()
    first.write_bytes(whole)
    assert main(["check", str(folder / "r.jsonl")]) == 0, "a record file stands for the certificates that it names"
    assert "2 certificates, named by 2 records: all hold" in capsys.readouterr().out


def test_records_that_say_nothing_of_certificates(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "r.jsonl").write_bytes(b"\xff\xfe no records\n")
    assert main(["check", str(folder)]) == MISTAKE
    assert "2 certificates: all hold; what records say of them could not be read" in capsys.readouterr().err
    (folder / "r.jsonl").write_bytes(b"")
    assert main(["check", str(folder)]) == 0
    assert "2 certificates that no record that counts names: all hold" in capsys.readouterr().out


def test_pages_and_command_count_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two trainings that end in one network name its certificates together; of a run that was resumed in another folder the
    epochs that were left behind count nowhere."""
    net, x = network("shallow"), torch.tensor([[0.1, 0.2], [0.4, -0.3]], dtype=torch.float64)
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.5), lipreg.AllLogits())
    found = lipreg.audit(
        net, problem, x, estimators=["branch_and_bound"], certificates=True, records=tmp_path / "r.jsonl"
    )
    whole = [r for r in found.records if isinstance(r, AuditRecord) and r.estimator == "combined"]

    def written(folder: str, label: str, start: int, *epochs: tuple[int, AuditRecord]) -> None:
        for record in {record.certificate_file for _, record in epochs}:
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / record, tmp_path / folder)
        own = RunRecord(label, started=f"2026-01-0{1 + start}", start_epoch=start, question=whole[0].question, id=label)
        audits = [replace(r, epoch=epoch, run=label, run_id=label) for epoch, r in epochs]
        RecordFile(tmp_path / folder / "audits.jsonl").append(own, *audits)

    def counts(folder: str) -> tuple[str, str]:
        assert main(["check", str(tmp_path / folder)]) == 0
        page = write_runs_report(read_sources(tmp_path / folder), tmp_path / "page.html").read_text(encoding="utf-8")
        told = re.search(r"\d+ certificates?, named by \d+ records?: \d+ checked", page)
        assert told is not None
        return capsys.readouterr().out.splitlines()[-1], told.group()

    first, second = whole
    written("alike", "one", 0, (0, first), (1, second))
    written("alike", "other", 0, (0, first), (1, second), (2, second))
    both = "2 certificates, named by 5 records"
    assert counts("alike") == (f"{both}: all hold", f"{both}: 2 checked")
    written("resumed/version_0", "one", 0, (0, first), (2, second))
    written("resumed/version_1", "one", 1, (2, first))
    one = "1 certificate, named by 2 records"
    assert counts("resumed") == (
        f"{one}, and 1 that no record that counts names, in 3 files: all hold",
        f"{one}: 1 checked",
    )
