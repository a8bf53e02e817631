"""The tables and figures of docs/study_results.md, from the committed rows: python -m experiments.exact_study.views"""

from __future__ import annotations

from pathlib import Path

from experiments.exact_study.figures import at_equal_accuracy, strengths
from experiments.exact_study.questions import QUESTIONS
from experiments.exact_study.reading import DRAWS, readings
from experiments.exact_study.tables import fill
from experiments.regularizers.results import ResultFile
from lipreg.reporting.svg import save

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "experiments/results/exact_study.jsonl", ROOT / "docs/study_results.md"
IMAGES = ROOT / "docs/images"


def remake(results: Path = RESULTS, page: Path = PAGE, images: Path = IMAGES, draws: int = DRAWS) -> list[Path]:
    """Writes page and figures; returns what was written.

    Args:
        results: the rows; figures are made of questions with a whole seed.
        page: with places for tables.
        images: the folder of figures.
        draws: of the bootstrap.

    Raises:
        InvalidInput: no results.
    """
    rows = ResultFile(results).rows
    page.write_text(fill(page.read_text(encoding="utf-8"), rows, draws), encoding="utf-8")
    made = [page]
    for question in QUESTIONS:
        read = readings(rows, question, draws)
        if read:
            made.append(save(strengths(rows, question), images / f"exact_study_{question}_strengths.svg"))
            made.append(save(at_equal_accuracy(read), images / f"exact_study_{question}_equal.svg"))
    return made


if __name__ == "__main__":
    print(*remake(), sep="\n")
