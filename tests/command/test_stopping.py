"""Commands that are stopped, or short of time: what is proved is printed and kept, and what is left out is said."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lipreg
from lipreg.auditing.blocks import Blocks
from lipreg.auditing.interrupts import StopOnSignal, first_interrupt_stops
from lipreg.budget import Budget
from lipreg.command import programs
from lipreg.command.main import INTERRUPTED, MISTAKE, main
from lipreg.command.progress import ProgressLine
from lipreg.estimators import get_estimator
from lipreg.records import COMBINED, AuditRecord, RunRecord, read_records
from tests.command.test_command import ASKED, NETWORK, body, points
from tests.command.test_command import files as files
from tests.test_budget import Clock

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.fixture
def stopped_at_once(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """The signal comes when the first point is told of."""
    came: list[int] = []

    def at(line: ProgressLine, done: int, seconds_left: float | None = None) -> None:
        if not came:
            came.append(done)
            signal.raise_signal(request.param)

    monkeypatch.setattr(ProgressLine, "at", at)
    yield
    assert came


@pytest.mark.parametrize(("stopped_at_once", "code"), SIGNALS, indirect=["stopped_at_once"])
def test_an_audit_that_is_stopped_prints_and_keeps_what_it_has_and_goes_on(
    stopped_at_once: None, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ("--records", "r.jsonl", "--html", "a.html")
    assert main(["audit", *ASKED, *kept]) == code
    said = capsys.readouterr()
    assert " of 3 points exact" in said.out and "goes on from r.jsonl" in said.err and Path("a.html").is_file()
    run, *audits = read_records("r.jsonl")
    assert isinstance(run, RunRecord)
    assert {record.point for record in audits if isinstance(record, AuditRecord)} == {0, 1, 2}
    assert main(["audit", *ASKED, *kept]) == 0
    said = capsys.readouterr()
    assert "3 of 3 points exact" in said.out and "went on from what stood there" in said.out and not said.err
    runs = [record for record in read_records("r.jsonl") if isinstance(record, RunRecord)]
    assert len({own.id for own in runs}) == 2


@pytest.mark.parametrize(("stopped_at_once", "code"), SIGNALS, indirect=["stopped_at_once"])
def test_others_that_are_stopped_print_the_points_that_are_done(
    stopped_at_once: None, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "TOGETHER", 1)
    assert main(["radius", *NETWORK, "--out", "r.jsonl"]) == code
    assert len(Path("r.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3 + 1 + 1 and "Interrupted" in said.err


@pytest.mark.parametrize("stopped_at_once", [signal.SIGINT], indirect=True)
def test_a_comparison_that_is_stopped_has_both_networks(
    stopped_at_once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *ASKED, "--twin-weights", "v.pt", "--records", "r.jsonl"]) == 130
    assert "w.pt" in capsys.readouterr().out
    audits = [record for record in read_records("r.jsonl") if isinstance(record, AuditRecord)]
    assert {(record.run, record.point) for record in audits} == {(n, i) for n in ("w.pt", "v.pt") for i in range(3)}


@pytest.mark.parametrize("stopped_at_once", [signal.SIGTERM], indirect=True)
def test_bounds_that_are_stopped_print_what_is_done(
    stopped_at_once: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "TOGETHER", 1)
    assert main(["bounds", *ASKED]) == 143
    assert len(capsys.readouterr().out.splitlines()) == 2 + 1 + 1


def test_a_second_signal_ends_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopOnSignal() as stopping:
        with first_interrupt_stops(threading.Event()):  # leaves it to the program
            signal.raise_signal(signal.SIGINT)
        assert stopping.event.is_set() and stopping.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_interrupt_with_nothing_to_keep_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lipreg.command.points.load_points", interrupted)
    assert main(["audit", *ASKED]) == INTERRUPTED


@pytest.mark.parametrize(
    ("command", "flag", "path", "said"),
    [
        (("audit", *ASKED), "--records", ".", "is a folder"),
        (("audit", *ASKED), "--html", "w.pt/a.html", "cannot write"),
        (("radius", *NETWORK), "--out", ".", "is a folder"),
        (("compare", *ASKED, "--twin-weights", "v.pt"), "--html", "w.pt/a.html", "cannot write"),
        (("report", "."), "--html", "w.pt/a.html", "cannot write"),
        (("audit", *ASKED, "--html", "r.jsonl"), "--records", "r.jsonl", "is that of --records and --html"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_read(
    command: tuple[str, ...], flag: str, path: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr("lipreg.command.networks.load_network", never)
    monkeypatch.setattr("lipreg.records.read_sources", never)
    assert main([*command, flag, path]) == MISTAKE
    assert said in capsys.readouterr().err


def test_a_place_that_can_be_written_is_left_as_it_is() -> None:
    programs.check_writable(records="new/r.jsonl", html=os.devnull, out=None)
    assert list(Path("new").iterdir()) == []
    Path("r.jsonl").write_text("x", encoding="utf-8")
    programs.check_writable(records="r.jsonl")
    assert Path("r.jsonl").read_text(encoding="utf-8") == "x"


def test_other_outputs_are_refused_before_anything_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was audited")

    monkeypatch.setattr("lipreg.comparisons.audit", never)
    one, two = (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, k)) for k in (3, 4))
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.1))
    with pytest.raises(lipreg.errors.IncomparableResults, match=r"They have 3 and 4 outputs.*Margin\(target, rival\)"):
        lipreg.compare(one, two, problem, *points())


def test_closed_forms_have_a_part_of_the_time_and_the_cheapest_ends_are_never_left_out() -> None:
    clock = Clock()
    budget = Budget(40.0, clock=clock).started()
    methods = {name: get_estimator(name) for name in ("sampling", "affine_relu", "mixing")}
    blocks, given = Blocks(range(70), 70, methods, 1, budget, 0.25), []
    while (task := blocks.next(stopped=False)) is not None:
        given.append((task.first, task.end, task.estimators, task.seconds))
        clock.now += 4.0
    whole = tuple(methods)
    assert given == [
        (0, 16, whole, pytest.approx(2.0)),  # a fifth of ten seconds
        (16, 32, whole, pytest.approx(1.5)),
        (32, 48, whole, pytest.approx(2 / 3)),
        (48, 64, ("sampling", "affine_relu"), 0.0),
        (64, 70, ("sampling", "affine_relu"), 0.0),
    ]
    stopped = Blocks(range(70), 70, methods, 1, budget, 0.25).next(stopped=True)
    assert stopped is not None and stopped.estimators == ("affine_relu",)


def test_an_audit_that_is_short_of_time_says_what_it_left_out() -> None:
    class Hurried(Clock):
        """Each look at it takes a tenth of a second."""

        def __call__(self) -> float:
            self.now += 0.1
            return self.now

    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.3), lipreg.AllLogits())
    found = lipreg.audit(body(), problem, torch.rand(40, 4), budget=Budget(1.0, clock=Hurried()))
    assert "left out for want of time: " in found.table()
    closed = [point for point in found.points if point.intervals["affine_relu"].upper < float("inf")]
    assert closed and all(point.combined.upper <= point.intervals["affine_relu"].upper for point in closed)
    named = [point for point in found.points if point not in closed]
    assert all("affine_relu" in point.left_out for point in named)


def test_records_of_an_audit_stand_there_as_points_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lipreg.auditing.call_records.EVERY", 0.0)
    held: list[int] = []
    path = tmp_path / "r.jsonl"

    def look(progress: Any) -> None:
        if progress.finished:
            whole = [r for r in read_records(path) if isinstance(r, AuditRecord) and r.estimator == COMBINED]
            held.append(len(whole))

    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.05))
    first = lipreg.audit(body(), problem, *points(), records=path, on_progress=look)
    assert held == [1, 2, 3]
    assert sorted(map(str, read_records(path))) == sorted(map(str, first.records))
    again = lipreg.audit(body(), problem, *points(), records=path)
    assert all(point.resumed for point in again.points)
    population = lipreg.Population(*points(), until=2)
    drawn = lipreg.audit(body(), problem, population=population, records=path)
    assert all(point.resumed for point in drawn.points) and len(drawn.points) == 2
    other = lipreg.audit(body("v.pt"), problem, *points(), records=path)
    assert not any(point.resumed for point in other.points)


def test_an_error_in_the_middle_keeps_what_is_done(tmp_path: Path) -> None:
    def fails(progress: Any) -> None:
        if progress.done == 2:
            raise ZeroDivisionError

    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.05))
    with pytest.raises(ZeroDivisionError):
        lipreg.audit(body(), problem, *points(), records=tmp_path / "r.jsonl", on_progress=fails)
    kept = {record.point for record in read_records(tmp_path / "r.jsonl") if isinstance(record, AuditRecord)}
    assert len(kept) == 2
