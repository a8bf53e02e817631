"""The tables and figures of docs/estimators.md, from the committed results.

python -m experiments.estimators.page                            # writes them anew from benchmarks/results/estimators_*.csv
python -m experiments.estimators.page runs/estimators/digits     # after taking over the results of a run
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.estimators.tightness_figures import growth_figure, radius_figure, seconds_figure
from experiments.estimators.tightness_tables import growth_table, overview

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE, IMAGES = ROOT / "benchmarks" / "results", ROOT / "docs" / "estimators.md", ROOT / "docs" / "images"
BLOCK = re.compile(r"^(<!-- (overview|growth): ([^>]*) -->\n).*?(<!-- end -->)", flags=re.DOTALL | re.MULTILINE)
FIGURE = re.compile(r"\(images/estimators_([^)]*)\.png\)<!-- (radius|seconds|growth): ([^>]*) -->")


def with_tables(text: str, results: Path = RESULTS) -> str:
    """The page with every table made anew.

    A table stands between ``<!-- overview: SETTING, NETWORK, RADIUS -->`` or ``<!-- growth: SETTING, AXIS, SCOPE, NORM,
    RADIUS -->`` and ``<!-- end -->``.
    """

    def table(found: re.Match[str]) -> str:
        setting, *what = found[3].split(", ")
        summary = read(setting, results)
        if found[2] == "overview":
            made = overview(summary, what[0], float(what[1]))
        else:
            made = growth_table(summary, what[0], what[1], what[2], float(what[3]))
        return f"{found[1]}\n{made.markdown()}\n\n{found[4]}"

    return BLOCK.sub(table, text)


def figures(text: str, results: Path = RESULTS) -> dict[str, Any]:
    """The page's figures by file name: ``![...](images/estimators_NAME.png)<!-- radius: SETTING, NETWORK -->``."""
    made = {}
    for name, kind, arguments in FIGURE.findall(text):
        setting, what, *radius = arguments.split(", ")
        summary = read(setting, results)
        if kind == "radius":
            figure = radius_figure(summary, what)
        else:
            figure = (seconds_figure if kind == "seconds" else growth_figure)(summary, what, float(radius[0]))
        made[f"estimators_{name}.png"] = figure
    return made


def read(setting: str, results: Path = RESULTS) -> pd.DataFrame:
    """The committed summary of a setting."""
    return pd.read_csv(results / f"estimators_{setting}.csv", dtype={"p": str, "network": str})


def take_over(folder: Path, results: Path = RESULTS) -> Path:
    """Keeps the summary of a run under the name of its folder: numbers to five digits, long words once a network."""
    summary = pd.read_csv(folder / "summary.csv", dtype={"p": str, "network": str})
    again = summary.duplicated("network")
    for column in ("about", "output"):
        summary[column] = summary[column].mask(again)
    summary["remark"] = summary["remark"].str.slice(0, 90)
    path = results / f"estimators_{folder.name}.csv"
    summary.to_csv(path, index=False, float_format="%.5g")
    return path


def main(folders: Sequence[str]) -> None:
    for folder in folders:
        take_over(Path(folder))
    text = with_tables(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")
    for name, figure in figures(text).items():
        figure.savefig(IMAGES / name, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1:])
