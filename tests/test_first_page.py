"""The first page and its neighbours: pictures and tables are those of the committed results, and links lead somewhere."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import first_page, main_job, scale, size_page
from benchmarks.environment import read_result, write_tables
from lipreg.graph import registry
from lipreg.reporting.figures import trajectory_figure
from lipreg.reporting.svg import svg
from tests.drawings import same_drawing
from tools.hatch_readme import described

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def same_picture(path: Path, made: bytes) -> bool:
    """Whether a committed picture is what is made now, but for what the drawing of letters may differ in."""
    kept, now = (np.asarray(Image.open(file).convert("RGB"), dtype=float) for file in (path, io.BytesIO(made)))
    return kept.shape == now.shape and float(np.abs(kept - now).mean()) < 1.0


def test_the_picture_is_that_of_the_committed_run() -> None:
    made = io.BytesIO()
    trajectory_figure(first_page.kept(), first_page.RUN).savefig(made, format="png", dpi=160)
    assert same_picture(first_page.PICTURE, made.getvalue()), "python -m benchmarks.first_page"


def test_the_tables_are_those_of_the_results(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text(README)
    write_tables(copy, {"first_page": first_page.table(first_page.kept()), "layers": first_page.layers()})
    assert copy.read_text() == README, "python -m benchmarks.first_page"
    copy.write_text(main_job.PAGE.read_text())
    write_tables(copy, {name: main_job.shown(read_result(name)) for name in main_job.TABLES})
    assert copy.read_text() == main_job.PAGE.read_text(), "python -m benchmarks.main_job page"


def test_figures_of_other_pages_are_those_of_the_results() -> None:
    drawn = {"scale.svg": scale.figure(read_result("scale")), "size.svg": size_page.figure(size_page.results())}
    for name, figure in drawn.items():
        kept = (scale.IMAGES / name).read_text()
        assert same_drawing(kept, svg(figure)), "python -m benchmarks.scale page, benchmarks.exact page"
        assert not same_drawing(kept, svg(figure).replace("9.", "8.", 1))


def test_the_words_beside_the_picture_are_its_numbers() -> None:
    ratios = {
        row.split(" | ")[0].strip("| "): row.split(" | ")[-1].strip("| ") for row in README.splitlines() if " | " in row
    }
    assert f"{float(ratios['margin over constant (median)']):.1f} times the twin's" in README
    assert f"{float(ratios['calibrated constant (T x combined)']):.0%}".replace("%", " %") in README
    assert (
        f"to {float(ratios['combined [lower, upper]']):.0%} and {float(ratios['bound (affine_relu)']):.0%}".replace(
            "%", " %"
        )
        in README
    )


def test_the_sweep_has_the_run_of_the_picture() -> None:
    """`make train` is one row of the table of the sweep: seed 0, weight 0.001."""
    (row,) = [r for r in read_result("main_job") if (r["weight"], r["seed"]) == (0.001, 0)]
    for name in ("margin over constant", "twin's margin over constant", "calibrated truth / twin's"):
        assert row[name] in README, name


def test_every_layer_is_named_once() -> None:
    names = {kind.__name__ for kind in registry.MODULES if kind.__module__.startswith("torch.nn")}
    assert names > first_page.SMOOTH
    assert all(first_page.layers().count(f"`{name}`") == 1 for name in names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for path in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / path).exists(), path


def test_every_page_is_in_the_index() -> None:
    index = README[README.index("## Where to go next") :]
    named = {path for path in re.findall(r"\((docs/\w+\.md)\)", README)}
    assert named == {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert "docs/vocabulary.md" in index


def test_the_description_of_the_package_has_no_link_that_leads_nowhere() -> None:
    assert not re.findall(r"\]\((?!\w+:|#)", described(README)) and "<!--" not in described(README)
    assert "docs/choosing.md" in described(README) and "A picture in the repository" in described(README)
    there = described(README, "https://example.org/files")
    assert "(https://example.org/files/docs/choosing.md)" in there
    assert not re.findall(r"\]\((?!\w+:|#)", there)
