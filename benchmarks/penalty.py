"""What the penalty adds to a training step, and how tight it is: python -m benchmarks.penalty [CASE ...]

``python -m benchmarks.penalty prices cuda`` takes the times of affine_relu on one device alone, in about a minute.

A step is forward, backward and Adam on 128 points. Steps with and without penalty alternate in one process, so that a
busy machine slows all of them; times are medians of the thread's processor time (of the wall clock on a GPU), and ratios
are of medians. A penalty at every fourth batch is timed over four steps together. Tightness is the penalised bound over the
best witness, geometric mean over 16 points of a network trained for a few epochs with the penalty; for p = 2 the bound is
the estimate that training uses. Memory is the largest sum of all tensors alive during a step (weights, gradients, optimizer,
batch, and what the step makes), over the plain step's. Written to benchmarks/results/penalty.json.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.environment import markdown, write_result
from lipreg import LinfBall, LipregError, LipschitzPenalty, LocalLipschitz
from lipreg.budget import Budget
from lipreg.data import DigitsDataModule
from lipreg.estimators import ESTIMATORS, frozen_analysis
from lipreg.estimators.settings import Settings

BATCH, SHARE, EVERY, WEIGHT, TIGHTNESS_POINTS = 128, 16, 4, 1e-3, 16


@dataclass(frozen=True)
class Case:
    """A network with data like what it is made for.

    Attributes:
        network: makes it.
        shape: of one input.
        radius: of the l_inf ball.
        repeats: how many steps of each kind are timed.
    """

    network: Callable[[], nn.Module]
    shape: tuple[int, ...]
    radius: float
    repeats: int


def mlp(*widths: int) -> nn.Module:
    """Linear layers with ReLUs between."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def lenet() -> nn.Module:
    """Two convolutions with stride in place of pooling, and two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


CASES = {
    "digits MLP 64-32-32-10": Case(lambda: mlp(64, 32, 32, 10), (1, 8, 8), 0.05, 500),
    "MNIST MLP 784-256-256-10": Case(lambda: mlp(784, 256, 256, 10), (1, 28, 28), 0.02, 100),
    "LeNet 8-16-84-10": Case(lenet, (1, 28, 28), 0.02, 60),
}
KINDS: list[tuple[Literal["all"] | int, int]] = [("all", 1), (SHARE, 1), (SHARE, EVERY)]
"""How many points are bounded, and at every how many batches."""
QUESTIONS: list[tuple[float, str]] = [(math.inf, "affine_relu"), (math.inf, "abs_chain"), (2.0, "affine_relu")]


def data(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Digits, enlarged to the shape where it is larger."""
    module = DigitsDataModule(seed=0)
    module.prepare_data()
    module.setup("fit")
    batches = [(batch[0], batch[1]) for batch in module.train_dataloader()]
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return nn.functional.interpolate(x.reshape(-1, 1, 8, 8), size=shape[1:], mode="bilinear"), y


class Step:
    """One training step of a network, with or without penalty."""

    def __init__(self, net: nn.Module, x: Tensor, y: Tensor, penalty: LipschitzPenalty | None, rate: float) -> None:
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


def medians(steps: dict[str, Step], repeats: int, device: str) -> dict[str, float]:
    """Milliseconds of each step, the steps taken in turn, those of a round of batches together."""
    clock = time.thread_time if device == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(repeats + 5):
        for name, step in steps.items():
            _wait(device)
            began = clock()
            for _ in range(step.round):
                step()
            _wait(device)
            if i >= 5:
                seconds[name].append((clock() - began) / step.round)
    return {name: 1e3 * statistics.median(times) for name, times in seconds.items()}


def peak(step: Step, device: str) -> float:
    """Largest sum of the sizes of the tensors of a step, in bytes."""
    step()
    parameters = list(step.net.parameters())
    held = [step.x, step.y, *parameters, *(p.grad for p in parameters if p.grad is not None)]
    held += [value for state in step.optimizer.state.values() for value in state.values()]
    if step.penalty is not None:
        held += step.penalty.held()
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


