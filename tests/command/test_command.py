"""The console command: what each subcommand prints, how it ends, and how mistakes are said."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import lipreg
from lipreg.audits import audit
from lipreg.command.main import DEFECT, MISTAKE, main
from lipreg.command.progress import EVERY, ProgressLine
from lipreg.command.question import read_question
from lipreg.errors import InvalidInput
from lipreg.estimators.radius import certified_radii
from lipreg.records import AuditRecord, read_records
from lipreg.testing import exact_constants
from tests.loading.test_networks import Net, saved

NET = "tests.loading.test_networks:Net"
RADIUS = 0.05


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with weights of two networks, and points."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    first, second = Net(), Net()
    saved(tmp_path / "w.pt", first)
    saved(tmp_path / "v.pt", second)
    x = torch.rand(3, 4)
    np.savez(tmp_path / "d.npz", x=x.numpy(), y=first(x).argmax(1).numpy())
    yield tmp_path


def body(weights: str = "w.pt") -> torch.nn.Module:
    net = Net()
    net.load_state_dict(torch.load(weights, weights_only=True))
    return net.body.double()


def points() -> tuple[torch.Tensor, torch.Tensor]:
    held = np.load("d.npz")
    return torch.from_numpy(held["x"]).double(), torch.from_numpy(held["y"])


NETWORK = (NET, "--weights", "w.pt", "--module", "body", "--data", "d.npz")
ASKED = (*NETWORK, "--radius", str(RADIUS))


def test_an_audit_prints_the_constants_and_keeps_records_and_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", *ASKED, "--records", "r.jsonl", "--html", "a.html", "--name", "mine"]) == 0
    printed = capsys.readouterr().out
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(RADIUS))
    truths = [exact for exact, _ in exact_constants(body(), problem, *points())]
    for truth in truths:
        assert f"{truth:.5g}" in printed
    assert problem.sentence() in printed and "3 of 3 points exact" in printed
    audits = [r for r in read_records("r.jsonl") if isinstance(r, AuditRecord) and r.estimator == "exact"]
    assert [r.upper for r in audits] == pytest.approx(truths, rel=1e-6)
    assert len({r.run_id for r in audits} - {""}) == 1 and {r.run for r in audits} == {"mine"}
    assert "mine" in Path("a.html").read_text(encoding="utf-8")
    assert main(["report", "r.jsonl", "--html", "b.html"]) == 0 and Path("b.html").is_file()


def test_the_views_of_a_result() -> None:
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(RADIUS))
    found = audit(body(), problem, *points(), estimators=["affine_relu", "branch_and_bound"])
    frame = found.frame()
    assert len(frame) == len(found.rows()) == len(found.records) - 1 == 9
    assert set(frame.estimator) == {"affine_relu", "branch_and_bound", "exact"}
    assert found.table().count("\n") == 7


def test_bounds_are_those_of_certify(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bounds", *ASKED, "--estimators", "affine_relu,fastlip", "--points", "2"]) == 0
    printed = capsys.readouterr().out.splitlines()
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(RADIUS))
    x, y = points()
    for i in range(2):
        ends = [lipreg.certify(body(), problem, x, y, estimator=name)[i].upper for name in ("affine_relu", "fastlip")]
        assert printed[3 + i].split() == [str(i), *(f"{end:.5g}" for end in ends)]


def test_radii_are_those_of_the_function_and_say_what_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["radius", *NETWORK, "--p", "inf", "--low", "0", "--high", "1", "--out", "r.jsonl"]) == 0
    said = capsys.readouterr().out.splitlines()[0]
    assert all(word in said for word in ("l∞", "pointed", "[0, 1]", "affine_relu"))
    expected = [r.radius for r in certified_radii(body(), *points(), p="inf", low=0.0, high=1.0)]
    lines = [json.loads(line) for line in Path("r.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["radius"] for line in lines] == pytest.approx(expected, rel=1e-9)


def test_two_networks_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *ASKED, "--twin-weights", "v.pt", "--seconds", "20"]) == 0
    printed = capsys.readouterr().out
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(RADIUS))
    moved = lipreg.compare(body(), body("v.pt"), problem, *points()).movement.exact
    assert f"{moved.lower:.4g}" in printed
    assert main(["compare", *ASKED]) == MISTAKE


def test_version_says_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert f"torch {torch.__version__}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("audit", *ASKED, "--points", "9"), "9 points asked for, and 3 there"),
        (("audit", *NETWORK), "no radius"),
        (("audit", *NETWORK, "--region", "cube", "--radius", "1"), "--radius beside --region cube"),
        (("audit", *ASKED, "--output", "logit"), "logit:K"),
        (("audit", *ASKED, "--arguments", "[1]"), "an object"),
        (("audit", *ASKED, "--arguments", "{"), "JSON"),
        (("audit", *ASKED, "--estimators", "affine_rel"), "did you mean 'affine_relu'"),
        (("audit", NET, "--weights", "w.pt", "--data", "d.npz", "--radius", "0.1"), "--module NAME"),
        (("radius", NET, "--data", "nowhere.npz"), "cannot read nowhere.npz"),
        (("report", "nowhere"), "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == MISTAKE
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error


def test_a_traceback_is_shown_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*given: object, **named: object) -> None:
        raise ZeroDivisionError("of nobody's")

    monkeypatch.setattr("lipreg.command.programs.load_points", broken)
    assert main(["audit", *ASKED]) == DEFECT
    error = capsys.readouterr().err
    assert "Traceback" not in error and "--debug" in error
    assert main(["audit", *ASKED, "--debug"]) == DEFECT
    assert "Traceback" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["audit"])
    assert ended.value.code == 2


def test_a_question_in_a_file_is_that_of_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    group = Path(lipreg.__file__).parent / "conf" / "problem" / "linf_margins.yaml"
    assert read_question(group) == lipreg.LocalLipschitz(lipreg.LinfBall(0.05, low=0.0, high=1.0))
    assert main(["bounds", *NETWORK, "--question", str(group)]) == 0
    in_file = capsys.readouterr().out
    assert main(["bounds", *ASKED, "--low", "0", "--high", "1"]) == 0
    assert capsys.readouterr().out == in_file
    for text, said in (
        ("_target_: os.system\ncommand: id\n", "classes of lipreg"),
        ("_target_: lipreg.LinfBall\nradius: 0.1\n", "holds no question"),
        ("_target_: lipreg.LocalLipschitz\nregions: 1\n", "unexpected keyword"),
        ("defaults: [linf_margins]\n", "has defaults"),
        ("a: [", "cannot read"),
    ):
        Path("q.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(InvalidInput, match=said):
            read_question("q.yaml")


def test_progress_is_a_line_every_half_minute_where_nobody_looks() -> None:
    now, stream = [0.0], io.StringIO()
    line = ProgressLine(4, stream, lambda: now[0])
    for done, at in ((0, 1.0), (1, EVERY - 1), (2, EVERY + 10), (3, EVERY + 20), (3, 3 * EVERY)):
        now[0] = at
        line.at(done)
    line.end()
    assert stream.getvalue() == "2 of 4 points, 40 s, about 40 s left\n3 of 4 points, 90 s, about 30 s left\n"
