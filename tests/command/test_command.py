"""The console command: what each subcommand prints, how it ends, and how mistakes are said."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lipreg
from lipreg.audits import audit
from lipreg.budget import Budget
from lipreg.callbacks.batches import batch_to_inputs
from lipreg.callbacks.reference_points import draw_reference_points
from lipreg.command.budgets import budget_of
from lipreg.command.main import DEFECT, MISTAKE, main, parser
from lipreg.command.progress import EVERY, ProgressLine
from lipreg.errors import InvalidInput
from lipreg.estimators.radius import certified_radii
from lipreg.records import AuditRecord, PointRecord, RunRecord, read_records
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
    audits = [r for r in read_records("r.jsonl") if isinstance(r, AuditRecord) and r.estimator == "combined"]
    assert [r.upper for r in audits] == pytest.approx(truths, rel=1e-6)
    assert len({r.run_id for r in audits} - {""}) == 1 and {r.run for r in audits} == {"mine"}
    assert "mine" in Path("a.html").read_text(encoding="utf-8")
    assert main(["report", "r.jsonl", "--html", "b.html"]) == 0 and Path("b.html").is_file()


def test_records_without_points() -> None:
    for file, more in (("with.jsonl", ()), ("without.jsonl", ("--no-points",))):
        assert main(["audit", *ASKED, "--estimators", "affine_relu", "--records", file, *more]) == 0
        kinds = {type(record) for record in read_records(file)}
        assert AuditRecord in kinds and (PointRecord in kinds) is (not more)


def test_the_views_of_a_result() -> None:
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(RADIUS))
    found = audit(body(), problem, *points(), estimators=["affine_relu", "branch_and_bound"])
    frame = found.frame()
    assert len(frame) == len(found.rows()) == len(found.records) - 1 - len(found.inputs) == 9
    assert set(frame.estimator) == {"affine_relu", "branch_and_bound", "combined"}
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
    lines = Path("r.jsonl").read_text().splitlines()
    assert all(json.loads(line, parse_constant=pytest.fail)["p"] == "inf" for line in lines), "strict JSON"
    said = capsys.readouterr().out.splitlines()[0]
    assert all(word in said for word in ("l∞", "pointed", "[0, 1]", "affine_relu"))
    expected = [r.radius for r in certified_radii(body(), *points(), p="inf", low=0.0, high=1.0)]
    lines = [json.loads(line) for line in Path("r.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["radius"] for line in lines] == pytest.approx(expected, rel=1e-9)
    before = Path("r.jsonl").read_text(encoding="utf-8")
    assert main(["radius", *NETWORK, "--low", "2", "--high", "3", "--out", "r.jsonl"]) == MISTAKE
    assert Path("r.jsonl").read_text(encoding="utf-8") == before  # nothing was found that could take its place


class Points(pl.LightningDataModule):
    """Validation data of six points."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def val_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        generator = torch.Generator().manual_seed(self.seed)
        x, y = torch.rand(6, 4, generator=generator), torch.randint(3, (6,), generator=generator)
        return DataLoader(TensorDataset(x, y), batch_size=4)