def tightness(case: Case, problem: LocalLipschitz, bound: str, device: str) -> float:
    """Penalised bound over best witness, on a network trained with the penalty."""
    torch.manual_seed(0)
    x, y = data(case.shape)
    net = case.network().to(device)
    step = Step(net, x, y, LipschitzPenalty(net, problem, bound=bound, weight=WEIGHT), 2e-3)
    for _ in range(10):
        for i in range(0, len(x), BATCH):
            step(x[i : i + BATCH].to(device), y[i : i + BATCH].to(device))
    x, y = x[:TIGHTNESS_POINTS].to(device), y[:TIGHTNESS_POINTS].to(device)
    assert step.penalty is not None
    step.penalty(x, y)
    assert step.penalty.last is not None
    # sampling needs no tight pre-activations, and linear ones take minutes on a convolutional network
    analysis = frozen_analysis(net, problem, x, y, ["interval"])
    intervals = ESTIMATORS["sampling"].intervals(analysis, Budget(), Settings(seed=0))
    ratios = [b / i.lower for b, i in zip(step.penalty.last.bounds.tolist(), intervals, strict=True)]
    return statistics.geometric_mean(ratios)


def measure(name: str, case: Case, device: str) -> list[dict[str, Any]]:
    """Rows of one network."""
    torch.manual_seed(0)
    x, y = data(case.shape)
    x, y = x[:BATCH].to(device), y[:BATCH].to(device)
    net = case.network().to(device)
    steps: dict[str, Step] = {"plain": Step(net, x, y, None, 1e-6)}
    for p, bound in QUESTIONS:
        problem = LocalLipschitz(LinfBall(case.radius, low=0.0, high=1.0), p=p)
        for points, every in KINDS:
            penalty = LipschitzPenalty(net, problem, bound=bound, weight=WEIGHT, points=points, every=every)
            steps[f"{p} {bound} {points} {every}"] = Step(net, x, y, penalty, 1e-6)
    found = medians(steps, case.repeats, device)
    memory = {step: peak(steps[step], device) for step in steps}
    rows = []
    for p, bound in QUESTIONS:
        problem = LocalLipschitz(LinfBall(case.radius, low=0.0, high=1.0), p=p)
        all_points, some, now_and_then = (f"{p} {bound} {points} {every}" for points, every in KINDS)
        rows.append(
            {
                "network": name,
                "device": device,
                "p": "inf" if p == math.inf else "2",
                "bound": bound,
                "plain step, ms": round(found["plain"], 3),
                f"all {BATCH} points, ms": round(found[all_points], 3),
                "ratio": round(found[all_points] / found["plain"], 2),
                f"{SHARE} points, ms": round(found[some], 3),
                f"ratio of {SHARE}": round(found[some] / found["plain"], 2),
                f"ratio of {SHARE} at every {EVERY}th": round(found[now_and_then] / found["plain"], 2),
                "memory": round(memory[all_points] / memory["plain"], 2),
                "bound / witness": round(tightness(case, problem, bound, device), 2),
            }
        )
    return rows


def prices(device: str, repeats: int = 60) -> list[dict[str, Any]]:
    """The times of all networks on one device, as ratios to the plain step."""
    rows = []
    for name, case in CASES.items():
        torch.manual_seed(0)
        x, y = data(case.shape)
        x, y = x[:BATCH].to(device), y[:BATCH].to(device)
        net = case.network().to(device)
        steps = {"plain": Step(net, x, y, None, 1e-6)}
        for p in (math.inf, 2.0):
            problem = LocalLipschitz(LinfBall(case.radius, low=0.0, high=1.0), p=p)
            for points, every in KINDS:
                penalty = LipschitzPenalty(net, problem, weight=WEIGHT, points=points, every=every)
                steps[f"p = {'inf' if p == math.inf else 2}, points {points}, every {every}"] = Step(
                    net, x, y, penalty, 1e-6
                )
        found = medians(steps, repeats, device)
        ratios = {step: round(found[step] / found["plain"], 2) for step in steps if step != "plain"}
        rows.append({"network": name, "device": device, "plain step, ms": round(found["plain"], 3), **ratios})
    return rows


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
    rows = []
    for name, case in CASES.items():
        if chosen and not any(word.lower() in name.lower() for word in chosen):
            continue
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            try:
                rows += measure(name, case, device)
            except LipregError as error:
                print(f"{name} is left out: {error}")
    print(markdown(rows))
    if not chosen:
        print(f"written to {write_result('penalty', rows)}")


if __name__ == "__main__":
    main(sys.argv[1:])
