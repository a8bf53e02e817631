"""Rules of the house that the import contracts (`lint-imports`, in `make check`) cannot state."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LONGEST

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lipreg"
SOURCES = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}

MAX_LINES = 300
CATCH_ALLS = {"utils", "util", "helpers", "helper", "common", "misc"}
DOCUMENTED_BY_DECORATOR = {"overload"}  # the implementation has the docstring
HEAVY = {
    *("pytorch_lightning", "lightning", "hydra", "omegaconf"),
    *("wandb", "matplotlib", "plotly", "pandas", "sklearn"),
    *("cvxpy", "highspy", "scs", "gurobipy", "pyscipopt", "ray"),
}

Trees = dict[Path, ast.Module]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@pytest.fixture(scope="module")
def trees() -> Trees:
    """What is parsed only where it is asked about, not wherever tests are collected."""
    return {path: ast.parse(source) for path, source in SOURCES.items()}


def test_a_file_holds_one_idea() -> None:
    long = [f"{path} ({lines} lines)" for path, source in SOURCES.items() if (lines := source.count("\n")) > MAX_LINES]
    assert not long, f"above {MAX_LINES} lines a file holds two ideas; split {', '.join(long)}"


def test_the_files_that_are_tested_first_are_there() -> None:
    assert not [name for name in LONGEST if not (ROOT / name).is_file()]
    assert len(set(LONGEST)) == len(LONGEST)


def test_a_file_is_named_for_its_subject() -> None:
    vague = [str(path) for path in SOURCES if CATCH_ALLS.intersection(path.with_suffix("").parts)]
    assert not vague, f"name what is in {', '.join(vague)}"


def test_public_things_say_what_they_are(trees: Trees) -> None:
    bare = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in trees.items()
        for node in tree.body
        if isinstance(node, Definition)
        and not node.name.startswith("_")
        and DOCUMENTED_BY_DECORATOR.isdisjoint(decorators(node))
        and not has_docstring(node)
    ]
    assert not bare, "no docstring: " + ", ".join(bare)


def test_no_two_files_need_each_other(trees: Trees) -> None:
    """Imports for the types alone, and those inside of functions, tell as much of who knows whom."""
    modules = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in trees}
    needs = {name: set(imported_modules(trees[path], set(modules))) - {name} for name, path in modules.items()}
    left = dict(needs)
    while free := [name for name, others in left.items() if not others & set(left)]:
        left = {name: others for name, others in left.items() if name not in free}
    pairs = sorted(f"{a} <-> {b}" for a, others in left.items() for b in others if a < b and a in left.get(b, ()))
    assert not left, f"circles of imports: {', '.join(pairs or sorted(left))}"


def imported_modules(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """The modules of the library that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else node.module


def test_the_library_does_not_import_its_facade(trees: Trees) -> None:
    """`from lipreg import X` reaches X over the top layer, which the contracts do not see."""
    submodules = {entry.stem for entry in PACKAGE.iterdir()}
    facade = [
        f"{path}:{node.lineno} {name}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt)
        for name in names_from_facade(node) - submodules
    ]
    assert not facade, "name the module that holds it instead of lipreg: " + ", ".join(facade)


def test_import_lipreg_is_light() -> None:
    """A user of the bounds alone pays for torch, not for Lightning, solvers or figures."""
    program = "import sys, lipreg; print(' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not HEAVY.intersection(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("from lipreg import LinfBall, bounds", {"LinfBall", "bounds"}),
        ("from lipreg.bounds import analyse", set()),
        ("import lipreg", {"lipreg"}),
        ("import lipreg.bounds", set()),
    ],
)
def test_the_facade_is_seen(line: str, names: set[str]) -> None:
    assert names_from_facade(ast.parse(line).body[0]) == names


def names_from_facade(node: ast.stmt) -> set[str]:
    """Return what a statement takes from the top of the package, without a module's name."""
    match node:
        case ast.Import():
            return {alias.name for alias in node.names} & {"lipreg"}
        case ast.ImportFrom(module="lipreg", level=0):
            return {alias.name for alias in node.names}
    return set()


def decorators(node: Definition) -> set[str]:
    """Return the last names of the decorators: `lowers` for `@registry.lowers(nn.ReLU)`."""
    calls = (entry.func if isinstance(entry, ast.Call) else entry for entry in node.decorator_list)
    return {ast.unparse(call).rpartition(".")[2] for call in calls}


def has_docstring(node: Definition) -> bool:
    """Return whether the definition has a docstring, written as one or assigned to `__doc__`."""
    targets = [target for entry in node.body if isinstance(entry, ast.Assign) for target in entry.targets]
    return bool(ast.get_docstring(node)) or any(ast.unparse(target) == "__doc__" for target in targets)
