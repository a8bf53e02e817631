"""Jobs of a sweep: each says in ``job.json`` how it went, and one ``manifest.json`` lists them all.

A job that fails is reported with its overrides and does not end the sweep. A sweep that was killed and is started again by
the same command goes on: what a job's folder holds is taken up by the job itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.limits import LimitReached, limited
from experiments.mistakes import lacks_memory, mistake
from experiments.programs import INTERRUPTED, refuse
from experiments.termination import TERMINATED, terminable
from lipreg.whole_files import write_whole
from lipreg.words import natural

JOB, MANIFEST, TRACE = "job.json", "manifest.json", "error.txt"
LONGEST_NAME = 200
"""Bytes of the name of a job's folder; file systems take 255."""


def job_folder(overrides: str) -> str:
    """The name of a job's folder in its sweep: its overrides, and where these make no name of a folder, a hash of them.

    It depends on them alone, so a sweep that is started again, with more jobs or fewer, finds each in its place.
    """
    return (
        overrides if "/" not in overrides and len(overrides.encode()) <= LONGEST_NAME else cut(overrides, LONGEST_NAME)
    )


def cut(name: str, most: int) -> str:
    """The beginning of a name, without slashes, and a hash of the whole, in so many bytes."""
    begin = name.replace("/", "_").encode()[: most - 13].decode(errors="ignore")
    return f"{begin}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


@dataclass(frozen=True)
class JobReport:
    """How one job stands.

    Attributes:
        overrides: what it was given on the command line, or by the sweeper.
        state: "running" (or killed), "finished", "failed" or "interrupted".
        started: seconds since 1970.
        seconds: it took, in its last attempt.
        attempts: how often it was started.
        result: what the sweeper gets; None for an infinite one.
        error: of a failed job, in one line; its traceback is in ``error.txt``.
        host, process: where it ran.
    """

    overrides: list[str]
    state: str
    started: float
    seconds: float = 0.0
    attempts: int = 1
    result: float | None = None
    error: str = ""
    host: str = ""
    process: int = 0

    def save(self, folder: Path) -> None:
        """Writes ``job.json``, at once or not at all."""
        write_json(folder / JOB, asdict(self))


