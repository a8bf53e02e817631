"""docs/architecture.md: its list is in the order of the import contract, what it names is there, and its lists are whole."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CACHES = {
    "auditing/points.py versions",
    "invocation.py _commit",
    "milp/gurobi.py _status_names",
    "milp/gurobi.py _statuses",
    "milp/highs.py _silence_banner",
    "plain.py _fields",
    "population/ranks.py ranks",
    "reporting/html.py _asset",
    "transfer/rounding.py log_between",
}
"""Functions whose values a module of lipreg keeps: what is the same whenever it is computed, so that nobody can tell."""


def listed(folder: str) -> str:
    """The list of a folder on the page."""
    found = re.search(rf"^    {folder}/\n((?: {{6}}.*\n|\n(?= {{6}}))+)", PAGE, re.MULTILINE)
    assert found, folder
    return found[1]


def names(text: str) -> list[str]:
    """What a list names at the beginning of its entries: files, and folders with a slash."""
    heads = re.findall(r"^ {6}((?:\w+(?:\.py|/))(?:, \w+(?:\.py|/))*) ", text, re.MULTILINE)
    return [name for head in heads for name in head.split(", ")]


def layers() -> list[set[str]]:
    """The layers of the contract, from the one that imports nothing up."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (contract,) = (one for one in contracts if one["id"] == "layers")
    return [{name.strip(" ()") for name in layer.split("|")} for layer in reversed(contract["layers"])]


def test_the_list_is_in_the_order_of_the_contract() -> None:
    groups = [names(group) for group in listed("lipreg").split("\n\n")]
    assert [{name.removesuffix(".py").rstrip("/") for name in group} for group in groups] == layers()
    assert sum(map(len, groups)) == sum(map(len, layers()))


def test_the_list_of_the_library_is_whole() -> None:
    there = {path.name for path in (ROOT / "lipreg").glob("*.py")} - {"__init__.py"}
    there |= {f"{path.parent.name}/" for path in (ROOT / "lipreg").glob("*/__init__.py")}
    assert set(names(listed("lipreg"))) == there


@pytest.mark.parametrize("folder", ["auditing", "testing", "callbacks", "experiments"])
def test_the_list_of_a_package_is_whole(folder: str) -> None:
    place = ROOT / (folder if folder == "experiments" else f"lipreg/{folder}")
    there = {path.name for path in place.glob("*.py")} | {
        f"{path.parent.name}/" for path in place.glob("*/__init__.py")
    }
    found = names(listed(folder))
    assert set(found) == there - {"__init__.py"} and len(set(found)) == len(found)


def test_modules_in_brackets_are_there() -> None:
    """Brackets around single words hold the modules in which the words before them are."""
    seen = 0
    for entry in re.split(r"^ {6}(?=\w)", listed("lipreg"), flags=re.MULTILINE):
        package = entry.partition("/")[0]
        for bracket in re.findall(r"\((\w+(?:,\s+\w+)*)\)", entry):
            for module in re.split(r",\s+", bracket):
                assert (ROOT / "lipreg" / package / f"{module}.py").is_file(), f"{package}: ({module})"
                seen += 1
    assert seen > 20


def test_packages_have_a_folder_of_tests_or_are_named_as_those_that_have_none() -> None:
    tests, without = ROOT / "tests", {"records", "transfer", "training", "calibration"}
    packages = {path.parent.name for path in (ROOT / "lipreg").glob("*/__init__.py")} - {"conf"}
    assert {package for package in packages if not (tests / package).is_dir()} == without
    assert re.search(r"for the others \(records,\s+transfer, training, calibration\)", PAGE)


def test_what_modules_keep_is_listed() -> None:
    kept = set()
    for path in (ROOT / "lipreg").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for decorator in getattr(node, "decorator_list", ()):
                call = decorator.func if isinstance(decorator, ast.Call) else decorator
                if isinstance(node, ast.FunctionDef) and ast.unparse(call).rpartition(".")[2] in ("cache", "lru_cache"):
                    kept.add(f"{path.relative_to(ROOT / 'lipreg')} {node.name}")
    assert kept == CACHES


def test_results_are_of_the_kinds_that_are_named() -> None:
    kinds = {path.suffix for path in (ROOT / "benchmarks" / "results").iterdir()} - {".gz"}
    assert kinds == {".json", ".csv", ".svg"}
    assert {path.suffix for path in (ROOT / "experiments" / "results").iterdir()} == {".json", ".jsonl"}


@pytest.mark.parametrize("page", ["architecture", "branch_and_bound", "certificates", "mathematics", "statistics"])
def test_files_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    every = {path.name for path in (ROOT / "lipreg").rglob("*.py")}
    for name in set(re.findall(r"`((?:\w+/)*\w+\.py)`", text)):
        there = any((base / name).is_file() for base in (ROOT, ROOT / "lipreg", ROOT / "experiments"))
        assert there or name in every, f"docs/{page}.md names {name}"


OTHERS = {"DataParallel", "DistributedDataParallel", "KeyboardInterrupt", "LightningModule", "ReduceLROnPlateau"}
OTHERS |= {"StochasticWeightAveraging", "Trainer", "WandbLogger", "WeightAveraging"}
"""Classes of torch, of Lightning and of Python that docstrings of lipreg name without importing them."""


def test_classes_that_docstrings_name_are_there() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "lipreg").rglob("*.py")]
    quoted = {name for source in sources for name in re.findall(r"``([A-Z][a-z]\w*)(?:[.(][^`]*)?``", source)}
    code = {word for source in sources for word in re.findall(r"\w+", re.sub(r"``[^`]*``", "", source))}
    assert not quoted - code - OTHERS
