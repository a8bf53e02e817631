"""What comes from a run folder is data: checkpoints load with weights_only, and nothing pickled is ever executed."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lipreg.callbacks.checkpoints import read_checkpoint
from lipreg.errors import InvalidInput
from tests.conftest import ROOT

SOURCES = sorted(path for folder in ("lipreg", "experiments", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
OWN_PIPES = {  # processes and actors read what their own parent has sent over a pipe or socket, and it their answers
    Path("lipreg/auditing") / name for name in ("worker.py", "background_program.py", "ray_actor.py", "ray.py")
} | {Path("lipreg/callbacks/ranks.py")}  # what another process of the same training raised
OWN_PIPES |= {Path("lipreg/testing") / name for name in ("executors.py", "penalties.py")}  # copies of what is checked
LOADERS = {"load", "loads", "Unpickler", "read_pickle", "load_from_checkpoint", "unsafe_load", "full_load"}
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "pd", "pandas"}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def named(path: Path, node: ast.Call) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def option(node: ast.Call, name: str) -> Any:
    return next((ast.literal_eval(k.value) for k in node.keywords if k.arg == name), None)


def test_every_checkpoint_is_loaded_with_weights_only() -> None:
    loads = [
        (path, node)
        for path in SOURCES
        for name, node in calls(path)
        if name == "torch.load" or name.endswith("load_from_checkpoint")
    ]
    assert loads
    unsafe = [named(path, node) for path, node in loads if option(node, "weights_only") is not True]
    assert not unsafe, f"pass weights_only=True: {', '.join(unsafe)}"


def test_nothing_else_unpickles() -> None:
    found = []
    for path in SOURCES:
        for name, node in calls(path):
            owner, _, last = name.rpartition(".")
            allowed = owner in ("np", "numpy") and last == "load" and option(node, "allow_pickle") is None
            pickled = owner.partition(".")[0] in PICKLES and last in LOADERS
            if (pickled and path.relative_to(ROOT) not in OWN_PIPES) or (
                owner in ("np", "numpy") and last == "load" and not allowed
            ):
                found.append(named(path, node))
            if name in ("eval", "exec", "yaml.load"):
                found.append(named(path, node))
    assert not found, f"records are data: {', '.join(found)}"


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    sprung, ckpt = tmp_path / "sprung", tmp_path / "trap.ckpt"
    for trap in ("pickle", "torch"):
        if trap == "pickle":
            ckpt.write_bytes(pickle.dumps(Trap(sprung), protocol=2))
        else:
            torch.save({"epoch": 1, "state_dict": {}, "callbacks": Trap(sprung)}, ckpt)
        with pytest.raises(InvalidInput, match="more than tensors and plain data") as caught:
            read_checkpoint(ckpt)
        assert "weights_only" not in str(caught.value), "torch's advice is to load it all the same"
        assert not sprung.exists()


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    ckpt = tmp_path / "a.ckpt"
    for content in (b"", b"no checkpoint"):
        ckpt.write_bytes(content)
        with pytest.raises(InvalidInput, match="cannot read"):
            read_checkpoint(ckpt)
    torch.save([1, 2], ckpt)
    with pytest.raises(InvalidInput, match="no state_dict and epoch"):
        read_checkpoint(ckpt, "epoch")
    with pytest.raises(InvalidInput, match="no such file"):
        read_checkpoint(tmp_path / "nowhere.ckpt")
    torch.save({"epoch": 3, "state_dict": {}}, ckpt)
    assert read_checkpoint(ckpt, "epoch")["epoch"] == 3
