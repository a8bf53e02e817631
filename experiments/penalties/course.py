"""One seed: the twin, then every penalty at every strength, each trained, and compared with the twin at the same points."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

from experiments.penalties.jobs import TWIN, Job
from experiments.programs import quiet_libraries
from experiments.result_file import Row
from lipreg.callbacks import LipschitzRegularizer
from lipreg.comparisons import compare
from lipreg.data import InMemoryDataModule
from lipreg.points import Inputs
from lipreg.problem import LocalLipschitz
from lipreg.transfer import Comparison, Interval

DATASET = "digits"
ESTIMATORS = ("jacobian_crown", "branch_and_bound")
"""Of the audits: the closest bound in closed form, and the exact engine."""
EQUAL_ACCURACY = 0.01
"""How far the accuracy may lie below the twin's and still count as equal."""


def run_seed(cfg: DictConfig, seed: int) -> list[Row]:
    """Trains and compares everything of one seed in this process, on one thread.

    Returns:
        One row for the twin and for each penalty and strength. A training that diverged has no more than its accuracy.
    """
    quiet_libraries(logging.ERROR)
    torch.set_num_threads(1)
    twin, data, problem, _ = _trained(cfg, TWIN, 0.0, seed)
    selection, calibration, audited = _parts(cfg, data)
    about = {"seed": seed, "accuracy": _accuracy(twin, selection)}
    rows: list[Row] = []
    for name, weight, auto in strengths(cfg):
        net, _, _, (quantity, certificate) = _trained(cfg, name, weight, seed, auto)
        row: Row = {
            "penalty": name,
            "weight": weight,
            "auto": auto,
            "seed": seed,
            "accuracy": _accuracy(net, selection),
        }
        row |= {"quantity": quantity, "certificate": certificate}
        if torch.isfinite(net(audited[0])).all():
            found = compare(net, twin, problem, *audited, estimators=ESTIMATORS, budget=600.0, calibration=calibration)
            row |= _figures(found)
            rows = rows or [{"penalty": TWIN, "weight": 0.0, "auto": False, **about, **_own(found, "twin")}]
        rows.append(row)
    return rows


def strengths(cfg: DictConfig) -> list[tuple[str, float, bool]]:
    """Each penalty's name and strength, and whether that is the fraction of an automatic weight."""
    groups = ((cfg.weights, False), (cfg.auto, True))
    return [(str(name), float(w), auto) for of, auto in groups for name, weights in of.items() for w in weights]


def _trained(
    cfg: DictConfig, name: str, weight: float, seed: int, auto: bool = False
) -> tuple[nn.Module, InMemoryDataModule, LocalLipschitz, tuple[str, str]]:
    """A network in evaluation mode, the data that it saw, the question, and what is penalised, with its certificate."""
    found = [f"regularizer.weight={{fraction:{weight}}}"] if auto else []
    own = Job(DATASET, name, weight, seed).configuration([f"trainer.max_epochs={cfg.epochs}", *found, *cfg.overrides])
    pl.seed_everything(seed, verbose=False)
    data, model = instantiate(own.data), instantiate(own.model)
    problem: LocalLipschitz = instantiate(own.problem)
    regularizer = instantiate(own.regularizer, _partial_=True, _convert_="all")(problem=problem)
    trainer: pl.Trainer = instantiate(own.trainer, _partial_=True, _convert_="all")(
        logger=False, barebones=True, log_every_n_steps=0, callbacks=[regularizer]
    )
    trainer.fit(model, datamodule=data)
    term = regularizer.term if isinstance(regularizer, LipschitzRegularizer) else None
    return model.eval(), data, problem, ("", "") if term is None else (term.quantity.label, term.certificate.value)


def _parts(cfg: DictConfig, data: InMemoryDataModule) -> tuple[Inputs, Inputs, Inputs]:
    """Validation points to choose strengths by, to calibrate with, and to audit; no point is in two of them."""
    x, y = data.validation_set.tensors
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    parts = order[: cfg.selection + cfg.calibration + cfg.audited].split([cfg.selection, cfg.calibration, cfg.audited])
    chosen, calibrating, audited = ((x[part], y[part]) for part in parts)
    return chosen, calibrating, audited


def _accuracy(net: nn.Module, points: Inputs) -> float:
    x, y = points
    with torch.no_grad():
        right: Tensor = net(x).argmax(1) == y
    return round(float(right.double().mean()), 6)


def _figures(found: Comparison) -> Row:
    """A run's own figures, and those against the twin."""
    moved = found.calibrated.movement
    against = {
        "margin_ratio": _middle(found.margin_ratio),
        "calibrated_movement": _middle(moved.combined),
        "movement": _middle(found.movement.combined),
        "transfer": _middle(moved.transfer),
        "noise": round(found.calibrated.noise, 4),
        "worse": list(found.calibrated.worse),
    }
    return {**_own(found, "regularised"), **against}


def _own(found: Comparison, side: str) -> dict[str, Any]:
    figures = getattr(found, side)
    calibration = figures.calibration
    return {
        "margin_over_constant": _middle(figures.margin_over_constant),
        "combined": _middle(figures.combined),
        "share_exact": figures.share_exact,
        "factor": calibration and calibration.factor,
        "certified": figures.certified and figures.certified.lower,
        "certified_closed": figures.certified_closed,
        "attacked": figures.attacked,
    }


def _middle(interval: Interval | None) -> float | None:
    return None if interval is None or not math.isfinite(interval.midpoint) else float(f"{interval.midpoint:.7g}")
