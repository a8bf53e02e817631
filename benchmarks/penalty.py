"""What a penalty adds to a training step, and how tight it is: python -m benchmarks.penalty [images | CASE ...]

Without a word it takes the small networks, with ``images`` those of images' size, and writes their file of results;
``python -m benchmarks.penalty page`` puts both into docs/choosing.md. ``python -m benchmarks.penalty prices cuda`` takes
the times of affine_relu on one device alone, in about a minute. The penalties are the rows of
``benchmarks.penalty_terms.TERMS``.

A step is forward, backward and Adam on 128 points. Steps with and without penalty alternate in one process, so that a
busy machine slows all of them; times are medians of the thread's processor time (of the wall clock on a GPU), and ratios
are of medians. A penalty at every fourth batch is timed over four steps together. Tightness is the penalised bound over the
best witness, geometric mean over 16 points of a network trained for a few epochs with the penalty; for p = 2 the bound is
the estimate that training uses, and what is no bound has none. Memory is the largest sum of all tensors alive during a step
(weights, gradients, optimizer, batch, and what the step makes), over the plain step's. Written to
benchmarks/results/penalty.json and penalty_images.json.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.environment import markdown, read_result, write_result, write_tables
from benchmarks.penalty_cases import CASES, Case, data
from benchmarks.penalty_terms import TERMS, Named, Points, Term
from lipreg import LinfBall, LipregError, LipschitzPenalty, LocalLipschitz
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, frozen_analysis
from lipreg.estimators.settings import Settings

Key = tuple[int, tuple[Points, int]] | None
"""Which row of the terms, and of how many points at every how many batches; None for a step without."""
BATCH, SHARE, EVERY, TIGHTNESS_POINTS = 128, 16, 4, 16


KINDS: list[tuple[Points, int]] = [("all", 1), (SHARE, 1), (SHARE, EVERY)]
"""How many points are bounded, and at every how many batches."""


COLUMNS = {
    "plain step, ms": "plain step, ms",
    "ratio": f"{BATCH} points",
    f"ratio of {SHARE}": f"{SHARE} points",
    f"ratio of {SHARE} at every {EVERY}th": f"{SHARE}, `every={EVERY}`",
    "memory": "memory",
    "bound / witness": "bound / witness",
}
"""What of the results stands in docs/choosing.md, and under which names."""


class Step:
    """One training step of a network, with or without penalty."""

    def __init__(self, net: nn.Module, x: Tensor, y: Tensor, penalty: Term | None, rate: float) -> None:
        self.net, self.x, self.y, self.penalty = net, x, y, penalty
        self.optimizer = torch.optim.Adam(net.parameters(), lr=rate)
        self.round = 1 if penalty is None else penalty.every

    def __call__(self, x: Tensor | None = None, y: Tensor | None = None) -> None:
        x, y = self.x if x is None else x, self.y if y is None else y
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(x), y)
        if self.penalty is not None:
            loss = loss + self.penalty(x, y)
        loss.backward()
        self.optimizer.step()


def medians(steps: dict[Key, Step], repeats: int, device: str) -> dict[Key, float]:
    """Milliseconds of each step, the steps taken in turn, those of a round of batches together."""
    clock = time.thread_time if device == "cpu" else time.perf_counter
    seconds: dict[Key, list[float]] = {name: [] for name in steps}
    unmeasured = min(5, repeats // 2)
    for i in range(repeats + unmeasured):
        for name, step in steps.items():
            _wait(device)
            began = clock()
            for _ in range(step.round):
                step()
            _wait(device)
            if i >= unmeasured:
                seconds[name].append((clock() - began) / step.round)
    return {name: 1e3 * statistics.median(times) for name, times in seconds.items()}


def peak(step: Step, device: str) -> float:
    """Largest sum of the sizes of the tensors of a step, in bytes."""
    step()
    parameters = list(step.net.parameters())
    held = [step.x, step.y, *parameters, *(p.grad for p in parameters if p.grad is not None)]
    held += [value for state in step.optimizer.state.values() for value in state.values()]
    if step.penalty is not None:
        held += step.penalty.stored_tensors()
    there = sum(tensor.numel() * tensor.element_size() for tensor in held)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return there + torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    assert profiled.profiler is not None
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    return there + float(max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns()))))


def question(case: Case, p: float) -> LocalLipschitz:
    """The case's question in the norm of a row."""
    return LocalLipschitz(LinfBall(case.radius, low=0.0, high=1.0), p=p)