def test_a_data_module_has_the_points_of_an_audit_in_training(capsys: pytest.CaptureFixture[str]) -> None:
    network = (NET, "--weights", "w.pt", "--module", "body", "--estimators", "affine_relu", "--radius", str(RADIUS))
    data = ("--data", f"{__name__}:Points", "--data-arguments", '{"seed": 3}')
    assert main(["bounds", *network, *data, "--points", "2", "--points-seed", "1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    loader = Points(3).val_dataloader()
    x, y = draw_reference_points(loader, "validation", 2, 1, batch_to_inputs, "test")
    ends = lipreg.certify(body(), lipreg.LocalLipschitz(lipreg.LinfBall(RADIUS)), x, y, estimator="affine_relu")
    assert [line.split()[1] for line in printed[3:]] == [f"{end.upper:.5g}" for end in ends]
    for more, said in (((), "--points N"), (("--points", "7"), "7 points asked for, and 6 there")):
        assert main(["bounds", *network, *data, *more]) == MISTAKE
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


def test_points_have_the_shape_that_a_file_declares_and_images_need_one(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)), torch.rand(2, 1, 4, 4)
    torch.export.save(torch.export.export(net, (x,)), "c.pt2")
    np.savez("images.npz", x=x.numpy())
    np.savez("rows.npz", x=x.flatten(1).numpy())
    asked = ("--radius", "0.1", "--output", "logits", "--estimators", "affine_relu")
    assert main(["bounds", "c.pt2", "--data", "images.npz", *asked]) == 0
    expected = capsys.readouterr().out
    assert main(["bounds", "c.pt2", "--data", "rows.npz", *asked]) == 0
    said = capsys.readouterr()
    assert said.out == expected and "shape (16,) are read as (1, 4, 4)" in said.err
    assert main(["bounds", f"{__name__}:images", "--data", "rows.npz", *asked]) == MISTAKE
    error = capsys.readouterr().err
    assert "rows of 16 numbers: --shape" in error and "--module" not in error
    assert main(["bounds", f"{__name__}:images", "--data", "rows.npz", "--shape", "1,4,4", *asked]) == 0


def images() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))


def test_weights_that_are_not_saved_ones_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    own = (NET, "--module", "body", "--data", "d.npz")
    for command in (["radius", *own], ["bounds", *own, "--radius", "0.1"], ["compare", *ASKED, "--twin", NET]):
        assert main([*command, *(["--twin-module", "body"] if command[0] == "compare" else [])]) == 0
        said = capsys.readouterr()
        assert f"no --weights: those of {NET} are as it makes them" in said.out and "no --weights" in said.err
    assert main(["radius", *NETWORK]) == 0
    assert "no --weights" not in "".join(capsys.readouterr())


def test_a_point_that_is_none_is_named_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = points()
    x[2, 0] = float("nan")
    np.savez("d.npz", x=x.numpy(), y=y.numpy())
    for command in (["audit", *ASKED], ["bounds", *ASKED], ["radius", *NETWORK]):
        assert main(command) == MISTAKE
        assert "reference point 2 holds NaN" in capsys.readouterr().err
    x[2, 0] = 7.0
    np.savez("d.npz", x=x.numpy(), y=y.numpy())
    assert main(["radius", *NETWORK, "--low", "0", "--high", "1"]) == MISTAKE
    assert "reference point 2" in capsys.readouterr().err


