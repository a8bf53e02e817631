"""The tables and figures of the study's pages, from the committed rows: python -m experiments.exact_study.views"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.exact_study.figures import at_equal_accuracy, strengths
from experiments.exact_study.questions import QUESTIONS
from experiments.exact_study.reading import DRAWS, readings
from experiments.exact_study.tables import fill
from experiments.result_file import ResultFile
from lipreg.reporting.svg import save

ROOT = Path(__file__).resolve().parents[2]
RESULTS = (ROOT / "experiments/results/exact_study.jsonl", ROOT / "experiments/results/exact_study_mnist.jsonl")
PAGES = (ROOT / "docs/study_results.md", ROOT / "docs/study.md")
IMAGES = ROOT / "docs/images"


def remake(
    results: Sequence[Path] = RESULTS, pages: Sequence[Path] = PAGES, images: Path = IMAGES, draws: int = DRAWS
) -> list[Path]:
    """Writes page and figures; returns what was written.

    Args:
        results: files of rows; figures are made of questions with a whole seed.
        pages: with places for tables.
        images: the folder of figures.
        draws: of the bootstrap.

    Raises:
        InvalidInput: no results.
    """
    rows = [row for path in results for row in ResultFile(path).rows]
    read_of = {question: readings(rows, question, draws) for question in QUESTIONS}
    for page in pages:
        page.write_text(fill(page.read_text(encoding="utf-8"), rows, read_of), encoding="utf-8")
    made = [*pages]
    for question, read in read_of.items():
        if read:
            made.append(save(strengths(rows, question), images / f"exact_study_{question}_strengths.svg"))
            made.append(save(at_equal_accuracy(read, question), images / f"exact_study_{question}_equal.svg"))
    return made


if __name__ == "__main__":
    print(*remake(), sep="\n")
