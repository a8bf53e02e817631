"""Every estimator on the same questions: how tight each is, and what it costs. Cut short, it goes on where it was.

python -m experiments.estimators
python -m experiments.estimators setting=mnist
python -m experiments.estimators network=checkpoint network.weights=runs/2026-01-31/12-00-00/regularised.ckpt
python -m experiments.estimators estimators=[fastlip,lp,branch_and_bound] points=2 budget=10
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import hydra
import pandas as pd
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from experiments.choices import check_like
from experiments.estimators.course import Effort, measure
from experiments.estimators.networks import subjects
from experiments.estimators.questions import Question, chosen, questions
from experiments.estimators.views import check_outputs, write_views
from experiments.programs import progress_bar, quiet_libraries, said, start
from lipreg.auditing import Executor, Processes
from lipreg.records import AuditRecord, RecordFile, read_records


def compare(cfg: DictConfig, console: Console) -> pd.DataFrame:
    """Measures what is missing and writes all views; returns the summary.

    Every finished cell is one line of ``cfg.folder/cells.jsonl``. A later run with the same networks, points, questions
    and settings starts from there.
    """
    check_outputs(cfg)
    chosen(cfg.estimators)
    again = tuple(e.name for e in chosen(list(cfg.again)))
    effort = Effort(float(cfg.budget), cfg.seed, cfg.solver, again, cfg.sdp_solver)
    with Processes(cfg.workers) as executor:
        file = RecordFile(Path(cfg.folder) / "cells.jsonl")
        asked = questions(cfg, subjects(cfg, console))
        for line in refused(asked):
            console.print(Text(f"Refused by {line}"), soft_wrap=True)
        earlier = [r for r in read_records(file.path) if isinstance(r, AuditRecord)]
        run(asked, effort, executor, file, earlier, console)
    # the folder may hold more than was asked for now: other radii, other networks
    wanted = [(question.subject.name, question.problem.describe()) for question in asked]
    records = [r for r in read_records(file.path) if (r.run, getattr(r, "question", None)) in wanted]
    names = {e.name for e in chosen(cfg.estimators)}
    records = [r for r in records if not isinstance(r, AuditRecord) or r.estimator in names]
    return write_views(records, cfg, console)


def run(
    asked: Sequence[Question],
    effort: Effort,
    executor: Executor,
    file: RecordFile,
    earlier: Sequence[AuditRecord],
    console: Console,
) -> None:
    """Every question in turn, with a bar over all cells on a terminal and a line for each question elsewhere."""
    cells = sum(len(question.able) * len(question.subject.x) for question in asked)
    with progress_bar(console, "cells") as bar:
        shown = bar.add_task("", total=cells, state="")
        for number, question in enumerate(asked, 1):
            problem = question.problem
            state = f"{question.subject.name}: {problem.scope}, {problem.region.phrase()}, p = {problem.p:g}"
            ended: dict[str, int] = {}

            def advance(cell: AuditRecord, state: str = state, ended: dict[str, int] = ended) -> None:
                ended[cell.status] = ended.get(cell.status, 0) + 1
                bar.update(shown, advance=1, state=f"{state}: {cell.estimator}")

            bar.update(shown, state=state)
            measure(question, effort, executor, file, earlier, advance)
            if not console.is_terminal:
                counts = ", ".join(f"{count} {status}" for status, count in sorted(ended.items()))
                console.print(Text(f"{number} of {len(asked)}: {state}: {counts or 'refused by all'}"), soft_wrap=True)


def refused(asked: Sequence[Question]) -> list[str]:
    """Every refusal in words, once, with those who refuse and the number of questions."""
    counts: dict[str, dict[str, int]] = {}
    for question in asked:
        for name, why in question.refused.items():
            who = counts.setdefault(why, {})
            who[name] = who.get(name, 0) + 1
    return [
        f"{', '.join(sorted(who))}: {why} ({max(who.values())} of {len(asked)} questions)"
        for why, who in counts.items()
    ]


@hydra.main(config_path="../../conf", config_name="estimators", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Exit code 1 for what cannot be asked, 130 after a Ctrl-C."""
    quiet_libraries()
    console = Console()
    with said(console, "Interrupted. Every finished cell is kept; the same command goes on from there."):
        check_like(cfg, "estimators")
        compare(cfg, console)


if __name__ == "__main__":
    start(main, "estimators")
