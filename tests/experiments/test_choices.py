"""Values that programs do not take, whichever they are of: a paragraph and exit code 1, before any work."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from omegaconf import OmegaConf

from experiments.choices import build, check_keys
from experiments.groups import groups_of
from experiments.mistakes import lacks_memory, mistake
from lipreg.errors import InvalidInput, MissingExtra
from tests.experiments.programs import GROUPS, run_here

WRONG = {
    "audit": {
        "": "network.weights has no value. Pass network.weights=VALUE",
        "network.weights=nowhere.ckpt": "cannot read nowhere.ckpt",
        "network.weights=zero.ckpt": "cannot read zero.ckpt: it is empty",
        "network.weights=zero.ckpt seed=x": "seed='x'. Accepted: a number",
    },
    "radius": {"network.weights=zero.ckpt points=many": "points='many'. Accepted: a number"},
    "report": {"": "runs has no value. Pass runs=VALUE", "runs=nowhere": "no folder or file nowhere"},
    "estimators": {
        "budgets=3": "there is no budgets (did you mean 'budget'?)",
        "setting=digit": "did you mean 'digits'?",
    },
    "penalties": {
        "processes=x": "processes='x'. Accepted: a number",
        "seeds=3": "seeds=3. Accepted: a list",
        "seed=3": "there is no seed (did you mean 'seeds'?)",
        "epochs=true": "epochs=True. Accepted: a number",
    },
    "workspace": {"": "no entity"},
}
CASES = [(program, given) for program, cases in WRONG.items() for given in cases]


@pytest.mark.parametrize(("program", "given"), CASES)
def test_a_mistake_is_a_paragraph_and_exit_code_1(tmp_path: Path, program: str, given: str) -> None:
    (tmp_path / "zero.ckpt").touch()
    done = run_here(tmp_path, f"experiments.{program}", *given.split())
    assert done.returncode == 1
    assert WRONG[program][given] in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout + done.stderr


class Taking:
    """Takes arguments of every kind that a configuration can write."""

    def __init__(
        self,
        number: float = 1.0,
        count: int | None = None,
        mode: Literal["a", "b"] = "a",
        switch: bool = False,
        names: Sequence[str] = (),
        options: Mapping[str, int] | None = None,
        anything: Path | str | None = None,
    ) -> None:
        if anything == "refused":
            raise ValueError("anything but that")
        if anything == "missing":
            raise ModuleNotFoundError("No module named 'missing'", name="missing")


def made(**given: Any) -> Any:
    return build(OmegaConf.create({"_target_": f"{__name__}.Taking", **given}), "group", Taking)


@pytest.mark.parametrize(
    "given",
    [
        {"number": 2, "count": 3, "mode": "b", "switch": True, "names": ["x"], "options": {"x": 1}},
        {"number": 0.5, "count": None, "options": None, "anything": 3, "names": []},
    ],
)
def test_values_that_a_class_takes_are_left_to_it(given: dict[str, Any]) -> None:
    assert isinstance(made(**given), Taking)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"number": "1"}, "group.number='1'. Accepted: a number"),
        ({"number": True}, "group.number=True. Accepted: a number"),
        ({"count": 1.5}, "group.count=1.5. Accepted: a whole number or null"),
        ({"mode": "c"}, "group.mode='c'. Accepted: 'a' or 'b'"),
        ({"switch": 1}, "group.switch=1. Accepted: true or false"),
        ({"names": "x"}, "group.names='x'. Accepted: a list, each a text"),
        ({"names": [1]}, r"group.names=\[1\]. Accepted: a list, each a text"),
        ({"options": [1]}, r"group.options=\[1\]. Accepted: values by name or null"),
        ({"anything": "refused"}, "group: anything but that"),
        ({"numbers": 1}, r"takes no group.numbers=1 \(did you mean 'number'\?\)"),
    ],
)
def test_others_are_refused_by_key_and_value(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        made(**given)


def test_a_package_that_is_missing_is_named_and_another_kind_of_object_refused() -> None:
    with pytest.raises(MissingExtra, match="No module named 'missing'"):
        made(anything="missing")
    with pytest.raises(InvalidInput, match=r"builtins\.dict makes a dict. Accepted: a Taking"):
        build(OmegaConf.create({"_target_": "builtins.dict"}), "group", Taking)


def test_keys_that_nothing_reads_are_refused_unless_a_value_refers_to_them() -> None:
    check_keys(OmegaConf.create({"a": 1, "own": 2, "b": {"c": "${own}"}}), ["a", "b"])
    with pytest.raises(InvalidInput, match=r"nothing takes part.aa=1 \(did you mean 'a'\?\)"):
        check_keys(OmegaConf.create({"aa": 1}), ["a"], "part")


def test_what_is_a_defect_is_no_mistake() -> None:
    assert mistake(RuntimeError("mat1 and mat2")) is None
    assert mistake(KeyError("a")) is None
    assert mistake(TypeError("unsupported operand")) is None
    assert mistake(OSError("of a library, without a number")) is None


def test_a_want_of_memory_is_told_from_other_errors_however_deep_it_lies() -> None:
    try:
        try:
            raise MemoryError
        except MemoryError as error:
            raise ImportError("numpy") from error
    except ImportError as error:
        assert lacks_memory(error)
    assert lacks_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert not lacks_memory(ModuleNotFoundError("No module named 'sklearn'"))


def test_the_help_of_a_program_lists_the_groups_of_both_folders(tmp_path: Path) -> None:
    done = run_here(tmp_path, "experiments.train", "--help")
    assert done.returncode == 0
    listed = dict(re.findall(r"^(\w+): (.+)$", done.stdout.partition("== Config ==")[0], re.MULTILINE))
    for group in {folder.name for files in GROUPS for folder in files.iterdir() if folder.is_dir()} - {"__pycache__"}:
        options = {file.stem for files in GROUPS for file in (files / group).glob("*.yaml")}
        assert set(listed[group].split(", ")) == options


@pytest.mark.parametrize("name", [file.stem for file in GROUPS[0].glob("*.yaml")])
def test_the_groups_of_a_configuration_are_folders(name: str) -> None:
    assert all(any((files / group).is_dir() for files in GROUPS) for group in groups_of(name))
