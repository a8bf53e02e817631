"""Every choice of the regularizer group trains, on both data sets and in a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate

from lipreg.callbacks import LipschitzRegularizer
from tests.conftest import ROOT
from tests.experiments.programs import GROUPS, run_here
from tests.experiments.test_mnist import write as write_mnist
from tests.experiments.test_train import composed, partial
from tests.sampling import one_in

TWIN, POINTED, BOUNDS = "none", "affine_relu_pointed", ("spectral", "affine_relu", "abs_chain", "fastlip")
TINY = ["model.widths=[64,6,10]", "data.batch_size=400", "data.validation_share=0.05", "audit.points=2"]
CHOICES = sorted(file.stem for folder in GROUPS for file in (folder / "regularizer").glob("*.yaml"))


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


@pytest.mark.usefixtures("undrawn")
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
