"""The picture of a report in docs/dashboards.md: python -m benchmarks.report_picture RUNS

RUNS is the folder of the sweep that the page names. The page is drawn by the Chromium that is installed (``apt-get install
chromium``).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from lipreg.errors import InvalidInput
from lipreg.reporting import report

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 930, 1800
"""Pixels; what is below is cut."""


def draw(runs: Path, picture: Path = PICTURE) -> None:
    """Draws the page of all runs below a folder."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise InvalidInput("no chromium", where="report_picture", todo="Install it: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        page = report(runs, Path(folder) / "report.html")
        shown = running.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        tab = shown.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.goto(page.as_uri())
        tab.wait_for_timeout(500)  # until what follows the width is drawn
        tab.screenshot(path=picture)
        shown.close()


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
