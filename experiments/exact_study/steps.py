"""What each penalty costs in the study's own loop: python -m experiments.exact_study.steps

Short trainings of the digits with every penalty and without, in turn and in one process, so that a busy machine slows all
of them; a ratio is that of the CPU seconds of one turn. Early stopping has the twin's step; ``witnesses`` searches in
networks that are trained already, which short trainings do not show: the study's rows have the seconds of whole ones.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from experiments.exact_study.designs import DIGITS, EARLY, PENALTIES, TWIN
from experiments.exact_study.parts import parts
from experiments.exact_study.questions import QUESTIONS
from experiments.exact_study.training import train

FILE = Path(__file__).resolve().parents[1] / "results/exact_study_steps.json"
STEPPED = tuple(name for name in PENALTIES if name not in (EARLY, "witnesses"))
STRENGTH, RATE = 1e-3, 0.03
EPOCHS, TURNS = 12, 7
Prices = Mapping[str, Mapping[str, Sequence[float]]]
"""By question and penalty: the median, the lowest and the highest of the turns' ratios."""


def measured(names: Sequence[str], question: str, epochs: int = EPOCHS, turns: int = TURNS) -> dict[str, list[float]]:
    """The time of a training with each penalty over that of one without: the median turn, the lowest and the highest.

    Args:
        names: of penalties.
        question: in whose balls.
        epochs: of a training.
        turns: trainings of each, after one that is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in (TWIN, *names)}
    data = parts(0, DIGITS).training
    for turn in range(turns + 1):
        for name, own in seconds.items():
            began = time.thread_time()
            train(name, 0.0 if name == TWIN else STRENGTH, 0, RATE, epochs, data, QUESTIONS[question])
            if turn:
                own.append(time.thread_time() - began)
    ratios = {name: [own / plain for own, plain in zip(seconds[name], seconds[TWIN], strict=True)] for name in names}
    return {name: [round(of(own), 2) for of in (statistics.median, min, max)] for name, own in ratios.items()}


def prices(path: Path = FILE) -> Prices:
    """What is committed."""
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = [name for name, question in QUESTIONS.items() if question.design.data == DIGITS.data]
    found = {name: measured(STEPPED, name) for name in asked}
    lines = [
        f' "{name}": {{\n' + ",\n".join(f'  "{key}": {own}' for key, own in of.items()) + "\n }"
        for name, of in found.items()
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(FILE)
