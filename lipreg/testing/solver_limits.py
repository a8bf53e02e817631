"""How a solver ends: by its limits, stopped from outside, beside others, without printing."""

from __future__ import annotations

import _thread
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from lipreg.budget import Budget
from lipreg.milp import SOLVERS, Program, SolverOutcome, get_solver, installed_solvers
from lipreg.results import Status
from lipreg.testing import programs, solving
from lipreg.testing.failures import expect, expect_near
from lipreg.testing.programs import knapsack, program
from lipreg.testing.solving import check_optimal, outcome_text, solve


def _expect_outcome(outcome: SolverOutcome, status: Status, low: float, high: float, description: str) -> None:
    """The outcome has that status, and a claim between two ends."""
    right = outcome.status is status and low <= outcome.claimed <= high
    any_claim = low == -math.inf and high >= np.finfo(float).max
    claim = "any finite claim" if any_claim else f"a claim between {low} and {high}"
    expect(right, f"{description}: {outcome_text(outcome)} where {status.value!r} and {claim} are right")


def time_limits(name: str, seed: int) -> None:
    """A time limit leaves a true bracket, whether there is a point yet, and however little time there was."""
    instance, began = programs.split(40), time.monotonic()
    outcome = solve(name, instance, seconds=0.6)
    expect(time.monotonic() - began < 30, f"{name}: {time.monotonic() - began:.1f} s for a limit of 0.6 s")
    _expect_outcome(
        outcome, Status.TIME_LIMIT, outcome.incumbent, 1e-6, f"{name}: a split after 0.6 s"
    )  # 0 bounds the optimum
    if outcome.point is not None:  # an engine without heuristics has none yet; else it is what its own binaries give
        binaries = outcome.point[:40].round()
        attained = -np.abs(instance.matrix.toarray()[:, :40] @ binaries - instance.right).sum()
        expect_near(outcome.incumbent, attained, f"{name}: a split's incumbent", 1e-6, 1e-4)
    outcome = solve(name, programs.hidden_split(40)[0], seconds=0.3)
    _expect_outcome(outcome, Status.TIME_LIMIT, -1e-6, math.inf, f"{name}: a split whose optimum is 0, after 0.3 s")
    expect(outcome.incumbent <= 1e-6, f"{name}: {outcome_text(outcome)} of a split whose optimum is 0")
    for seconds in (1e30, math.inf):
        expect(solve(name, knapsack(), seconds=seconds).status is Status.PROVED, f"{name}: with {seconds} s not solved")
    instance, binaries = programs.strict_split(60)
    outcome = solve(name, instance, seconds=0.3)  # no more than every variable at its end
    _expect_outcome(outcome, Status.TIME_LIMIT, float(binaries.sum()), 60 + 1e-6, f"{name}: a limit before any point")
    expect(outcome.point is None and not outcome.claims_infeasible, f"{name}: {outcome_text(outcome)} before any point")
    instance = programs.dense(200)
    least = float(instance.cost @ (np.arange(200) < 40))  # 40 ones never exceed a row's 40
    for seconds in (0.001, 1e-9, 0.0):
        for integers in (200, 0):
            outcome = solve(name, replace(instance, integer=np.arange(integers)), seconds=seconds)
            _expect_outcome(
                outcome,
                Status.TIME_LIMIT,
                least,
                instance.cost.sum() + 1e-6,
                f"{name}: {seconds} s, {integers} integers",
            )


def node_limits(name: str, seed: int) -> None:
    """A node limit leaves a true bracket."""
    instance, _ = programs.hidden_split(40)
    one, more = (solve(name, instance, nodes=nodes) for nodes in (1, 20))
    for outcome in (one, more):
        _expect_outcome(outcome, Status.NODE_LIMIT, -1e-6, math.inf, f"{name}: a split whose optimum is 0")
        expect(outcome.incumbent <= 1e-6, f"{name}: {outcome_text(outcome)} of a split whose optimum is 0")
    expect(one.nodes <= 1 < more.nodes <= 25, f"{name}: {one.nodes} nodes of 1, {more.nodes} of 20")


def gaps(name: str, seed: int) -> None:
    """A gap ends the search, and is one of the whole objective, offset included."""
    rng = np.random.default_rng(1)
    instance = program(rng.uniform(1, 2, 40).tolist(), rng.uniform(0, 1, (20, 40)).tolist(), [6.0] * 20)
    outcome = solve(name, instance, gap=0.2)
    gap = outcome.claimed / outcome.incumbent - 1
    right = outcome.status is Status.PROVED and 1e-4 < gap <= 0.2 * (1 + 1e-6)
    expect(right, f"{name}: gap {gap} where 0.2 was asked for: {outcome_text(outcome)}")
    outcome = solve(name, knapsack(offset=1000.0), gap=0.2)  # 200: every point of the knapsack is that good
    right = outcome.status is Status.PROVED and 1000 <= outcome.incumbent <= 1023 + 1e-6
    expect(right, f"{name}: a gap of 0.2 of 1000: {outcome_text(outcome)}")
    check_optimal(name, knapsack(offset=-22.9), 0.1, gap=1e-3)


def targets(name: str, seed: int) -> None:
    """A target ends the search once a point attains it."""
    outcome = solve(name, programs.split(40), target=-1000.0)
    right = outcome.status is Status.TIME_LIMIT and outcome.incumbent >= -1000.0 - 1e-6
    expect(right, f"{name}: a split with target -1000: {outcome_text(outcome)}")
    check_optimal(name, knapsack(), 23, target=24.0)  # out of reach
    check_optimal(name, knapsack(offset=5.0), 28, target=28.0)


