"""Audits of many points by one process, by several, and on Ray: python -m benchmarks.audit [--points 50 200] [--repeats 3]

A 64-32-32-10 network trained on scikit-learn's digits for 40 epochs, all margins of the true class, regional scope, an l_inf
ball of radius 0.05 cut to the pixels' range, around the first validation points. Left out of the clock: the start of
processes, and a first audit in which every one of them has done its first task (imports, first calls). The ways are taken
in turn, so that a change of the load meets all of them, and the middle of the repeats counts. A Ray cluster is busy even
when nothing is asked of it, so there is none while this process and several are compared; Ray is compared with processes
that have an idle cluster beside them. The wall clock is what is asked for; CPU seconds, of this process and all below it,
tell what other programs have added to it: on a quiet machine with a core for each worker, wall = CPU / workers, nearly. On a
virtual machine, "stolen" is the share of all cores' time that its host gave to others meanwhile: measurements with more of
it than --stolen are made again, --tries times at most. All ways must prove the same numbers to the last digit. Written to
benchmarks/results/audit.json and printed as a table.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from benchmarks.environment import markdown, write_result
from experiments.models import Classifier
from lipreg import LinfBall, LocalLipschitz
from lipreg.auditing import AuditPlan, Executor, Inline, Processes, Ray, audit
from lipreg.data import DigitsDataModule
from lipreg.results import Certificate

WITHIN = 1e-3
"""Relative gap that counts as proved."""
BUDGET = 600.0
WARM_UP = 8
"""Points of the audits that are not measured."""
CLOCK = os.sysconf("SC_CLK_TCK")

Way = tuple[str, int, Executor]


def train(points: int) -> tuple[Classifier, torch.Tensor, torch.Tensor]:
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


def warm_up(net: nn.Module, x: Tensor, y: Tensor, plan: AuditPlan, pool: Executor) -> None:
    """Until every process has started and worked."""
    ready = 0
    while ready < 2:
        audit(net, plan, x[:WARM_UP], y[:WARM_UP], executor=pool)
        ready += pool is None or sum(p.ready for p in pool._processes) == pool.slots


def measure(net: nn.Module, x: Tensor, y: Tensor, plan: AuditPlan, way: Way) -> dict[str, Any]:
    """One audit: seconds on the wall and of CPUs, how many points are proved, and the widest gap."""
    name, count, pool = way
    cpu, stolen, began = cpu_seconds(), stolen_seconds(), time.monotonic()
    points = audit(net, plan, x, y, executor=pool)
    seconds = time.monotonic() - began
    exact = [point.combined for point in points]
    return {
        "points": len(x),
        "estimator": plan.estimators[0],
        "executor": name,
        "workers": count,
        "seconds": round(seconds, 2),
        "CPU seconds": round(cpu_seconds() - cpu, 2),
        "stolen": round((stolen_seconds() - stolen) / seconds / (os.cpu_count() or 1), 3),
        "exact": sum(i.certificate is Certificate.EXACT for i in exact),
        "within 0.1 %": sum(i.gap <= WITHIN for i in exact),
        "widest gap": f"{max(i.gap for i in exact):.1e}",
        "ends": [(i.lower, i.upper) for i in exact],
    }


def cpu_seconds() -> float:
    """Of this process and all below it, the dead ones that were waited for included."""
    below, ticks = {os.getpid()}, 0
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        stats[int(path.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    while new := {pid for pid, (parent, _) in stats.items() if parent in below} - below:
        below |= new
    ticks = sum(stats[pid][1] for pid in below if pid in stats)
    return ticks / CLOCK


def stolen_seconds() -> float:
    """Of all cores, by the host of a virtual machine since it started; 0 where the system does not say."""
    try:
        return int(Path("/proc/stat").read_text().split()[8]) / CLOCK
    except (OSError, ValueError, IndexError):
        return 0.0


def typical(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The middle row of each way, the span of all, and for how much faster it is than one process."""
    ways: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        ways.setdefault((row["points"], row["executor"], row["beside"]), []).append(row)
    table = []
    for (points, _, beside), repeats in ways.items():
        ordered = sorted(repeats, key=lambda r: r["seconds"])
        middle = ordered[len(ordered) // 2]
        alone, two = (
            statistics.median(r["seconds"] for r in ways[points, *way])
            for way in (("inline", "nothing"), ("processes", beside))
        )
        table.append(
            {
                **{name: value for name, value in middle.items() if name not in ("ends", "stolen")},
                "repeats": f"{len(ordered)}, {ordered[0]['seconds']} to {ordered[-1]['seconds']} s",
                "stolen": f"{middle['stolen']:.1%}",
                "times inline": round(alone / middle["seconds"], 2),
                "against processes": f"{middle['seconds'] / two - 1:+.0%}",
            }
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--estimator", default="branch_and_bound")
    parser.add_argument("--stolen", type=float, default=0.02)
    parser.add_argument("--tries", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, x, y = train(max(arguments.points))
    problem = LocalLipschitz(LinfBall(0.05, low=0.0, high=1.0))
    plan = AuditPlan(problem, [arguments.estimator, "sampling"], budget=BUDGET)
    rows: list[dict[str, Any]] = []
    count, ray = arguments.workers, importlib.util.find_spec("ray") is not None
    for beside in ("nothing", "an idle Ray cluster")[: 1 + ray]:
        with ExitStack() as pools:
            asked: list[Way] = [("inline", 1, Inline()), ("processes", count, pools.enter_context(Processes(count)))]
            if beside != "nothing":
                asked = [asked[1], ("ray", count, pools.enter_context(Ray(count)))]
            for _, _, pool in asked:
                warm_up(model.net, x, y, plan, pool)
            for points in arguments.points:
                for _ in range(arguments.repeats):
                    for way in asked:
                        for _ in range(arguments.tries):
                            row = measure(model.net, x[:points], y[:points], plan, way)
                            if row["stolen"] <= arguments.stolen:
                                break
                        rows.append({"beside": beside, **row})
                        print({name: value for name, value in rows[-1].items() if name != "ends"}, flush=True)
                        same = next(r["ends"] for r in rows if r["points"] == points)
                        if rows[-1]["ends"] != same:
                            raise AssertionError(f"{way[0]} proves other numbers than {rows[0]['executor']}")
    table = typical(rows)
    print(markdown(table))
    print(f"written to {write_result('audit', table)}")


if __name__ == "__main__":
    main()
