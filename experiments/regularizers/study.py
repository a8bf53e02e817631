"""All jobs of the study in several processes; what is finished is kept at once, and not done again."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import platform
import signal
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from experiments.programs import progress_bar
from experiments.regularizers.jobs import TWIN, Job, Row, run
from experiments.regularizers.results import ResultFile
from lipreg.errors import InvalidInput

LINE_EVERY = 10
"""Where there is no terminal, one line of progress for so many jobs."""

DECIDING = ("data", "model", "trainer", "problem")
"""The groups of a job's configuration that decide its rows, beside its regulariser."""
AUDIT = ("points", "budget")
"""What the jobs take of that group; their estimators are their own."""


def jobs_of(cfg: DictConfig) -> list[Job]:
    """The study's jobs: a data set after the other, seed by seed, so that one cut short has whole seeds; twins first.

    Raises:
        InvalidInput: a data set without weights or epochs, or without its twin.
    """
    jobs: list[Job] = []
    for dataset in cfg.datasets:
        for seed in cfg.seeds:
            weights = cfg.weights.get(dataset, {})
            if dataset not in cfg.epochs or list(weights.get(TWIN, [])) != [0.0]:
                accepted = f"epochs.{dataset}, and weights.{dataset} with {TWIN}: [0.0]"
                raise InvalidInput(f"dataset {dataset!r}", where="study", accepted=accepted)
            names = sorted(weights, key=lambda name: name != TWIN)  # stable: the others keep their order
            jobs += [Job(dataset, name, float(w), seed) for name in names for w in weights[name]]
    return jobs


def run_study(cfg: DictConfig, console: Console) -> list[Job]:
    """Runs what is not in the result file yet.

    Returns:
        The jobs that failed, each reported on the console; empty when all is done.

    Raises:
        InvalidInput: the result file holds other settings.
    """
    file = ResultFile(cfg.results, asked_by(cfg))
    jobs = jobs_of(cfg)
    open_jobs = [job for job in jobs if not file.done(job)]
    failed: list[Job] = []
    with (
        progress_bar(console, "runs") as bar,
        _Pool(min(cfg.processes, len(open_jobs))) as pool,
    ):
        task = bar.add_task("", total=len(jobs), completed=len(jobs) - len(open_jobs), state="")
        for job, result in pool.results(open_jobs, cfg):
            if isinstance(result, BaseException):
                failed.append(job)
                console.print(f"failed: {job}: {type(result).__name__}: {result}", highlight=False, markup=False)
            else:
                file.append(result)
            done = len(jobs) - len(open_jobs) + pool.finished
            bar.update(task, completed=done, state=f"{job.dataset}, {job.regularizer}, seed {job.seed}")
            if not console.is_terminal and (done % LINE_EVERY == 0 or done == len(jobs)):
                console.print(f"{done} of {len(jobs)} runs", highlight=False)
    return failed


def asked_by(cfg: DictConfig) -> dict[str, Any]:
    """What decides the results beside each job's own name; strengths and seeds may be added later."""
    versions = {name: importlib.metadata.version(name) for name in ("lipreg", "torch")}
    asked: dict[str, Any] = {
        "epochs": OmegaConf.to_container(cfg.epochs),
        "pointed": OmegaConf.to_container(cfg.pointed),
    }
    twins = {name: Job(name, TWIN, 0.0, 0).configuration(cfg.overrides) for name in cfg.datasets}
    asked["settings"] = {
        name: {group: _given(twin[group]) for group in DECIDING}
        | {"audit": {key: OmegaConf.to_container(twin.audit)[key] for key in AUDIT}}  # type: ignore[call-overload,index]
        for name, twin in twins.items()
    }
    return {**asked, "machine": platform.machine(), **versions}


def _given(group: DictConfig) -> dict[str, Any]:
    """A group of a configuration without the questions' options that nobody has asked for."""
    settings: Any = OmegaConf.to_container(group, resolve=True)
    return {key: value for key, value in settings.items() if key not in ("scale", "measured") or value is not None}


class _Pool:
    """Jobs in processes of their own, a few at a time; 1 process is this one."""

    def __init__(self, processes: int) -> None:
        self.finished = 0
        context = multiprocessing.get_context("spawn")  # torch does not survive a fork well
        self._executor = ProcessPoolExecutor(processes, context, _ignore_interrupts) if processes > 1 else None

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=not any(error), cancel_futures=True)

    def results(self, jobs: Sequence[Job], cfg: DictConfig) -> Any:
        """Pairs of a job and its rows, or the exception that ended it, as they come."""
        arguments = {
            job: (job, tuple(cfg.epochs[job.dataset]), int(cfg.pointed[job.dataset]), tuple(cfg.overrides))
            for job in jobs
        }
        if self._executor is None:
            for job in jobs:
                self.finished += 1
                yield job, _attempt(*arguments[job])
            return
        waiting: dict[Future[Any], Job] = {self._executor.submit(_attempt, *arguments[job]): job for job in jobs}
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                self.finished += 1
                error = future.exception()  # a process that died takes all that waits with it
                yield waiting.pop(future), future.result() if error is None else error


def _attempt(job: Job, epochs: Sequence[int], pointed: int, overrides: Sequence[str]) -> list[Row] | Exception:
    try:
        return run(job, epochs, pointed, overrides)
    except Exception as error:  # one job must not sink the others
        return RuntimeError(f"{type(error).__name__}: {error}")


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's to handle
