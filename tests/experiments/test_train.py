"""The main job: every configuration composes, and the smoke experiment runs as a user would run it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from experiments.parts import KEYS
from experiments.regularizers import Baseline
from lipreg.callbacks import LipschitzAudit, LipschitzRegularizer
from lipreg.data import DigitsDataModule
from lipreg.estimators import usual_estimators
from lipreg.penalties import Hinge, Log
from lipreg.problem import LocalLipschitz
from lipreg.records import AuditRecord, EpochRecord, Record, RunRecord, read_records
from lipreg.schedules import Linear, Target
from tests.conftest import ROOT
from tests.experiments.programs import GROUPS as GROUP_FOLDERS
from tests.experiments.programs import Done, run_here, run_there
from tests.forks import ForkServer

pytestmark = pytest.mark.usefixtures("undrawn")
CONF = ROOT / "conf"
FILES = sorted(path for folder in GROUP_FOLDERS for path in folder.glob("*/*.yaml"))
GROUPS = sorted({path.parent.name for path in FILES})
SWAPPED = [group for group in GROUPS if group not in ("callbacks", "network", "setting")]  # for other programs
OPTIONS = sorted({(path.parent.name, path.stem) for path in FILES if path.parent.name in SWAPPED} - {("data", "file")})
BEARING = ("audit", "experiment", "problem", "regularizer")
"""Groups whose options choose of other groups, or refuse them: one composition each."""
FREE = {group: [o for g, o in OPTIONS if g == group] for group in SWAPPED if group not in BEARING}
COMPOSITIONS: list[dict[str, str]] = [
    *({group: option} for group, option in OPTIONS if group in BEARING),
    *({g: o[turn % len(o)] for g, o in FREE.items()} for turn in range(max(map(len, FREE.values())))),
]
"""Every option once; those of groups that do not touch each other are composed together, as composing is what takes time."""


def composed(*overrides: str) -> DictConfig:
    return composed_as("train", *overrides)


def composed_as(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, overrides=list(overrides))


def partial(group: DictConfig) -> Any:
    return instantiate(group, _partial_=True, _convert_="all")


# ---------------------------------------------------------------- configurations


def test_all_groups_are_there() -> None:
    assert {
        "audit",
        "data",
        "debug",
        "experiment",
        "launcher",
        "logger",
        "model",
        "penalty",
        "problem",
        "regularizer",
        "schedule",
        "sweeper",
        "trainer",
    } <= set(GROUPS)


def test_every_option_is_composed() -> None:
    assert {each for chosen in COMPOSITIONS for each in chosen.items()} == set(OPTIONS)


@pytest.mark.parametrize("chosen", COMPOSITIONS, ids=lambda chosen: "-".join(f"{g}={o}" for g, o in chosen.items()))
def test_every_option_composes_and_its_objects_can_be_made(chosen: dict[str, str], tmp_path: Path) -> None:
    if "ray" in chosen.values():
        pytest.importorskip("ray", reason="the extra lipreg[ray] is not installed")
    # each exact engine covers one scope
    pointed = {"problem": ["audit=pointed"], "audit": ["problem=linf_margins_pointed"]}
    with_it = [
        more for group, option in chosen.items() if option.endswith("pointed") for more in pointed.get(group, [])
    ]
    cfg = composed(*(f"{group}={option}" for group, option in chosen.items()), *with_it, "seed=3")
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    problem = instantiate(cfg.problem)
    assert isinstance(problem, LocalLipschitz)
    regularizer = partial(cfg.regularizer)(problem=problem)
    assert isinstance(regularizer, LipschitzRegularizer | Baseline)
    assert isinstance(regularizer, Baseline) or regularizer.points.seed == 3
    audit = partial(cfg.audit)(problem=problem, folder=str(tmp_path), run="regularised")
    assert isinstance(audit, LipschitzAudit)
    assert audit.problem is problem
    assert isinstance(instantiate(cfg.model), pl.LightningModule)
    data = instantiate(cfg.data)
    assert isinstance(data, pl.LightningDataModule)
    assert data.seed == 3
    trainer = partial(cfg.trainer)(logger=False, default_root_dir=str(tmp_path))
    assert trainer.max_epochs == (1 if cfg.trainer.get("fast_dev_run") else cfg.trainer.max_epochs)
    if "regularizer" in chosen and isinstance(regularizer, LipschitzRegularizer):
        option = chosen["regularizer"]
        named = {"gradient_penalty": "gradient", "l1": "weight_l1"}.get(option, option.removesuffix("_pointed"))
        assert regularizer.term.quantity.label == named
        assert str(regularizer.bound) == (named if regularizer.lowers_bound else "affine_relu")
    for group in chosen.keys() & {"penalty", "schedule"}:
        assert getattr(regularizer.term, group).name == chosen[group]
    if chosen.get("logger", "none") != "none":
        assert callable(partial(cfg.logger))


def test_options_of_penalty_schedule_and_points_are_set_on_the_command_line() -> None:
    nested = ["penalty=hinge", "regularizer.penalty.target=3", "schedule=linear", "regularizer.schedule.batches=7"]
    cfg = composed(*nested, "regularizer.points.which=16", "regularizer.points.fixed=true", "seed=5")
    made = partial(cfg.regularizer)(problem=instantiate(cfg.problem))
    assert (made.term.penalty, made.term.schedule) == (Hinge(3), Linear(7))
    assert (made.points.count, made.points.fixed, made.points.seed) == (16, True, 5)
    cfg = composed("regularizer.penalty=log", "regularizer.points=4")
    made = partial(cfg.regularizer)(problem=instantiate(cfg.problem))
    assert made.term.penalty == Log()
    assert made.points.count == 4
    cfg = composed("experiment=held_bound")
    assert partial(cfg.regularizer)(problem=instantiate(cfg.problem)).term.schedule == Target(150.0)


def test_a_baseline_has_no_penalty_of_bounds() -> None:
    cfg = composed("regularizer=dropout", "penalty=hinge")
    with pytest.raises(Exception, match="penalty=hinge with schedule=constant"):
        partial(cfg.regularizer)(problem=instantiate(cfg.problem))


@pytest.mark.parametrize("name", ["linf_margins", "linf_margins_pointed", "l2_margins", "l1_margins", "whole_space"])
def test_every_problem_is_audited_by_the_usual_estimators(name: str) -> None:
    cfg = composed(f"problem={name}")
    problem = instantiate(cfg.problem)
    plan = partial(cfg.audit)(problem=problem).plan
    assert {recipe.estimator for recipe in plan.estimators} == set(usual_estimators(problem))
    with pytest.raises(Exception, match="nonsense"):
        partial(composed(f"problem={name}", "audit.estimators=[nonsense]").audit)(problem=problem)


def test_the_example_values_are_the_ones_in_the_question() -> None:
    cfg = composed("problem.region.radius=0.25", "problem.region.high=null")
    problem = instantiate(cfg.problem)
    assert problem.describe()["region"] == {"kind": "LinfBall", "norm": "inf", "radius": 0.25, "low": 0.0, "high": None}
    assert problem.scope == "regional"
    assert instantiate(composed("problem=linf_margins_pointed").problem).scope == "pointed"
    assert instantiate(composed("problem=l1_margins").problem).p == 1.0


def test_smoke_is_small() -> None:
    cfg = composed("experiment=smoke")
    assert cfg.trainer.max_epochs <= 2
    assert cfg.model.widths[0] == 64 and cfg.model.widths[-1] == 10


# ---------------------------------------------------------------- runs


def run(folder: Path, *overrides: str) -> Done:
    return run_here(folder, "experiments.train", *overrides)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory, programs: ForkServer) -> tuple[Path, Done]:
    """The program in a process of its own, as a user starts it; the other runs of this file are in this process."""
    folder = tmp_path_factory.mktemp("smoke")
    settings = ("experiment=smoke", "logger=wandb_offline", f"hydra.run.dir={folder / 'out'}")
    return folder / "out", run_there(programs, folder, "experiments.train", *settings)


def of_kind(records: list[Record], kind: type) -> list[Any]:
    return [r for r in records if isinstance(r, kind)]


def test_smoke_writes_everything(smoke: tuple[Path, Done]) -> None:
    folder, done = smoke
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for words in ("regularised", "twin", "combined", "affine_relu", "transfer", "validation accuracy"):
        assert words in done.stdout
    for name in ("records.jsonl", "report.html", "trajectory.png", "regularised.ckpt", "twin.ckpt"):
        assert (folder / name).stat().st_size > 0, name
    assert (folder / "trajectory.png").read_bytes().startswith(b"\x89PNG")
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")
    runs = sorted((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert len(runs) == 2, "a W&B run for each of the two trainings"
    assert all(path.stat().st_size > 1000 for path in runs)
    assert len(list((folder / "wandb").rglob("*.table.json"))) == 8, "records and points at two audits of each"
    (page,) = (folder / "wandb").rglob("*.html")
    assert page.read_text(encoding="utf-8") == (folder / "report.html").read_text(encoding="utf-8")


def test_each_run_at_w_and_b_says_its_own_weight_and_its_job(smoke: tuple[Path, Done]) -> None:
    folder, _ = smoke
    told = {}
    for run in (folder / "wandb").glob("offline-run-*"):
        leet = [Path(sys.executable).parent / "wandb", "leet", "inspect", "--json", run]
        lines = subprocess.run(leet, capture_output=True, text=True, timeout=600, check=True).stdout.splitlines()
        entries = list(map(json.loads, lines))
        found = next(entry["run"] for entry in entries if "run" in entry)
        settings = next(entry["config"]["update"] for entry in entries if "regularizer" in str(entry.get("config")))
        told[found["job_type"]] = {**found, **settings}
    assert set(told) == {"twin", "regularised"}
    assert [told[run]["regularizer"]["weight"] for run in ("twin", "regularised")] == [0.0, 0.001]
    assert [told[run]["weight"] for run in ("twin", "regularised")] == [0.0, 0.001]
    assert {found["run_group"] for found in told.values()} == {f"{folder.parent.name}/{folder.name}"}


def test_checkpoints_hold_plain_data_and_different_weights(
    smoke: tuple[Path, Done],
) -> None:
    folder, _ = smoke
    loaded = [torch.load(folder / f"{name}.ckpt", weights_only=True) for name in ("regularised", "twin")]
    one, two = (checkpoint["state_dict"] for checkpoint in loaded)
    assert one.keys() == two.keys()
    assert any(not torch.equal(one[key], two[key]) for key in one)
    assert [checkpoint["epoch"] for checkpoint in loaded] == [2, 2]
    for checkpoint in loaded:
        (audit,) = (state for key, state in checkpoint["callbacks"].items() if key.startswith("LipschitzAudit"))
        assert audit["points"][0].shape == (2, 64)


def test_records_of_both_runs(smoke: tuple[Path, Done]) -> None:
    folder, _ = smoke
    records = read_records(folder / "records.jsonl")
    twin, first = of_kind(records, RunRecord)
    assert (first.run, first.twin, first.seed, first.bound) == ("regularised", "twin", 0, "affine_relu")
    assert (twin.run, twin.twin, twin.weight) == ("twin", None, 0.0)
    assert first.weight > 0 and first.twin_id == twin.id and first.id not in ("", twin.id)
    ids = {"regularised": first.id, "twin": twin.id}
    assert all(r.run_id == ids[r.run] for r in (*of_kind(records, AuditRecord), *of_kind(records, EpochRecord)))
    assert first.settings["trainer"]["max_epochs"] == 2
    audits = of_kind(records, AuditRecord)
    assert {(r.run, r.epoch) for r in audits} == {(name, e) for name in ("regularised", "twin") for e in (0, 2)}
    assert {r.estimator for r in audits if r.penalised} == {"affine_relu"}
    for epoch in (0, 2):
        mine, other = (
            [
                (r.point, r.label, r.estimator, r.lower, r.upper, r.fingerprint)
                for r in audits
                if (r.run, r.epoch) == key
            ]
            for key in (("regularised", epoch), ("twin", epoch))
        )
        assert len(mine) == 2 * 6
        assert (mine == other) is (epoch == 0), "the same seed and weights at the start, others at the end"
    for name in ("regularised", "twin"):
        epochs = [r for r in of_kind(records, EpochRecord) if r.run == name]
        assert [r.epoch for r in epochs] == [1, 2]
        assert all(0 <= r.metrics["val_accuracy"] <= 1 for r in epochs)


def reduced(path: Path) -> list[dict[str, Any]]:
    """Records without what may differ between equal runs: seconds, ids, when and where, and settings with the folder."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        for name in ("seconds", "id", "run_id", "twin_id", "started", "process", "command"):
            data.pop(name, None)
        kept.append(data)
    return kept


