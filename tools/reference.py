"""Write the API reference from the docstrings, one HTML page a public module; `make docs` runs this.

A module is public if `PUBLIC` names it, and of a module what its `__all__` names, or what it defines under a name
without an underscore. The pages need no network and nothing beside themselves.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import pdoc.render
import pdoc.render_helpers
import pdoc.search
from pdoc.doc import Module

from tools.reference_entries import complete, html, html_without_links, markdown

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = (
    "lipreg",
    "lipreg.problem",
    "lipreg.distances",
    "lipreg.labels",
    "lipreg.results",
    "lipreg.recorded",
    "lipreg.callbacks",
    "lipreg.callbacks.folders",
    "lipreg.penalties",
    "lipreg.quantities",
    "lipreg.quantities.losses",
    "lipreg.quantities.rows",
    "lipreg.schedules",
    "lipreg.seen",
    "lipreg.estimators",
    "lipreg.estimators.products",
    "lipreg.estimators.products.affine_relu",
    "lipreg.estimators.products.spectral",
    "lipreg.estimators.jacobians",
    "lipreg.estimators.jacobians.abs_chain",
    "lipreg.estimators.jacobians.deviation",
    "lipreg.estimators.jacobians.fastlip",
    "lipreg.estimators.jacobians.jacobian_crown",
    "lipreg.estimators.jacobians.mixing",
    "lipreg.estimators.sdp",
    "lipreg.estimators.sdp.lipsdp",
    "lipreg.estimators.relaxations",
    "lipreg.estimators.relaxations.lp",
    "lipreg.estimators.exact",
    "lipreg.estimators.exact.branch_and_bound",
    "lipreg.estimators.exact.mip",
    "lipreg.estimators.exact.mip_pointed",
    "lipreg.estimators.witnesses",
    "lipreg.estimators.witnesses.sampling",
    "lipreg.estimators.yardsticks",
    "lipreg.estimators.yardsticks.clever",
    "lipreg.estimators.yardsticks.frobenius",
    "lipreg.estimators.yardsticks.lipmip",
    "lipreg.estimators.yardsticks.lp_no_triangle",
    "lipreg.estimators.yardsticks.seqlip",
    "lipreg.estimators.radius",
    "lipreg.auditing",
    "lipreg.auditing.tasks",
    "lipreg.auditing.rounds",
    "lipreg.derivatives",
    "lipreg.transfer",
    "lipreg.population",
    "lipreg.calibration",
    "lipreg.records",
    "lipreg.invocation",
    "lipreg.reporting",
    "lipreg.reporting.tables",
    "lipreg.reporting.frames",
    "lipreg.reporting.figures",
    "lipreg.reporting.panels",
    "lipreg.graph",
    "lipreg.graph.passes",
    "lipreg.bounds",
    "lipreg.search",
    "lipreg.search.hunt",
    "lipreg.linalg",
    "lipreg.curves",
    "lipreg.curves.kinks",
    "lipreg.regions",
    "lipreg.milp",
    "lipreg.milp.thin",
    "lipreg.milp.cones",
    "lipreg.loading",
    "lipreg.data",
    "lipreg.checking",
    "lipreg.testing",
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
    for user, as_html in ((pdoc.render_helpers, html), (pdoc.search, html_without_links)):
        vars(user).update(to_markdown=markdown, to_html=as_html)
    pdoc.render.env.filters["to_html"] = html
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        modules = {name: Module.from_name(name) for name in PUBLIC}
        for module in modules.values():  # what is loaded when it is first read
            for name in getattr(module.obj, "__all__", ()):
                getattr(module.obj, name)
        complete(modules)
        for name, module in modules.items():
            page = folder / f"{name.replace('.', '/')}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(pdoc.render.html_module(module, modules), encoding="utf-8")
        (folder / "index.html").write_text(pdoc.render.html_index(modules), encoding="utf-8")
        (folder / "search.js").write_text(pdoc.render.search_index(modules), encoding="utf-8")
    return folder / "lipreg.html"


def main() -> None:
    """Writes the reference where the command line says, by default below build/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "reference")
    print(f"the reference begins at {write(parser.parse_args().folder)}")


if __name__ == "__main__":
    main()
