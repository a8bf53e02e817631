"""Write the API reference from the docstrings, one HTML page a public module; `make docs` runs this.

A module is public if `PUBLIC` names it, and of a module what its `__all__` names, or what it defines under a name
without an underscore. The pages need no network and nothing beside themselves.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import pdoc
import pdoc.render

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = (
    "lipreg",
    "lipreg.callbacks",
    "lipreg.penalties",
    "lipreg.schedules",
    "lipreg.estimators",
    "lipreg.estimators.radius",
    "lipreg.auditing",
    "lipreg.derivatives",
    "lipreg.transfer",
    "lipreg.records",
    "lipreg.reporting",
    "lipreg.reporting.tables",
    "lipreg.reporting.frames",
    "lipreg.reporting.figures",
    "lipreg.reporting.panels",
    "lipreg.graph",
    "lipreg.bounds",
    "lipreg.regions",
    "lipreg.milp",
    "lipreg.data",
    "lipreg.errors",
)


def write(folder: Path) -> Path:
    """Writes the pages into a folder.

    Returns:
        The page to begin with.

    Raises:
        UserWarning: pdoc could not make sense of a docstring or an annotation.
    """
    pdoc.render.configure(docformat="google", footer_text="lipreg", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pdoc.pdoc(*PUBLIC, output_directory=folder)
    return folder / "lipreg.html"


def main() -> None:
    """Writes the reference where the command line says, by default below build/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "reference")
    print(f"the reference begins at {write(parser.parse_args().folder)}")


if __name__ == "__main__":
    main()