def tightness(case: Case, term: Named, device: str) -> float:
    """Penalised bound over best witness, on a network trained with the penalty."""
    torch.manual_seed(0)
    x, y = data(case.shape)
    net, problem = case.network().to(device), question(case, term.p)
    penalty = term.make(net, problem, "all", 1)
    assert isinstance(penalty, LipschitzPenalty)
    step = Step(net, x, y, penalty, 2e-3)
    for _ in range(case.epochs):
        for i in range(0, len(x), BATCH):
            step(x[i : i + BATCH].to(device), y[i : i + BATCH].to(device))
    x, y, net = x[:TIGHTNESS_POINTS].to(device), y[:TIGHTNESS_POINTS].to(device), net.eval()
    penalty(x, y)
    assert penalty.last is not None
    # sampling needs no tight pre-activations, and linear ones take minutes on a convolutional network
    analysis = frozen_analysis(net, problem, x, y, ["interval"])
    intervals = ESTIMATORS["sampling"].intervals(analysis, Budget(), Settings(seed=0))
    ratios = [b / i.lower for b, i in zip(penalty.last.bounds.tolist(), intervals, strict=True)]
    return statistics.geometric_mean(ratios)


def steps_of(case: Case, terms: list[Named], device: str) -> dict[Key, Step]:
    """A step without penalty, under no name, and one of every term and kind."""
    torch.manual_seed(0)
    x, y = data(case.shape)
    x, y = x[:BATCH].to(device), y[:BATCH].to(device)
    net = case.network().to(device)
    steps: dict[Key, Step] = {None: Step(net, x, y, None, 1e-6)}
    for row, term in enumerate(terms):
        for kind in KINDS:
            steps[row, kind] = Step(net, x, y, term.make(net, question(case, term.p), *kind), 1e-6)
    return steps


def measure(name: str, case: Case, device: str) -> list[dict[str, Any]]:
    """Rows of one network."""
    steps = steps_of(case, TERMS, device)
    found = medians(steps, case.repeats, device)
    memory = {key: peak(step, device) for key, step in steps.items() if key is None or key[1] == KINDS[0]}
    plain, rows = found[None], []
    for row, term in enumerate(TERMS):
        all_points, some, now_and_then = ((row, kind) for kind in KINDS)
        tight = round(tightness(case, term, device), 2) if term.bounds and case.epochs else "-"
        rows.append(
            {
                "network": name,
                "device": device,
                "p": ("inf" if term.p == math.inf else "2") if term.bounds else "-",
                "bound": term.name,
                "plain step, ms": round(plain, 3),
                f"all {BATCH} points, ms": round(found[all_points], 3),
                "ratio": round(found[all_points] / plain, 2),
                f"{SHARE} points, ms": round(found[some], 3),
                f"ratio of {SHARE}": round(found[some] / plain, 2),
                f"ratio of {SHARE} at every {EVERY}th": round(found[now_and_then] / plain, 2),
                "memory": round(memory[all_points] / memory[None], 2),
                "bound / witness": tight,
            }
        )
    return rows


def prices(device: str, repeats: int = 60) -> list[dict[str, Any]]:
    """The times of all networks on one device, as ratios to the plain step."""
    rows, terms = [], [term for term in TERMS if term.name == "affine_relu"]
    for name, case in CASES.items():
        found = medians(steps_of(case, terms, device), min(repeats, case.repeats), device)
        ratios = {}
        for row, term in enumerate(terms):
            for points, every in KINDS:
                said = f"p = {'inf' if term.p == math.inf else 2}, points {points}, every {every}"
                ratios[said] = round(found[row, (points, every)] / found[None], 2)
        rows.append({"network": name, "device": device, "plain step, ms": round(found[None], 3), **ratios})
    return rows


def table() -> str:
    """All results, as the table of docs/choosing.md."""
    rows = []
    for row in [row for name in ("penalty", "penalty_images") for row in read_result(name) if row["device"] == "cpu"]:
        named = {key: str(row[key]).removeprefix("-") for key in ("network", "p")}
        numbers = {key: row[key] for key in row if key in COLUMNS}
        rows.append({**named, "penalty": f"`{row['bound']}`", **{COLUMNS[key]: numbers[key] for key in COLUMNS}})
    return markdown(rows)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main(chosen: list[str]) -> None:
    torch.set_num_threads(1)
    if chosen[:1] == ["prices"]:
        device = chosen[1] if len(chosen) > 1 else "cpu"
        rows = prices(device)
        print(markdown(rows))
        print(f"written to {write_result(f'penalty_prices_{device}', rows)}")
        return
    if chosen == ["page"]:
        page = Path(__file__).parents[1] / "docs" / "choosing.md"
        write_tables(page, {"prices": table()})
        return
    rows, images = [], chosen == ["images"]
    for name, case in CASES.items():
        whole = not chosen or images
        if (case.epochs and images) or (not case.epochs and not chosen):
            continue
        if not whole and not any(word.lower() in name.lower() for word in chosen):
            continue
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            try:
                rows += measure(name, case, device)
            except LipregError as error:
                print(f"{name} is left out: {error}")
    print(markdown(rows))
    if not chosen or images:
        print(f"written to {write_result('penalty_images' if images else 'penalty', rows)}")


if __name__ == "__main__":
    main(sys.argv[1:])
