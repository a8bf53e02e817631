"""The code in README.md and docs/extending.md runs as it stands there, and does what the text says."""

from __future__ import annotations

import os
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

import lipreg
from benchmarks import monotone, population, population_statements
from benchmarks.environment import read_result
from lipreg import LinfBall, LocalLipschitz, Logit, capture, certify, estimate
from lipreg.auditing import EXECUTORS, AuditPlan, audit
from lipreg.bounds import analyse
from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import ESTIMATORS
from lipreg.estimators.radius import certified_radii
from lipreg.graph import registry
from lipreg.milp import SOLVERS, Highs, encode, get_solver
from lipreg.penalties import get_penalty
from lipreg.quantities import QUANTITIES, values
from lipreg.results import Certificate, Status
from lipreg.schedules import SCHEDULES, Moment, get_schedule
from lipreg.testing import CheckFailed, check_estimator, exact_constants
from lipreg.testing.questions import SPARSE, Questions
from tests.forks import ForkServer
from tests.sampling import EVERYTHING

ROOT = Path(__file__).parents[1]


def blocks(path: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(encoding="utf-8"), flags=re.DOTALL)


def files(path: str) -> dict[str, str]:
    """The Python blocks of a page that are files, by the name in their first line."""
    return {block.partition("\n")[0].removeprefix("# "): block for block in blocks(path)}


EXTENDING = files("docs/extending.md")
SHARE = Questions().one_in if EVERYTHING else 2 * SPARSE + 1
"""Of an estimator's questions one in so many is asked."""


def run(source: str, name: str) -> dict[str, Any]:
    module = types.ModuleType(name)
    sys.modules[name] = module  # where dataclasses look for the names in annotations
    try:
        exec(compile(source, name, "exec"), vars(module))
    finally:
        del sys.modules[name]
    return vars(module)


