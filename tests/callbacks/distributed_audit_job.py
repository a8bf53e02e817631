"""Two processes train with an audit: python -m tests.callbacks.distributed_audit_job DIR; each writes what it saw."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy

from lipreg.callbacks import Beside, LipschitzAudit
from tests.callbacks.test_audit import PROBLEM, Model, dataset, train
from tests.given import composed

SETTINGS: dict[str, Any] = {
    "problem": PROBLEM,
    "points": 17,  # more than a block, and an odd number
    "estimators": ("mip", "fastlip", "random_points"),
    "budget": 300.0,
    "progress": False,
    "certificates": True,
    "every_n_epochs": 9,
    "reference_points": dataset()[:17],
}


def one_run(folder: Path, **settings: Any) -> dict[str, Any]:
    """A training that moves no weight, so that one process and two audit the same network."""
    torch.manual_seed(0)
    executor = settings.pop("executor", None)
    ours = LipschitzAudit(**composed(**SETTINGS), executor=executor, folder=str(folder))
    model = Model()
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=0.0)  # type: ignore[method-assign]
    model.net[1].momentum = 0.0  # type: ignore[union-attr]
    trainer = train(model, ours, folder=folder, max_epochs=1, **settings)
    metrics = {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("audit/")}
    return {"metrics": metrics, "last": len(ours.last), "rank": trainer.global_rank}


def main(folder: Path) -> None:
    found = {}
    for name, executor in (("here", "inline"), ("beside", Beside())):
        strategy = DDPStrategy(process_group_backend="gloo")
        found[name] = one_run(folder / name, strategy=strategy, devices=2, executor=executor)
    torch.save(found, folder / f"{found['here']['rank']}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