def test_two_networks_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *ASKED, "--twin-weights", "v.pt", "--seconds", "20"]) == 0
    printed = capsys.readouterr().out
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(RADIUS))
    moved = lipreg.compare(body(), body("v.pt"), problem, *points()).movement.combined
    assert f"{moved.lower:.4g}" in printed
    assert main(["compare", *ASKED]) == MISTAKE
    kept = ("--records", "c.jsonl", "--html", "c.html")
    assert main(["compare", *ASKED, "--twin-weights", "v.pt", *kept]) == 0
    assert "egularised" not in capsys.readouterr().out
    runs = [r for r in read_records("c.jsonl") if isinstance(r, RunRecord)]
    assert [(r.run, r.twin) for r in runs] == [("w.pt", "v.pt"), ("v.pt", None)] and Path("c.html").is_file()


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
        (("audit", *ASKED, "--data-arguments", "[1]"), "--data-arguments: '[1]'"),
        (("radius", *NETWORK, "--points-seed", "1"), "--points-seed beside d.npz"),
        (("radius", NET, "--data", f"{__name__}:Points", "--data-arguments", '{"sed": 1}'), "--data-arguments '{...}'"),
        (("audit", *ASKED, "--seconds", "-0.5"), "--seconds -0.5"),
        (("compare", *ASKED, "--twin-weights", "v.pt", "--seconds", "-1"), "--seconds -1"),
        (("audit", *ASKED, "--gap", "1"), "gap=1.0"),
        (("audit", *ASKED, "--nodes", "0"), "--nodes 0"),
        (("audit", *ASKED, "--memory", "2G"), "--memory 2G"),
        (("compare", *ASKED, "--twin-weights", "v.pt", "--memory", "0"), "--memory 0"),
        (("bounds", *ASKED, "--estimators", "affine_rel"), "did you mean 'affine_relu'"),
        (("audit", *ASKED, "--arguments", "[1]"), "an object"),
        (("audit", *ASKED, "--arguments", "{"), "JSON"),
        (("audit", *ASKED, "--estimators", "affine_rel"), "did you mean 'affine_relu'"),
        (("audit", NET, "--weights", "w.pt", "--data", "d.npz", "--radius", "0.1"), "--module NAME"),
        (("radius", NET, "--data", "nowhere.npz"), "cannot read nowhere.npz"),
        (("radius", NET, "--data", "d.npz", "--data-arguments", "{}"), "arguments beside d.npz"),
        (("radius", NET, "--data", NET, "--labels", "y"), "labels beside"),
        (("radius", NET, "--data", NET, "--points", "1"), "a Lightning data module"),
        (("radius", NET, "--data", "nowhere:Data"), "no module 'nowhere'"),
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

    monkeypatch.setattr("lipreg.command.points.load_points", broken)
    assert main(["audit", *ASKED]) == DEFECT
    error = capsys.readouterr().err
    assert "Traceback" not in error and "--debug" in error
    assert main(["audit", *ASKED, "--debug"]) == DEFECT
    assert "Traceback" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["audit"])
    assert ended.value.code == 2


def test_bounds_say_whose_number_stands_in_a_column_that_was_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bounds", *ASKED, "--estimators", "affine_relu,mixing", "--seconds", "0"]) == 0
    said = capsys.readouterr().out
    (line,) = (line for line in said.splitlines() if line.startswith("cut short for want of time: "))
    assert "mixing at 3 points (the number of " in line
    names = lipreg.certify(
        body(), lipreg.LocalLipschitz(lipreg.LinfBall(RADIUS)), *points(), estimator="mixing", budget=0.0
    )
    assert {one.proof.removesuffix(", cut") for one in names} <= set(line.replace(")", " ").replace(",", " ").split())
    assert main(["bounds", *ASKED, "--estimators", "affine_relu"]) == 0
    assert "number" not in capsys.readouterr().out


def test_bounds_name_each_method_once_and_say_which_are_no_closed_forms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bounds", *ASKED, "--estimators", "mixing,mixing,branch_and_bound,lp,sampling"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[2].split() == ["point", "mixing", "branch_and_bound", "lp", "sampling"]
    assert "by a search or programs at each point, not in closed form: branch_and_bound and lp" in printed
    assert "without an upper end, which it does not prove: sampling" in printed
    assert all(line.split()[4] == "none" for line in printed[3:6])