def test_the_callbacks_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space = run(blocks("README.md")[0], "readme")
    audit = space["audit"]
    assert len(audit.last) == 4
    assert all(point.combined.certificate is Certificate.EXACT for point in audit.last)
    assert space["trainer"].callback_metrics["val_accuracy"] > 0.5
    assert audit.record_file == tmp_path / "lightning_logs" / "version_0" / "records.jsonl"
    assert audit.record_file.is_file(), "in the folder of the run, not the working directory"
    run(blocks("README.md")[1], "readme")
    assert "Combined" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_plain_loop_example(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    space = run("\n".join(blocks("README.md")[2:5]), "readme")
    assert space["net"][0].weight.grad.abs().sum() > 0
    assert space["hinge"](space["x"], space["y"]).item() == 0, "the schedule begins at 0"
    assert space["hinge"].penalty == get_penalty({"kind": "hinge", "target": 5.0})
    found, x, y = space["penalty"].last, space["x"], space["y"]
    expected = estimate(space["net"], space["problem"], x, y).detach()
    torch.testing.assert_close(found.bounds, expected)
    assert space["loss"].item() == pytest.approx(
        torch.nn.functional.cross_entropy(space["net"](x), y).item() + 1e-3 * expected.mean().item(), rel=1e-5
    )
    assert space["interval"].certificate is Certificate.EXACT
    printed = capsys.readouterr().out
    assert Status.PROVED.advice in printed and "movement of the truth (E_network / E_twin)" in printed
    assert space["moved"].combined.lower > 0


def test_the_example_of_both_scopes(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = (
        block for block in blocks("docs/choosing.md") if "pointed.upper" in block and "regional.upper" in block
    )
    space = run(example, "choosing")
    pointed, regional = space["pointed"], space["regional"]
    assert pointed.certificate is regional.certificate is Certificate.EXACT
    assert 0 < pointed.upper < 0.95 * regional.upper
    assert capsys.readouterr().out.startswith(f"pointed {pointed.upper:.4f}, regional")


def test_the_example_of_smooth_activations(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = (block for block in blocks("docs/choosing.md") if "nn.Tanh" in block)
    space = run(example, "choosing")
    closed, found = space["closed"], space["found"]
    assert found.gap <= 0.01 and 0 < found.lower <= found.upper < closed.upper
    assert capsys.readouterr().out.startswith(f"at most {closed.upper:.3f}; in [{found.lower:.4f}")


def test_the_auditing_example() -> None:
    space = run(blocks("docs/auditing.md")[0], "auditing")
    assert [p.combined.certificate for p in space["points"]] == [Certificate.EXACT] * 6
    assert [p.combined for p in space["again"]] == [p.combined for p in space["points"]]
    assert all(record.resumed for point in space["again"] for record in point.records("run", 0))


def test_the_example_of_a_whole_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    space = run(blocks("docs/statistics.md")[0], "whole_data")
    said = capsys.readouterr().out
    assert "20 of the 200 points of the data set were drawn at random (seed 0)" in said
    assert (
        said.endswith(f"{len(space['found'].points)} points were enough\n") and (tmp_path / "population.html").is_file()
    )
    assert space["found"].population.quantile(0.9).within(0.1) and space["found"].margins.quantile(0.5).low > 0


def test_the_tables_of_draws_are_those_of_the_benchmark() -> None:
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    for table in population.tables():
        assert table in text
    for row in read_result("population")[1:]:
        for missed in (row[kind][name]["missed"] for kind in ("planned", "at any time") for name in row["planned"]):
            assert (
                missed <= 0.05 * row["draws"] + 3 * (0.05 * 0.95 * row["draws"]) ** 0.5
            )  # what so many draws may show
    rows = read_result("population_statements")
    assert population_statements.table(rows) in text
    for row in rows:
        for found in (found for kind in ("planned", "at any time") for found in row[kind].values()):
            assert found["missed"] <= 0.05 * row["draws"] + 3 * (0.05 * 0.95 * row["draws"]) ** 0.5


def test_the_example_of_derivatives(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = (block for block in blocks("docs/choosing.md") if "derivative_range" in block)
    space = run(example, "choosing")
    said = capsys.readouterr().out.splitlines()
    assert [found.sign for found in space["signs"]] == ["increasing", "decreasing", "both signs"]
    assert all(found.certificate is Certificate.EXACT for found in space["ranges"])
    text = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
    assert f"    {said[0]}\n    {said[1]}\n" in text, (
        "signs and header; the numbers are those of the training's machine"
    )


def test_the_tables_of_monotone_features_are_those_of_the_study() -> None:
    text = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
    for table in monotone.tables():
        assert table in text


def test_the_difference_example() -> None:
    (example,) = (block for block in blocks("docs/choosing.md") if "Difference(" in block)
    space = run(example, "choosing")
    error, problem = space["error"].double(), LocalLipschitz(space["states"], Logit(0))
    anywhere, from_rest = space["anywhere"], space["from_rest"]
    ((truth, _),) = exact_constants(error, problem, space["origin"].double())
    assert anywhere.certificate is from_rest.certificate is Certificate.EXACT
    assert anywhere.upper == pytest.approx(truth, rel=1e-6)
    assert 2.5 < anywhere.upper <= 2.8 and 0.05 < from_rest.upper < 0.3, "as the comments say"
    points = torch.cartesian_prod(*[torch.linspace(-2.0, 2.0, 40, dtype=torch.float64)] * 2)
    with torch.no_grad():
        rise = (error(points) - error(space["origin"].double())).abs().flatten()
    assert float((rise / points.abs().amax(1)).max()) <= from_rest.upper


@pytest.mark.parametrize("page", ["README.md", "docs/choosing.md"])
def test_a_question_in_a_sentence_can_be_asked_or_the_sentence_says_that_it_is_refused(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    asked = re.findall(r"`(?:lipreg\.)?(LocalLipschitz\([^`]+\))`( is refused)?", text)
    assert len(asked) >= 2
    net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1)).double().eval()
    names = {name: getattr(lipreg, name) for name in lipreg.__all__}
    for call, refused in asked:
        make = compile(call.replace("lipreg.", ""), page, "eval")
        if refused:
            with pytest.raises(UnsupportedRequest):
                eval(make, names.copy())
            continue
        (found,) = certify(
            net,
            eval(make, names.copy()),
            torch.rand(1, 3, dtype=torch.float64),
        )
        assert found.lower <= found.upper < float("inf"), call


def test_the_commands_and_links_of_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert len(targets) >= 6
    assert [target for target in targets if not (ROOT / target).is_file()] == []
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in set(re.findall(r"make (\w+)", text)):
        assert re.search(rf"^{command}:", makefile, flags=re.MULTILINE), command


def test_each_file_about_extending_passes_its_check_in_a_folder_of_its_own(
    tmp_path: Path, programs: ForkServer
) -> None:
    """As a stranger runs it, `python FILE`: one process does it for all of them, as most of the time is lipreg's import.

    Estimators are asked few questions, whose truths they share, by ``make test-all`` those of the command itself.
    """
    assert len(EXTENDING) == 12
    for name, source in EXTENDING.items():
        assert re.search(r"\n\nif __name__ == \"__main__\":\n    check_\w+\(.*\)\n$", source), name
        folder = tmp_path / Path(name).stem
        folder.mkdir()
        (folder / name).write_text(source, encoding="utf-8")
    program = (
        "import functools, os, runpy, sys\n"
        "import lipreg.testing.estimators as checked\n"
        f"checked.Questions = functools.partial(checked.Questions, one_in={SHARE}, kept={{}})\n"
        "for folder, name in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    os.chdir(folder)\n"
        "    sys.path[0], sys.argv[0] = folder, name\n"
        "    runpy.run_path(name, run_name='__main__')\n"
        "    print('passed', name, flush=True)\n"
    )
    (tmp_path / "all.py").write_text(program, encoding="utf-8")
    asked = [part for name in EXTENDING for part in (str(tmp_path / Path(name).stem), name)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = programs.run([sys.executable, "all.py", *asked], tmp_path, environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [f"passed {name}" for name in EXTENDING]


def test_an_estimator_that_says_more_than_it_holds_is_found() -> None:
    """What the page says of `branches = True`."""
    before = dict(ESTIMATORS)
    try:
        wider = EXTENDING["schur.py"].replace("    vector = False\n", "    vector = False\n    branches = True\n")
        wider = wider.replace("((_, last),) = graph.output.terms()", "_, last = next(iter(graph.output.terms()))")
        run(wider, "extending")
        with pytest.raises(CheckFailed, match=r"of (residual|weak_branch)"):
            check_estimator("schur", aspects=["truth"])
    finally:
        _restore(ESTIMATORS, before)


def test_a_name_is_found_in_an_installed_package_that_declares_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(ESTIMATORS)
    about = tmp_path / "my_bounds-1.0.dist-info"
    for folder in (about, tmp_path / "my_bounds"):
        folder.mkdir()
    declared = re.findall(
        r"```toml\n.*?\[project\.(.*?)\]\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL
    )[0]
    assert declared[0] == "entry-points.lipreg"
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-bounds\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[lipreg]\n{declared[1].replace(chr(34), '')}")
    (tmp_path / "my_bounds" / "__init__.py").touch()
    (tmp_path / "my_bounds" / "schur.py").write_text(EXTENDING["schur.py"])
    net, x = torch.nn.Linear(2, 2), torch.rand(1, 2)
    problem = LocalLipschitz(LinfBall(0.1), Logit(1), p=2.0)
    try:
        monkeypatch.setattr(ESTIMATORS, "_declared", False)
        with pytest.raises(lipreg.errors.InvalidInput, match="schur"):
            certify(net, problem, x, estimator="schur")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(ESTIMATORS, "_declared", False)
        (found,) = certify(net, problem, x, estimator="schur")
        assert estimate(net, problem, x, bound="schur").item() == pytest.approx(found.upper, rel=1e-6)
    finally:
        _restore(ESTIMATORS, before)
        for name in ("my_bounds", "my_bounds.schur"):
            sys.modules.pop(name, None)


def test_a_layer() -> None:
    modules, examples = dict(registry.MODULES), dict(registry.EXAMPLES)
    try:
        run(EXTENDING["scale.py"], "extending")
        example = next(e for lowering, e in registry.EXAMPLES.items() if lowering.__name__ == "lower_scale")
        module, x = example.build(), torch.randn(5, *example.input_shape)
        torch.testing.assert_close(capture(module, x).live()(x), module(x))
    finally:
        _restore(registry.MODULES, modules)
        _restore(registry.EXAMPLES, examples)


def test_an_estimator() -> None:
    before = dict(ESTIMATORS)
    try:
        run(EXTENDING["schur.py"], "extending")
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)).double()
        x = torch.rand(4, 3, dtype=torch.float64)
        problem = LocalLipschitz(LinfBall(0.1), Logit(1), p=2.0)
        graph = capture(net, x).frozen()
        analysis = analyse(graph, problem.place(x, graph(x)))
        size = net[0].weight.detach().abs()
        expected = (size.sum(0).max() * size.sum(1).max()).sqrt() * net[2].weight[1].detach().norm()
        torch.testing.assert_close(ESTIMATORS["schur"].bound(analysis), expected.expand(4))  # type: ignore[attr-defined]
        _refused_off_chains("schur")
    finally:
        _restore(ESTIMATORS, before)


class Residual(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = torch.nn.Linear(3, 3), torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.relu(self.one(x)) + x)


def _refused_off_chains(name: str) -> None:
    """Elsewhere the product that it takes is no bound: once it proved 0.0104 where a witness attains 0.463."""
    torch.manual_seed(0)
    pooled = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.ReLU(), torch.nn.MaxPool1d(2), torch.nn.Linear(3, 2))
    x, problem = torch.rand(2, 3, dtype=torch.float64), LocalLipschitz(LinfBall(0.1), Logit(1), p=2.0)
    for net, found in ((pooled, "Affine, Relu and MaxPool nodes"), (Residual(), "Affine and Relu nodes that branches")):
        net = net.double()
        asked = (
            lambda net=net: certify(net, problem, x, estimator=name),
            lambda net=net: certify(net, LocalLipschitz(LinfBall(0.1), Logit(1)), x, estimator=f"{name}@l2"),
            lambda net=net: estimate(net, problem, x, bound=name),
            lambda net=net: lipreg.LipschitzPenalty(net, problem, bound=name)(x),
            lambda net=net: certified_radii(net, x, bounds=("affine_relu", name)),
            lambda net=net: audit(net, AuditPlan(problem, ("affine_relu", name)), x),
        )
        for ask in asked:
            with pytest.raises(UnsupportedRequest) as refusal:
                ask()
            text = str(refusal.value)
            assert f"estimator '{name}" in text and found in text, text
            assert "networks of Affine and Relu nodes that do not branch" in text and "affine_relu" in text


def test_a_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(ESTIMATORS)
    try:
        run(EXTENDING["entries.py"], "extending")
        entries: Any = ESTIMATORS["entries"]
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
        x, y = torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
        taken, bound = [], type(entries).bound
        monkeypatch.setattr(type(entries), "bound", lambda *given: taken.append(given) or bound(*given))
        for output, written in ((lipreg.AllLogits(), True), (lipreg.AllMargins(), False)):
            problem = LocalLipschitz(LinfBall(0.1, low=0.0, high=1.0), output, p=2.0)
            penalty = lipreg.LipschitzPenalty(net, problem, bound="entries")
            taken.clear()
            penalty(x, y).backward()
            assert bool(taken) is not written
            found = [net[0].weight.grad.clone(), net[2].weight.grad.clone()]
            net.zero_grad()
            expected = estimate(net, problem, x, y, bound="entries")
            torch.testing.assert_close(penalty.last.bounds, expected.detach())
            (1e-2 * expected.mean()).backward()
            torch.testing.assert_close(found, [net[0].weight.grad, net[2].weight.grad])
            net.zero_grad()
            with pytest.raises(lipreg.errors.InvalidInput, match="outside the data range"):
                penalty(x + 1.0, y)
        proved = certify(net, problem, x, y, estimator="entries")
        assert all(p.upper >= e.upper for p, e in zip(proved, certify(net, problem, x, y), strict=True))
        _refused_off_chains("entries")
    finally:
        _restore(ESTIMATORS, before)


def test_a_quantity() -> None:
    before = dict(QUANTITIES)
    try:
        space = run(EXTENDING["confusion.py"], "extending")
        net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).double()
        x = torch.rand(2, 3).double()
        found = values(space["Confusion"](scale=2.0), net, LocalLipschitz(LinfBall(0.1), Logit(0)), x)
        slopes = [torch.autograd.functional.jacobian(lambda p: net(p).softmax(0), point) for point in x]
        torch.testing.assert_close(found, torch.stack([2.0 * slope.square().sum() for slope in slopes]))
    finally:
        _restore(QUANTITIES, before)


def test_a_penalty() -> None:
    from lipreg import penalties

    registries = [value for value in vars(penalties).values() if isinstance(value, dict) and "hinge" in value]
    before = [dict(known) for known in registries]
    assert registries
    try:
        run(EXTENDING["power.py"], "extending")
        value = get_penalty({"kind": "power", "exponent": 3.0})(torch.tensor([1.0, 2.0]))
        assert value == pytest.approx((1 + 8) / 2)
    finally:
        for known, old in zip(registries, before, strict=True):
            _restore(known, old)


def test_a_schedule() -> None:
    before = dict(SCHEDULES)
    try:
        run(EXTENDING["halving.py"], "extending")
        assert get_schedule({"kind": "halving", "every": 2}).factor(Moment(5)) == 0.25
    finally:
        _restore(SCHEDULES, before)


def test_a_solver() -> None:
    before = dict(SOLVERS)
    try:
        run(EXTENDING["scipy_solver.py"], "extending")
        solver = get_solver("scipy")
    finally:
        _restore(SOLVERS, before)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2)).double()
    x = torch.rand(1, 3, dtype=torch.float64)
    graph = capture(net, x).frozen()
    with torch.no_grad():
        program = encode(analyse(graph, LocalLipschitz(LinfBall(0.5), Logit(0)).place(x, graph(x))), 0).program
    ours, theirs = Highs().solve(program, Budget(600.0)), solver.solve(program, Budget(600.0))
    assert theirs.status is ours.status is Status.PROVED
    assert theirs.incumbent == pytest.approx(ours.incumbent, rel=1e-6)
    assert theirs.claimed == pytest.approx(ours.claimed, rel=1e-6)


def test_an_executor() -> None:
    before = dict(EXECUTORS)
    try:
        run(EXTENDING["later.py"], "extending")
        torch.manual_seed(0)
        net, x = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)), torch.rand(5, 3)
        plan = AuditPlan(LocalLipschitz(LinfBall(0.1), Logit(1)), ("affine_relu", "branch_and_bound"))
        found = [audit(net, plan, x, executor=given) for given in ("inline", "later", {"kind": "later", "most": 2})]
        ends = [[(p.combined.lower, p.combined.upper) for p in points] for points in found]
        assert ends[0] == ends[1] == ends[2]
    finally:
        _restore(EXECUTORS, before)


def _restore(known: dict[Any, Any], before: dict[Any, Any]) -> None:
    known.clear()
    known.update(before)
