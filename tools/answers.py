"""Write the table of what can be answered into docs/choosing.md: python -m tools.answers

Each cell is ``lipreg.estimators.answered`` of a question; columns and rows that say the same are one.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

from lipreg import Box, L1Ball, L2Ball, LinfBall, LocalLipschitz, Polytope, WholeSpace
from lipreg.estimators import Answer, answered
from lipreg.linalg import norm_name
from lipreg.outputs import AllLogits, Vector
from lipreg.regions import Region

PAGE = Path(__file__).resolve().parent.parent / "docs" / "choosing.md"
BEGIN, END = "<!-- answers: python -m tools.answers -->", "<!-- end of answers -->"
REGIONS: dict[str, Region] = {
    "`LinfBall`": LinfBall(0.1),
    "`L2Ball`": L2Ball(0.1),
    "`L1Ball`": L1Ball(0.1),
    "`Box`, `UnitCube`": Box(0.0, 1.0),
    "`Polytope`": Polytope([[1.0, 1.0]], [1.0], low=0.0, high=1.0),
    "`WholeSpace`": WholeSpace(),
}
SCOPES = ("regional", "pointed")
NORMS = (1.0, 2.0, math.inf)
Column = tuple[str, str]
Row = tuple[float, float | None]


def question(row: Row, column: Column) -> LocalLipschitz:
    """The question of a cell."""
    (p, q), (region, scope) = row, column
    output = AllLogits() if q is None else Vector()
    return LocalLipschitz(REGIONS[region], output, scope, p, q)  # type: ignore[arg-type]


def cells() -> dict[tuple[Row, Column], Answer]:
    """What each question can be answered with."""
    rows = [(p, None) for p in NORMS] + list(itertools.product(NORMS, NORMS))
    columns = list(itertools.product(REGIONS, SCOPES))
    return {(row, column): answered(question(row, column)) for row in rows for column in columns}


def table() -> str:
    """The table in Markdown."""
    found = cells()
    rows, columns = list(dict.fromkeys(row for row, _ in found)), list(dict.fromkeys(column for _, column in found))
    groups: dict[tuple[str, ...], list[Column]] = {}
    for column in columns:
        groups.setdefault((column[1], *(_words(found[row, column]) for row in rows)), []).append(column)
    heads = [f"{', '.join(name for name, _ in group)}: {group[0][1]}" for group in groups.values()]
    lines = [["of", "p", "q", *heads], ["---"] * (3 + len(heads))]
    for place, (p, q) in enumerate(rows):
        of = "one output, margin, combination, or the largest of several" if q is None else "the whole output"
        lines.append([of, norm_name(p), "" if q is None else norm_name(q), *(words[place + 1] for words in groups)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _words(answer: Answer) -> str:
    match answer.kind:
        case "exact":
            return f"**exact** by `{answer.by[0]}`" + (f": {answer.why}" if answer.why else "")
        case "interval":
            return f"interval: {answer.why}"
        case _:
            return f"refused: {answer.why}"


def page(text: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