def cutoffs(name: str, seed: int) -> None:
    """A row that demands an objective of at least so much keeps an optimum above it; below, the program is infeasible."""
    for cutoff in (23 - 1e-4, 20.5, -5.0):
        check_optimal(name, knapsack(offset=1.0).at_least(1.0 + cutoff), 24)
    for cutoff in (23 + 1e-4, 30.0, 1e6):
        check_optimal(name, knapsack(offset=1.0).at_least(1.0 + cutoff), -math.inf)


def _stopped_after(name: str, instance: Program, wait: float) -> tuple[SolverOutcome, float]:
    """The outcome of a run that is interrupted, and the seconds of computing from the event to its end.

    Seconds of the processor, which other processes do not lengthen as they do those of the clock.
    """
    stop, at = threading.Event(), [math.inf]

    def interrupt() -> None:
        at[0] = time.process_time()
        stop.set()

    timer = threading.Timer(wait, interrupt)
    timer.start()
    outcome = solve(name, instance, seconds=60.0, stop=stop, stopped=wait)
    took = time.process_time() - at[0]
    timer.cancel()
    return outcome, took


def stops(name: str, seed: int) -> None:
    """A stop interrupts long before the limit would, and one that was set before ends a run at once.

    How soon is the engine's: SCIP ends the linear program that it is at, which takes it seconds on a slow machine.
    """
    for instance in (programs.split(50), programs.dense(1000)):
        outcome, took = _stopped_after(name, instance, 0.3)
        _expect_outcome(outcome, Status.INTERRUPTED, -math.inf, np.finfo(float).max, f"{name}: stopped after 0.3 s")
        expect(took < 10.0, f"{name}: {took:.2f} s from the stop to the end")
    outcome, _ = _stopped_after(name, programs.split(50), 0.0)
    expect(outcome.status is Status.INTERRUPTED, f"{name}: stopped at its start: {outcome_text(outcome)}")
    stop, began = threading.Event(), time.monotonic()
    stop.set()
    outcome = solve(name, programs.split(50), seconds=60.0, stop=stop, stopped=0.0)
    right = outcome.status is Status.INTERRUPTED and time.monotonic() - began < 30
    expect(right, f"{name}: stopped before its start: {outcome_text(outcome)}")


def ctrl_c(name: str, seed: int) -> None:
    """Ctrl-C ends a run, is raised, and leaves the engine whole; only in the main thread, which alone gets it."""
    if threading.current_thread() is not threading.main_thread():
        return
    began = time.monotonic()
    # a second Ctrl-C ends the wait for an engine that does not hear the first one
    timers = [threading.Timer(seconds, _thread.interrupt_main) for seconds in (0.3, 0.3 + solving.PATIENCE)]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        outcome = get_solver(name).solve(programs.split(50), Budget(60.0))  # in this thread
    except KeyboardInterrupt:
        waited = time.monotonic() - began
        expect(waited < solving.PATIENCE, f"{name}: Ctrl-C after {waited:.0f} s of 60; budget.stop is set by it")
    else:
        expect(False, f"{name}: Ctrl-C is lost: {outcome_text(outcome)}")
    finally:
        for timer in timers:
            timer.cancel()
    check_optimal(name, knapsack(), 23)


@contextmanager
def _printed() -> Iterator[list[bytes]]:
    """What is written to the process's own standard output and error inside the block, by whatever code."""
    output: list[bytes] = []
    with tempfile.TemporaryFile() as file:
        originals = [os.dup(stream) for stream in (1, 2)]
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        try:
            yield output
        finally:
            for stream, original in zip((1, 2), originals, strict=True):
                os.dup2(original, stream)
                os.close(original)
            file.seek(0)
            output.append(file.read())


def silence(name: str, seed: int) -> None:
    """Nothing is printed."""
    with _printed() as output:
        for instance in (knapsack(), knapsack(integers=False), program([1], [[1]], [-1])):
            solve(name, instance)
        solve(name, programs.split(30), seconds=0.2)
    expect(not output[0], f"{name} prints {output[0][:200]!r}")


def neighbours(name: str, seed: int) -> None:
    """Runs side by side in threads, and runs of other solvers in between, do not disturb each other."""
    optima: dict[int, float] = {}

    def one(k: int) -> None:
        optima[k] = solve(name, knapsack(offset=float(k)), threads=1 + k % 2).incumbent

    threads = [threading.Thread(target=one, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(len(optima) == 4, f"{name}: side by side only {sorted(optima)} of four runs ended")
    expect_near([optima[k] for k in range(4)], [23 + k for k in range(4)], f"{name}: four runs side by side", 1e-6)
    for other in sorted(SOLVERS.own().keys() & installed_solvers()):
        for turn in (name, other, name):
            check_optimal(turn, knapsack(), 23, threads=2 if turn == other else 1)


def repeats(name: str, seed: int) -> None:
    """The same program is solved the same way."""
    instance, _ = programs.hidden_split(20)
    first, second = (solve(name, instance, nodes=30) for _ in range(2))
    ends = [(outcome.incumbent, outcome.claimed, outcome.nodes) for outcome in (first, second)]
    expect(ends[0] == ends[1], f"{name}: incumbent, claim and nodes of one program: {ends[0]} and then {ends[1]}")