def test_radii_have_a_budget_of_time_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["radius", *NETWORK, "--seconds", "0", "--out", "cut.jsonl"]) == 0
    assert "cut short for want of time, so that a larger radius may hold: 3 points" in capsys.readouterr().out
    lines = [json.loads(line) for line in Path("cut.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {(line["radius"], line["status"]) for line in lines} == {(0.0, "time limit")}
    assert main(["radius", *NETWORK, "--memory", "1kB", "--out", "small.jsonl"]) == 0
    assert main(["radius", *NETWORK, "--out", "whole.jsonl"]) == 0
    texts = (Path(name).read_text(encoding="utf-8") for name in ("small.jsonl", "whole.jsonl"))
    found = [[json.loads(line)["radius"] for line in text.splitlines()] for text in texts]
    assert found[0] == pytest.approx(found[1], rel=1e-4) and min(found[1]) > 0
    assert "cut short" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("1e6", 10**6),
        ("1.5E9", 15 * 10**8),
        ("64MiB", 2**26),
        ("64 mib", 2**26),
        ("1GB", 10**9),
        ("1.5GiB", 3 * 2**29),
        ("2kB", 2000),
        ("100B", 100),
        ("1TiB", 2**40),
        ("0", None),
        ("0.5", None),
        ("-1", None),
        ("64M", None),
        ("1e", None),
        ("1e1000", None),
        ("much", None),
    ],
)
def test_sizes_of_memory(text: str, size: int | None) -> None:
    options = parser().parse_args(["bounds", *ASKED, f"--memory={text}"])
    if size is not None:
        assert budget_of(options).memory == size
        return
    with pytest.raises(InvalidInput, match="Accepted: bytes, such as 268435456 or 1e9, or a size such as 512MiB"):
        budget_of(options)


def test_a_budget_of_flags_has_the_defaults_of_a_budget() -> None:
    """The same of every command that searches."""
    for command, more in (("audit", []), ("compare", ["--twin-weights", "v.pt"])):
        given = parser().parse_args([command, *ASKED, *more])
        assert budget_of(given) == Budget()
        asked = ["--seconds", "8", "--nodes", "7", "--memory", "1.5GiB", "--gap", "0.25"]
        given = parser().parse_args([command, *ASKED, *more, *asked])
        assert budget_of(given, networks=2) == Budget(4.0, nodes=7, memory=3 * 2**29, gap=0.25)
        assert budget_of(parser().parse_args([command, *ASKED, *more, "--memory", "4096"])).memory == 4096


def test_progress_is_a_line_every_half_minute_where_nobody_looks() -> None:
    now, stream = [0.0], io.StringIO()
    line = ProgressLine(4, stream, lambda: now[0])
    for done, at in ((0, 1.0), (1, EVERY - 1), (2, EVERY + 10), (3, EVERY + 20), (3, 3 * EVERY)):
        now[0] = at
        line.at(done)
    line.end()
    assert stream.getvalue() == "2 of 4 points, 40 s, about 40 s left\n3 of 4 points, 90 s, about 30 s left\n"


def test_the_time_left_is_rounded_up_and_a_spent_budget_is_called_so() -> None:
    now, stream = [0.0], io.StringIO()
    line = ProgressLine(4, stream, lambda: now[0])
    for done, left in ((2, 0.3), (3, 0.0), (4, 7.0)):
        now[0] += EVERY
        line.at(done, left)
    told = "2 of 4 points, 30 s, at most 1 s left\n3 of 4 points, 60 s, the budget is spent\n4 of 4 points, 90 s\n"
    assert stream.getvalue() == told


def test_a_warning_is_one_line_without_a_place_in_the_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warned(path: str, **_: object) -> object:
        warnings.warn("two\nlines", UserWarning, stacklevel=1)
        return points()

    monkeypatch.setattr("lipreg.command.points.load_points", warned)
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["bounds", *ASKED, "--estimators", "affine_relu"]) == 0
    assert "lipreg: two lines" in capsys.readouterr().err.splitlines() and warnings.showwarning is before


def test_a_report_says_that_a_file_is_cut_in_its_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", *ASKED, "--estimators", "affine_relu", "--records", "r.jsonl"]) == 0
    whole = Path("r.jsonl").read_text(encoding="utf-8")
    for end, said in ((whole, False), (whole.rstrip("\n"), False), (whole[:-20], True)):
        Path("r.jsonl").write_text(end, encoding="utf-8")
        capsys.readouterr()
        assert main(["report", "r.jsonl", "--html", "r.html"]) == 0
        assert ("\nr.jsonl: its last line is cut off and left out: " in capsys.readouterr().out) is said
        assert ("last line is cut off" in Path("r.html").read_text(encoding="utf-8")) is said
