"""The tables of docs/study.md and its figures, anew from the results: python -m experiments.regularizers.views"""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.regularizers.figures import FIGURES
from experiments.regularizers.results import ResultFile
from experiments.regularizers.tables import fill
from lipreg.reporting.svg import save

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE, IMAGES = ROOT / "experiments/results/regularizers.jsonl", ROOT / "docs/study.md", ROOT / "docs/images"


def remake(results: Path = RESULTS, page: Path = PAGE, images: Path = IMAGES) -> list[Path]:
    """Writes page and figures; returns what was written.

    Raises:
        InvalidInput: no results, or a page with a table that they do not give.
    """
    rows = ResultFile(results).rows
    page.write_text(fill(page.read_text(encoding="utf-8"), rows), encoding="utf-8")
    return [page, *(save(draw(rows), images / f"{name}.svg") for name, draw in FIGURES.items())]


if __name__ == "__main__":
    print(*remake(*map(Path, sys.argv[1:])), sep="\n")