def write_json(path: Path, data: Any) -> None:
    """Writes a file of plain data, at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(data, indent=1, allow_nan=False) + "\n").encode())


def read_job(folder: Path) -> JobReport | None:
    """What ``job.json`` of a folder says; None where there is none that can be read."""
    try:
        return JobReport(**json.loads((folder / JOB).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def carry_out(job: Callable[[], float], folder: Path, console: Console, limits: DictConfig, kept: str) -> float:
    """Does one job within its limits and keeps account of it.

    Alone, a mistake of the user's is a paragraph and exit code 1, and any other error is raised. In a sweep both are
    reported and count as an infinite result, so that the other jobs go on. Ctrl-C ends the sweep, with exit code 130, and
    SIGTERM with 143; started again, the same command goes on.

    Args:
        job: does the work and gives its result, which sweepers minimise.
        folder: of the job.
        limits: ``minutes`` and ``memory_gib``, each a number or None.
        kept: where an interrupted job's results are, for the message.
    """
    hydra, earlier, began = HydraConfig.get(), read_job(folder), time.time()
    report = JobReport(list(hydra.overrides.task), "running", began, host=socket.gethostname(), process=os.getpid())
    report = replace(report, attempts=1 if earlier is None else earlier.attempts + 1)
    report.save(folder)

    def ended(state: str, **more: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk, which is what there is to say
            replace(report, state=state, seconds=round(time.time() - began, 3), **more).save(folder)

    try:
        with terminable(), limited(limits.minutes, limits.memory_gib):
            result = job()
    except Exception as raised:
        ours = mistake(raised, folder)
        if limits.memory_gib is not None and lacks_memory(raised):
            todo = "Raise limits.memory_gib, and start it again"
            ours = LimitReached(f"the memory limit of {limits.memory_gib:g} GiB for each process is reached. {todo}.")
        error = ours or raised
        words = f"{type(error).__name__}: {' '.join(str(error).split())}"
        with contextlib.suppress(OSError):
            (folder / TRACE).write_text("".join(traceback.format_exception(raised)), encoding="utf-8")
        ended("failed", error=words)
        if hydra.mode == RunMode.MULTIRUN:
            console.print(Text.assemble(("Failed ", "bold red"), " ".join(report.overrides), f": {words}"))
            return math.inf
        if ours:
            refuse(console, ours)
        raise
    except (KeyboardInterrupt, SystemExit) as over:  # Lightning turns a Ctrl-C into an exit
        ended("interrupted")
        told = f"What was proved so far is kept in {kept}, and the same command in the same folder goes on"
        console.print(f"Interrupted. {told}", soft_wrap=True)
        terminated = isinstance(over, SystemExit) and over.code == TERMINATED
        raise SystemExit(TERMINATED if terminated else INTERRUPTED) from None
    ended("finished", result=result if math.isfinite(result) else None)
    return result


class Manifest(Callback):
    """Hydra's hooks around a sweep: one ``manifest.json`` in its folder, a line a job, and what failed at the end."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        summary = {"command": list(config.hydra.overrides.task), "planned": planned_jobs(config), "began": time.time()}
        write_manifest(folder, summary)

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        if config.hydra.mode != RunMode.MULTIRUN:
            return
        content = write_manifest(Path(config.hydra.sweep.dir))
        console = Console(soft_wrap=True, highlight=False)
        console.print(f"[bold]Sweep:[/] {progress(content)}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder, console = Path(config.hydra.sweep.dir), Console(highlight=False)
        ours = of_this_start(write_manifest(folder))
        failed = [job for job in ours if job["state"] == "failed"]
        if failed:
            table = Table(title=f"{len(failed)} of {len(ours)} jobs failed", title_justify="left")
            table.add_column("overrides")
            table.add_column("error", overflow="fold")
            for job in failed:
                table.add_row(Text(" ".join(job["overrides"])), Text(job["error"]))
            console.print(table)
        console.print(
            f"  jobs    {folder / MANIFEST}\n  report  python -m experiments.report runs={folder}", soft_wrap=True
        )
        if failed:
            raise SystemExit(1)


def write_manifest(folder: Path, summary: dict[str, Any] | None = None) -> dict[str, Any]:
    """Makes the manifest anew from the jobs' own reports, so that whoever writes last is right.

    Args:
        folder: of the sweep.
        summary: what is said of the sweep as a whole; None keeps what is there.
    """
    path = folder / MANIFEST
    if summary is None:
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            stored = {}
        summary = {key: value for key, value in stored.items() if key not in ("jobs", "states")}
    jobs = []
    for found in sorted(folder.rglob(JOB), key=natural):
        report = read_job(found.parent)
        if report is not None:
            jobs.append({"folder": str(found.parent.relative_to(folder)), **asdict(report)})
    states = {state: sum(job["state"] == state for job in jobs) for state in sorted({job["state"] for job in jobs})}
    content = {**summary, "states": states, "jobs": jobs}
    write_json(path, content)
    return content


def of_this_start(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The jobs of a manifest that were begun since its sweep was last started; its folder may hold others."""
    return [job for job in content["jobs"] if job["started"] >= content.get("began", 0.0)]


def progress(content: dict[str, Any], now: float | None = None) -> str:
    """How far a sweep is, in words: "3 of 12 jobs done, 1 failed, about 4.0 min left"."""
    now = time.time() if now is None else now
    over = [job for job in of_this_start(content) if job["state"] in ("finished", "failed")]
    failed, planned = sum(job["state"] == "failed" for job in over), content.get("planned")
    words = f"{len(over)} of {planned} jobs done" if planned else f"{len(over)} jobs done"
    if failed:
        words += f", {failed} failed"
    if planned and over and len(over) < planned:
        each = (now - content["began"]) / len(over)
        words += f", about {each * (planned - len(over)) / 60:.1f} min left"
    return words


def planned_jobs(config: DictConfig) -> int | None:
    """How many jobs a sweep has: the product of its choices, or a search's number of trials; None where it is not known."""
    sweeper = config.hydra.sweeper
    if "n_trials" in sweeper:
        return int(sweeper.n_trials)
    given = [f"{key}={value}" for key, value in dict(sweeper.get("params") or {}).items()]
    given += list(config.hydra.overrides.task)
    try:
        parsed = {o.key_or_group: o for o in OverridesParser.create().parse_overrides(given)}
        return math.prod(len(list(o.sweep_iterator())) for o in parsed.values() if o.is_sweep_override())
    except (HydraException, TypeError):
        return None
