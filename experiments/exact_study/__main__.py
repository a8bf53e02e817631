"""The study of penalties by exact constants: python -m experiments.exact_study

Does what the result files of conf/exact_study.yaml have not yet, one row after the other; started again it goes on from
there, on any machine, however it was ended. MNIST is read as by ``data=mnist`` (LIPREG_DATA).

python -m experiments.exact_study questions=[linf] groups=[[affine_relu,jacobian]] results.digits=runs/some.jsonl
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig
from rich.console import Console

from experiments.choices import check_like
from experiments.exact_study.choosing import Choice, Choosing, runs
from experiments.exact_study.designs import DIGITS, MIXED, PENALTIES, Design
from experiments.exact_study.questions import QUESTIONS
from experiments.exact_study.rows import Job, Row, do
from experiments.programs import said, start
from experiments.result_file import ResultFile
from lipreg.auditing.lock import RecordLock
from lipreg.errors import InvalidInput


class Course:
    """The study as it goes on: jobs that the file has are read from there, all others are done and added.

    Args:
        file: of the results.
        console: where each row is told.
    """

    def __init__(self, file: ResultFile, console: Console) -> None:
        self.file, self.console = file, console
        self.rows: dict[Job, Row] = {Job.of(row): row for row in file.rows}

    def need(self, job: Job) -> Row:
        """The row of a job."""
        if job not in self.rows:
            began = time.monotonic()
            self.rows[job] = row = do(job)
            self.file.append([row])
            told = f"{job.stage} {job.question} {job.penalty} {job.strength:g} seed {job.seed}, {job.rate:g} x {job.epochs}"
            told += f": {row['accuracy']:.3f}, {time.monotonic() - began:.1f} s"
            self.console.print(told, highlight=False, soft_wrap=True)
        return self.rows[job]

    def go(self, questions: Sequence[str], groups: Sequence[Sequence[str]], seeds: Sequence[int]) -> None:
        """All of it: question by question, group by group of penalties; of a group first what is chosen, then its runs."""
        for question in questions:
            choosing, design = Choosing(question, self.need), QUESTIONS[question].design
            for group in ([name for name in each if name in (*design.penalties, *design.searched)] for each in groups):
                choices: dict[str, Choice] = {name: choosing.of(name) for name in group}
                jobs = runs(question, choices, choosing.twin(), [seed for seed in seeds if seed < design.seeds])
                left = sum(job not in self.rows for job in jobs)
                self.console.print(
                    f"{question}, {', '.join(group)}: {left} of {len(jobs)} runs are left", soft_wrap=True
                )
                for job in jobs:
                    self.need(job)


def asked_by(data: str) -> dict[str, Any]:
    """What decides every row of a file beside its job."""
    asked = {name: question for name, question in QUESTIONS.items() if question.design.data == data}
    version = {"torch": importlib.metadata.version("torch")}
    if data == DIGITS.data:  # files of it are older than designs, and are read as they are
        radii = {name: list(question.radii) for name, question in asked.items()}
        return {"points": DIGITS.points, "seconds": DIGITS.seconds, "questions": radii, **version}
    return {"questions": {name: [list(each.radii), _sizes(each.design)] for name, each in asked.items()}, **version}


def _sizes(design: Design) -> list[float]:
    return [design.training, design.selection, design.calibration, design.audit, design.points, design.seconds]


@hydra.main(config_path="../../conf", config_name="exact_study", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Exit code 1 when the settings are wrong, 130 after a Ctrl-C."""
    console = Console()
    with said(console, "Interrupted. Finished rows are kept; the same command goes on from there."):
        check_like(cfg, "exact_study")
        check(cfg)
        torch.set_num_threads(1)
        for data, path in cfg.results.items():
            questions = [name for name in cfg.questions if QUESTIONS[name].design.data == data]
            if questions:
                with RecordLock(Path(path)):
                    Course(ResultFile(path, asked_by(data)), console).go(questions, cfg.groups, cfg.seeds)
                console.print(f"results: {path}", highlight=False, soft_wrap=True)


def check(cfg: DictConfig) -> None:
    """Raises InvalidInput for questions and penalties that there are not."""
    for kind, asked, known in (
        ("question", cfg.questions, QUESTIONS),
        ("penalty", [name for group in cfg.groups for name in group], (*PENALTIES, *MIXED)),
    ):
        for name in asked:
            if name not in known:
                raise InvalidInput(f"{kind} {name!r}", where="exact_study", accepted=", ".join(known))


if __name__ == "__main__":
    start(main)
