"""Two processes train with a regularizer: python -m tests.callbacks.distributed_job DIR; each writes what it saw."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy

from lipreg import Points
from tests.callbacks.cases import Classifier, Gradients, batches, feed, fit, regularizer

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated and clipped": {"accumulate_grad_batches": 2, "gradient_clip_val": 0.05},
    "bf16-mixed": {"precision": "bf16-mixed"},
    "random points": {},
    "target": {},
    "every other": {},
    "auto": {},
    "auto, one without labels": {},
}


def labels_of_the_first(batch: Any) -> Any:
    """The batches of the second process have no labels."""
    x, y = batch
    return x, y if len(x) == 6 else torch.full_like(y, -1)


SETTINGS: dict[str, dict[str, Any]] = {
    "random points": {"points": 2},
    "target": {"schedule": {"kind": "target", "target": 0.3, "rate": 0.5}},
    "every other": {"every": 2},
    "auto": {"weight": "auto"},
    "auto, one without labels": {"weight": "auto", "points": Points("all", batch_to_inputs=labels_of_the_first)},
}


def share(rank: int) -> list[Any]:
    """The batches of a process: 6 points each on the first, 3 on the second."""
    draw = batches(4, size=9)
    return [(x[:6], y[:6]) if rank == 0 else (x[6:], y[6:]) for x, y in draw]


class Shared(Classifier):
    def train_dataloader(self) -> Any:
        return feed(share(self.trainer.global_rank))


def main(folder: Path) -> None:
    found: dict[str, Any] = {}
    for name, arguments in CASES.items():
        torch.manual_seed(0)
        model, notes = Shared(), Gradients()
        ours = regularizer(**SETTINGS.get(name, {}))
        # a parameter that the penalty alone uses would be missed, or refused, by other ways of adding it
        strategy = DDPStrategy(process_group_backend="gloo", find_unused_parameters=name == "plain")
        settings = {"strategy": strategy, "devices": 2, "use_distributed_sampler": False, **arguments}
        run = fit(model, None, ours, notes, **settings)
        logged = {key: value.item() for key, value in run.callback_metrics.items()}
        own = None if ours.term.last is None else float(ours.term.last.bounds.mean())
        found[name] = {"gradients": notes.seen, "logged": logged, "state": ours.state_dict(), "own": own}
    torch.save(found, folder / f"{run.global_rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