def test_the_same_seed_gives_the_same_records(smoke: tuple[Path, Done], tmp_path: Path) -> None:
    folder, _ = smoke
    done = run(tmp_path, "experiment=smoke", f"hydra.run.dir={tmp_path / 'again'}", "logger=none")
    assert done.returncode == 0, done.stdout + done.stderr
    one, two = reduced(folder / "records.jsonl"), reduced(tmp_path / "again" / "records.jsonl")
    for data in (*one, *two):
        data.get("settings", {}).pop("logger", None)  # chosen otherwise on purpose
    assert one == two
    assert not (tmp_path / "again" / "wandb").exists()


def test_a_sweep_over_seeds(tmp_path: Path) -> None:
    tiny = ["trainer.max_epochs=1", "audit=bounds", "audit.points=1", "model.widths=[64,8,10]"]
    tiny += ["audit.estimators=[affine_relu,random_points]", "data.batch_size=400"]
    done = run(
        tmp_path, "-m", "experiment=smoke", "seed=0,1", "logger=none", f"hydra.sweep.dir={tmp_path / 'sweep'}", *tiny
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = sorted((tmp_path / "sweep").rglob("records.jsonl"))
    assert len(files) == 2
    seeds = [of_kind(read_records(file), RunRecord)[0].seed for file in files]
    assert sorted(seeds) == [0, 1]
    fingerprints = [{r.fingerprint for r in of_kind(read_records(file), AuditRecord) if r.epoch == 0} for file in files]
    assert all(len(prints) == 1 for prints in fingerprints)
    assert fingerprints[0] != fingerprints[1]


WRONG = {
    "problem.region.radius=-1": "radius -1.0 leaves a region without volume",
    "audit.estimators=[mip_pointed]": "scope 'regional' is not covered",
    "experiment=nope": "experiment=nope. Accepted: cifar_cnn, held_bound, l2_digits, mnist_lenet, pointed",
    "debug=fdrr": "debug=fdrr (did you mean 'fdr'?). Accepted: fdr",
    "penalty=hinges": "penalty=hinges (did you mean 'hinge'?). Accepted: hinge, layer_sum",
    "model.width=3": "there is no model.width (did you mean 'widths'?). Accepted: widths, learning_rate",
    "+model.hidden=16": "Classifier takes no model.hidden=16. Accepted: widths, learning_rate",
    "+audit.every=3": "takes no audit.every=3",
    "+trainer.max_epoch=3": "Trainer takes no trainer.max_epoch=3 (did you mean 'max_epochs'?)",
    "experimnt=l2_digits": "there is no experimnt (did you mean 'experiment'?)",
    "schedul=cosine": "(did you mean 'schedule'?). Accepted: data, model, trainer",
    "+debgu=fdr": "nothing takes debgu='fdr' (did you mean 'debug'?)",
    "schedul@regularizer=cosine": "there is no group schedul (did you mean 'schedule'?)",
    "+sed=1": "nothing takes sed=1 (did you mean 'seed'?)",
    "+limits.minute=3": "nothing takes limits.minute=3 (did you mean 'minutes'?)",
    "seed=abc": "seed='abc'. Accepted: a whole number from 0",
    "trainer.max_epochs=0": "trainer.max_epochs=0. Accepted: a whole number of at least 1",
    "trainer.max_epochs=-1": "trainer.max_epochs=-1. Accepted: a whole number of at least 1",
    "trainer.max_epochs=ten": "trainer.max_epochs='ten'. Accepted: a whole number or null",
    "trainer.accelerator=mps": "The configuration has trainer.accelerator=mps",
    "model.learning_rate=fast": "model.learning_rate='fast'. Accepted: a number",
    "model.widths=64": "model.widths=64. Accepted: a list, each a whole number",
    "model.widths=[12,10]": "Pass model.widths=[64,10]",
    "model.widths=[64]": "widths=[64]. Accepted: those of the input",
    "model._target_=experiments.models.Clasifier": "Clasifier",
    "data=file": "data.path has no value",
    "regularizer.weight=-1": "weight=-1. Accepted: a finite number of at least 0",
    "regularizer.weight=abc": "weight='abc'. Accepted: a finite number of at least 0",
    "regularizer.weight=nan": "weight=nan. Accepted: a finite number of at least 0",
    "checkpoint.every_n_epochs=0": "every_n_epochs=0. Accepted: a whole number of at least 1",
    "limits.memory_gib=0.01": "memory_gib=0.01, and",
    "hydra.run.dir=/dev/null/run": "/dev/null/run: Not a directory. Choose a folder that can be written",
    "model.widths": "'model.widths' is no override",
}


@pytest.mark.parametrize("override", WRONG)
def test_a_mistake_is_a_paragraph_and_exit_code_1_before_anything_is_trained(tmp_path: Path, override: str) -> None:
    wanted = ["experiment=smoke", "audit=bounds", "logger=none", f"hydra.run.dir={tmp_path / 'out'}"]
    done = run(
        tmp_path, *(given for given in wanted if given.partition("=")[0] != override.partition("=")[0]), override
    )
    assert done.returncode == 1
    text = done.stdout + done.stderr
    assert WRONG[override] in " ".join(text.split())
    assert "Traceback" not in text and "Error executing job" not in text and "audited" not in text
    message = done.stdout[re.search(r"^\w+: ", done.stdout, re.MULTILINE).end() :].strip()  # type: ignore[union-attr]
    assert "\n\n" not in message, "one paragraph"
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_key_of_ones_own_that_others_refer_to_is_no_mistake(tmp_path: Path) -> None:
    own = ["+rate=0.01", "model.learning_rate=${rate}", "debug=fdr", "audit=bounds", "audit.points=1"]
    assert run(tmp_path, "experiment=smoke", *own).returncode == 0


def test_all_that_the_job_reads_is_in_its_configuration() -> None:
    assert set(composed()) == set(KEYS)


def test_a_limit_of_memory_is_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: Any) -> None:
        raise ImportError("sklearn.so: failed to map segment from shared object")

    monkeypatch.setattr(DigitsDataModule, "load", lacking)
    done = run(tmp_path, "experiment=smoke", "logger=none", "limits.memory_gib=64")
    said = " ".join(done.stdout.split())
    assert done.returncode == 1 and "the memory limit of 64 GiB for each process is reached" in said
    assert "not installed" not in done.stdout + done.stderr


def test_a_folder_with_another_runs_records_is_refused(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text('{"schema": 1, "kind": "run", "run": "regularised"}\n')
    done = run(ROOT, "experiment=smoke", "logger=none", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert "holds the records of another run" in " ".join(done.stdout.split())
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 1
