"""Audits of many points, by one process and by two: python -m benchmarks.audit [POINTS ...]

A 64-32-32-10 network trained on scikit-learn's digits for 40 epochs, all margins of the true class, regional scope, an l_inf
ball of radius 0.05 cut to the pixels' range, around the first 50 (and 200) validation points. The processes are started
before the clock is. Written to benchmarks/results/audit.json and printed as a table.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.environment import markdown, write_result
from benchmarks.tightness import train
from lipreg import LinfBall, LocalLipschitz
from lipreg.auditing import AuditPlan, Workers, audit
from lipreg.results import Certificate

WITHIN = 1e-3
"""Relative gap that counts as proved."""
BUDGET = 600.0


def measure(net: nn.Module, x: Tensor, y: Tensor, estimator: str, count: int) -> dict[str, Any]:
    """One audit: seconds, how many points are proved, and the widest gap."""
    plan = AuditPlan(LocalLipschitz(LinfBall(0.05, low=0.0, high=1.0)), [estimator, "sampling"], budget=BUDGET)
    with Workers(count) as workers:
        executor: Workers | int = 1 if count == 1 else workers
        audit(net, plan, x[:2], y[:2], workers=executor)
        began = time.monotonic()
        points = audit(net, plan, x, y, workers=executor)
        seconds = time.monotonic() - began
    exact = [point.exact for point in points]
    return {
        "points": len(x),
        "estimator": estimator,
        "processes": count,
        "seconds": round(seconds, 2),
        "exact": sum(i.certificate is Certificate.EXACT for i in exact),
        "within 0.1 %": sum(i.gap <= WITHIN for i in exact),
        "widest gap": f"{max(i.gap for i in exact):.1e}",
    }


def main() -> None:
    torch.set_num_threads(1)
    model, x, y = train(max(counts := [int(c) for c in sys.argv[1:]] or [50, 200]))
    rows = []
    for points in counts:
        for processes in (1, 2):
            rows.append(measure(model.net, x[:points], y[:points], "mip", processes))
            print(rows[-1], flush=True)
    print(markdown(rows))
    print(f"written to {write_result('audit', rows)}")


if __name__ == "__main__":
    main()
