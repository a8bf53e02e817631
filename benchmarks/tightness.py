"""How far each estimator is from the truth, and what it costs: python -m benchmarks.tightness

A 64-32-32-10 network trained on scikit-learn's digits for 40 epochs, margins of the true class, regional scope, an l_inf
ball cut to the pixels' range around 8 validation points. Written to benchmarks/results/tightness.json and printed as a
table.
"""

from __future__ import annotations

import statistics
import time

import pytorch_lightning as pl
import torch

from benchmarks.environment import markdown, write_result
from experiments.models import Classifier
from lipreg import LinfBall, LocalLipschitz
from lipreg.data import DigitsDataModule
from lipreg.estimators import ESTIMATORS, Effort, frozen_analysis
from lipreg.results import Certificate, CertifiedInterval

POINTS = 8
ELSEWHERE = {"lipmip"}
"""Estimators that another benchmark measures: benchmarks.mip."""


def train(points: int = POINTS) -> tuple[Classifier, torch.Tensor, torch.Tensor]:
    """The network, and the first validation points, at which it is measured."""
    pl.seed_everything(0, verbose=False)
    model, data = Classifier(), DigitsDataModule(seed=0)
    trainer = pl.Trainer(
        max_epochs=40,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    batches = list(data.val_dataloader())
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    return model, x[:points], y[:points]


def _end(interval: CertifiedInterval) -> float:
    """The number that the method stands for."""
    if interval.certificate is Certificate.ESTIMATE and interval.estimate is not None:
        return interval.estimate
    return interval.lower if interval.certificate is Certificate.LOWER else interval.upper


def main() -> None:
    torch.set_num_threads(1)
    model, x, y = train()
    rows = []
    for p in ("inf", "2", "1"):
        for radius in (0.02, 0.05):
            problem = LocalLipschitz(LinfBall(radius, low=0.0, high=1.0), p=float(p))
            analysis = frozen_analysis(model.net, problem, x, y)
            found, seconds = {}, {}
            for name, estimator in ESTIMATORS.items():
                if name in ELSEWHERE or estimator.uncovered(problem) is not None:
                    continue
                began = time.perf_counter()
                found[name] = estimator.intervals(analysis, Effort(seconds=120.0))
                seconds[name] = (time.perf_counter() - began) / POINTS
            # the exact value where an engine proves it, the best witness elsewhere
            exact = "mip" in found
            truth = [i.lower for i in found["mip" if exact else "sampling"]]
            for name, intervals in found.items():
                ratio = statistics.geometric_mean(_end(i) / t for i, t in zip(intervals, truth, strict=True))
                rows.append(
                    {
                        "p": p,
                        "radius": radius,
                        "undecided units": round(float(analysis.unstable_units().double().mean()), 1),
                        "estimator": name,
                        "certificate": ESTIMATORS[name].certificate.value,
                        "over": "exact" if exact else "best witness",
                        "ratio": f"{ratio:.3f}",
                        "ms a point": f"{1e3 * seconds[name]:.2f}",
                    }
                )
    print(markdown(rows))
    print(f"written to {write_result('tightness', rows)}")


if __name__ == "__main__":
    main()
