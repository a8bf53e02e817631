"""The study: every choice in a sweep, a tiny study from start to views, its arithmetic, and the committed page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from experiments.regularizers.figures import FIGURES
from experiments.regularizers.jobs import BOUNDS, TWIN, Job, Row, run
from experiments.regularizers.results import ResultFile
from experiments.regularizers.study import asked_by, jobs_of, run_study
from experiments.regularizers.summary import NAMES, POINTED, against, at_equal_accuracy, strengths, whole_seeds
from experiments.regularizers.tables import fill, tables
from experiments.regularizers.views import PAGE, RESULTS
from lipreg.callbacks import LipschitzRegularizer
from lipreg.errors import InvalidInput
from lipreg.reporting.svg import svg
from tests.conformance.questions import of_test_all
from tests.conftest import ROOT
from tests.experiments.programs import GROUPS, run_here, run_there
from tests.experiments.test_mnist import write as write_mnist
from tests.experiments.test_train import composed, composed_as, partial
from tests.forks import ForkServer
from tests.sampling import one_in

TINY = ["model.widths=[64,6,10]", "data.batch_size=400", "audit.points=2"]
CHOICES = sorted(file.stem for folder in GROUPS for file in (folder / "regularizer").glob("*.yaml"))


def study(tmp_path: Path, *overrides: str) -> DictConfig:
    cfg = composed_as("study", f"results={tmp_path / 'results.jsonl'}", "processes=1", "seeds=[0]", *overrides)
    weights = {TWIN: [0.0], "affine_relu": [0.01], POINTED: [0.01], "fgsm": [0.1]}
    OmegaConf.update(cfg, "weights", {"digits": weights}, merge=False)
    OmegaConf.update(cfg, "overrides", TINY)
    OmegaConf.update(cfg, "datasets", ["digits"])
    OmegaConf.update(cfg, "epochs", {"digits": [0, 1]}, merge=False)
    OmegaConf.update(cfg, "pointed", {"digits": 1}, merge=False)
    return cfg


# ---------------------------------------------------------------- choices of a sweep


def test_every_choice_has_a_name_and_strengths_in_the_study() -> None:
    cfg = composed_as("study")
    assert sorted(NAMES) == CHOICES
    for dataset in cfg.datasets:
        weights = OmegaConf.to_container(cfg.weights[dataset])
        assert isinstance(weights, dict)
        assert sorted(map(str, weights)) == CHOICES
        assert all(len(values) >= 3 for name, values in weights.items() if name != TWIN)
    assert len(cfg.seeds) >= 3
    jobs = jobs_of(cfg)
    assert len(set(jobs)) == len(jobs)
    assert jobs[0] == Job("digits", TWIN, 0.0, 0)


def test_the_committed_results_are_of_today_s_settings() -> None:
    committed = ResultFile(RESULTS).asked
    asked = asked_by(composed_as("study"))
    assert committed is not None
    assert {name: committed[name] for name in ("epochs", "pointed", "settings")} == {
        name: asked[name] for name in ("epochs", "pointed", "settings")
    }


@pytest.mark.parametrize("dataset", ["digits", "mnist"])
@pytest.mark.parametrize("choice", CHOICES)
@one_in(2)
def test_every_choice_trains_on_both_data_sets(
    dataset: str, choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path / "mnist")
    monkeypatch.setenv("LIPREG_DATA", str(tmp_path))
    sizes = ["data.train_size=40", "data.batch_size=20"] if dataset == "mnist" else []
    cfg = composed(f"experiment=study_{dataset}", f"regularizer={choice}", "model.widths=[64,6,10]", *sizes)
    cfg.model.widths[0] = 784 if dataset == "mnist" else 64
    problem = instantiate(cfg.problem)
    assert problem.scope == ("pointed" if choice == POINTED else "regional")
    plan = partial(cfg.audit)(problem=problem).plan
    assert "branch_and_bound" in {recipe.estimator for recipe in plan.estimators}
    regularizer = partial(cfg.regularizer)(problem=problem, weight=cfg.regularizer.weight)
    assert isinstance(regularizer, LipschitzRegularizer) == (choice not in (TWIN, "dropout"))
    if isinstance(regularizer, LipschitzRegularizer):
        assert regularizer.lowers_bound == (choice in (*BOUNDS, POINTED))
    assert str(regularizer.bound) in BOUNDS
    assert regularizer.weight > 0 or choice == TWIN
    pl.seed_everything(0, verbose=False)
    model, data = instantiate(cfg.model), instantiate(cfg.data)
    before = [p.detach().clone() for p in model.parameters()]
    settings: dict[str, Any] = {"fast_dev_run": True, "logger": False, "default_root_dir": str(tmp_path)}
    partial(cfg.trainer)(callbacks=[regularizer], **settings).fit(model, datamodule=data)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert not all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_sweep_over_choices(tmp_path: Path) -> None:
    tiny = [
        *TINY,
        "trainer.max_epochs=1",
        "audit=bounds",
        "audit.points=1",
        "logger=none",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    ]
    done = run_here(
        ROOT, "experiments.train", "-m", "experiment=study_digits", "regularizer=weight_decay,spectral", *tiny
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "sweep").rglob("records.jsonl"))) == 2


# ---------------------------------------------------------------- a tiny study


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DictConfig, list[Row]]:
    folder = tmp_path_factory.mktemp("study")
    cfg = study(folder)
    assert run_study(cfg, Console(quiet=True)) == []
    return folder, cfg, ResultFile(cfg.results).rows


def test_a_study_has_its_rows(finished: tuple[Path, DictConfig, list[Row]]) -> None:
    _, _, rows = finished
    seen = [(r["regularizer"], r["epoch"]) for r in rows]
    assert seen == [(TWIN, 0), (TWIN, 1), ("affine_relu", 1), (POINTED, 1), ("fgsm", 1)]
    for row in rows:
        assert 0 <= row["accuracy"] <= 1
        for (lower, upper), *bounds in zip(row["exact"], *row["bounds"].values(), strict=True):
            assert 0 < lower <= upper <= min(bounds)
            spectral, affine, chain, interval = bounds
            assert interval <= chain <= affine * (1 + 1e-6) <= spectral * (1 + 2e-6)
        assert ("pointed" in row) == (row["last"] and row["regularizer"] in (TWIN, POINTED))
        if "pointed" in row:
            (ends,), (bound,) = row["pointed"]["exact"], row["pointed"]["bounds"]["affine_relu"]
            assert ends[0] <= row["exact"][0][1], "the pointed constant is never above the regional one"
            assert ends[1] <= bound


def test_the_twin_of_a_job_differs_in_the_weight_alone(finished: tuple[Path, DictConfig, list[Row]]) -> None:
    _, _, rows = finished
    for name in ("affine_relu", "fgsm"):
        (row,) = run(Job("digits", name, 0.0, 0), (0, 1), overrides=TINY)
        assert (row["accuracy"], row["exact"], row["bounds"]) == tuple(
            rows[1][k] for k in ("accuracy", "exact", "bounds")
        )


def test_a_finished_study_does_nothing_and_a_cut_one_goes_on(
    finished: tuple[Path, DictConfig, list[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cfg, rows = finished
    text = Path(cfg.results).read_text()
    ran: list[Job] = []

    def again(job: Job, *arguments: Any) -> list[Row]:
        ran.append(job)
        return [row for row in rows if row["regularizer"] == job.regularizer]

    monkeypatch.setattr("experiments.regularizers.study.run", again)
    assert run_study(cfg, Console(quiet=True)) == []
    assert ran == []
    cut = study(tmp_path)
    Path(cut.results).write_text(text[: text.index('"pointed"', text.index(f'"{POINTED}"')) + 5])
    assert run_study(cut, Console(quiet=True)) == []
    assert [job.regularizer for job in ran] == [POINTED, "fgsm"]
    assert Path(cut.results).read_text() == text
    assert len(ResultFile(cut.results).rows) == len(rows)


def test_other_settings_are_not_mixed(finished: tuple[Path, DictConfig, list[Row]]) -> None:
    folder, _, _ = finished
    other = study(folder)
    OmegaConf.update(other, "overrides", [*TINY, "model.learning_rate=0.1"])
    with pytest.raises(InvalidInput, match="other settings"):
        run_study(other, Console(quiet=True))
    (folder / "broken.jsonl").write_text('{"asked":{}}\n{"dataset":"digits"}\n')
    with pytest.raises(InvalidInput, match="results of this program"):
        ResultFile(folder / "broken.jsonl")
    with pytest.raises(InvalidInput, match="no results"):
        ResultFile(folder / "nowhere.jsonl")


def test_a_job_that_fails_does_not_sink_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(job: Job, *arguments: Any) -> list[Row]:
        if job.regularizer == "fgsm":
            raise ValueError("no")
        return [{**vars(job), "epoch": 1, "last": True}]

    monkeypatch.setattr("experiments.regularizers.study.run", failing)
    cfg, console = study(tmp_path), Console(record=True, width=200)
    assert [job.regularizer for job in run_study(cfg, console)] == ["fgsm"]
    assert "ValueError: no" in console.export_text()
    assert len(ResultFile(cfg.results).rows) == 3


@of_test_all
def test_the_command_runs_in_several_processes(tmp_path: Path, programs: ForkServer) -> None:
    tiny = "overrides=[" + ",".join(f"'{text}'" for text in TINY) + "]"
    weights = (
        "weights={digits:{" + ",".join(f"{name}:[]" for name in CHOICES if name not in (TWIN, "l1")) + ",l1:[0.001]}}"
    )
    settings = ["seeds=[0]", "datasets=[digits]", "processes=2", "pointed.digits=0", "epochs.digits=[0,1]"]
    folders = [f"results={tmp_path / 'r.jsonl'}", f"hydra.run.dir={tmp_path / 'run'}"]
    done = run_there(programs, ROOT, "experiments.regularizers", *settings, *folders, tiny, weights)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 runs" in done.stdout
    rows = ResultFile(tmp_path / "r.jsonl").rows
    assert {(r["regularizer"], r["epoch"]) for r in rows} == {(TWIN, 0), (TWIN, 1), ("l1", 1)}


# ---------------------------------------------------------------- arithmetic


def row(name: str, weight: float, seed: int, accuracy: float, exact: list[list[float]], bound: list[float]) -> Row:
    bounds = dict.fromkeys(BOUNDS, bound)
    return {
        "dataset": "digits", "regularizer": name, "weight": weight, "seed": seed, "epoch": 1, "last": True,
        "accuracy": accuracy, "exact": exact, "bounds": bounds,
    }  # fmt: skip


def test_a_run_against_its_twin_by_hand() -> None:
    twin = row(TWIN, 0.0, 0, 0.9, [[4.0, 4.0], [2.0, 2.0]], [16.0, 8.0])
    mine = row("spectral", 1.0, 0, 0.8, [[1.0, 1.0], [2.0, 4.0]], [4.0, 8.0])
    found = against(mine, twin)
    assert (found.accuracy, found.change) == pytest.approx((0.8, -0.1))
    assert (found.exact.lower, found.exact.upper) == (1.5, 2.5)
    assert (found.movement.lower, found.movement.upper) == pytest.approx((0.5, math.sqrt(0.5)))
    assert found.bound == 6.0
    assert found.bound_movement == pytest.approx(0.5)
    assert found.tightness is not None and found.transfer is not None
    assert (found.tightness.lower, found.tightness.upper) == pytest.approx((math.sqrt(8), 4.0))
    assert (found.transfer.lower, found.transfer.upper) == pytest.approx((0.5, 1.0))


def line(name: str, weights: list[float], accuracies: list[float], exact: list[float], seed: int = 0) -> list[Row]:
    return [
        row(name, w, seed, a, [[e, e]], [e**2])
        for w, a, e in zip(weights, accuracies, exact, strict=True)
    ]  # fmt: skip


def test_places_at_equal_accuracy_by_hand() -> None:
    rows = line(TWIN, [0.0], [0.90], [16.0])
    rows += line("l1", [0.3, 0.1], [0.88, 0.90], [1.0, 4.0])  # falls below between 0.1 and 0.3, half way
    rows += line("dropout", [0.1, 0.2], [0.91, 0.92], [8.0, 8.5])  # never costs accuracy
    rows += line("fgsm", [0.1], [0.5], [0.1])  # costs too much at once
    l1, dropout, fgsm = at_equal_accuracy(strengths(rows, "digits"))
    assert (l1.regularizer, l1.below, l1.above, l1.limited) == ("l1", 0.1, 0.3, True)
    assert l1.movement.mean == pytest.approx(2 / 16)  # half way in logarithms
    assert l1.transfer == pytest.approx(0.5)
    assert (dropout.regularizer, dropout.below, dropout.above, dropout.limited) == ("dropout", 0.1, 0.1, False)
    assert dropout.movement.mean == pytest.approx(0.5)
    assert (fgsm.below, fgsm.above) == (0.0, 0.1)
    share = 0.01 / 0.4
    assert fgsm.movement.mean == pytest.approx((0.1 / 16) ** share)


def test_only_whole_seeds_are_compared() -> None:
    rows = line(TWIN, [0.0], [0.9], [4.0]) + line("l1", [0.1], [0.9], [2.0])
    rows += line(TWIN, [0.0], [0.9], [4.0], seed=1)
    assert whole_seeds(rows, "digits") == [0]
    assert [len(strength.seeds) for strength in strengths(rows, "digits")] == [1, 1]
    rows += line("l1", [0.1], [0.9], [1.0], seed=1)
    twin, l1 = strengths(rows, "digits")
    movement, bound = l1.spread("movement", logarithmic=True), twin.spread("exact")
    assert movement is not None and bound is not None
    assert (movement.mean, movement.low, movement.high) == pytest.approx((math.sqrt(0.125), 0.25, 0.5))
    assert (bound.mean, bound.low, bound.high) == (4.0, 4.0, 4.0)


# ---------------------------------------------------------------- views


def test_views_of_a_study(finished: tuple[Path, DictConfig, list[Row]]) -> None:
    _, _, rows = finished
    found = tables(rows)
    assert list(found) == [("equal", "digits"), ("strengths", "digits")]
    assert found["strengths", "digits"].count("\n") == 1 + 4
    page = "a\n<!-- table equal digits -->\nold\n<!-- end -->\nb\n"
    filled = fill(page, rows)
    assert found["equal", "digits"] in filled and "old" not in filled
    assert fill(filled, rows) == filled
    with pytest.raises(InvalidInput, match="no table equal mnist"):
        fill(page.replace("digits", "mnist"), rows)
    for draw in FIGURES.values():
        assert "<svg" in svg(draw(rows))


def test_the_committed_page_is_made_from_the_committed_results() -> None:
    rows = ResultFile(RESULTS).rows
    page = PAGE.read_text(encoding="utf-8")
    assert fill(page, rows) == page, "python -m experiments.regularizers.views makes it anew"
    assert page.count("<!-- table ") == len(tables(rows))
    for name in FIGURES:
        assert f"images/{name}.svg" in page
        assert (ROOT / "docs" / "images" / f"{name}.svg").is_file()
    assert RESULTS.stat().st_size < 2**20


def test_the_committed_results_are_sound() -> None:
    rows = ResultFile(RESULTS).rows
    for r in rows:
        for ends, *bounds in zip(r["exact"], *r["bounds"].values(), strict=True):
            assert 0 < ends[0] <= ends[1] <= min(bounds)
    assert json.dumps(rows)
