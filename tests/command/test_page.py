"""What README.md and docs/your_network.md print runs as it stands there, of the wheel alone."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lipreg
from lipreg.command.main import parser
from tests.command.test_command import files as files
from tests.conftest import ROOT
from tests.experiments.programs import QUIET
from tests.forks import ForkServer
from tests.loading.test_networks import saved

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PAGE = (ROOT / "docs" / "your_network.md").read_text(encoding="utf-8")
NETS = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, x):
        return self.body(x)
"""
LINES = """
import shlex
import sys

import lipreg
from lipreg.command.main import main

print(lipreg.__file__)
for line in sys.argv[1:]:  # in one process, which loads torch once
    code = main(shlex.split(line)[1:])
    if code:
        sys.exit(f"{line} ended with {code}")
"""
DATA = """
import torch
import pytorch_lightning as pl
from torch.utils.data import DataLoader, TensorDataset


class Points(pl.LightningDataModule):
    def val_dataloader(self):
        return DataLoader(TensorDataset(torch.rand(8, 4), torch.randint(3, (8,))), batch_size=4)
"""
(QUESTION,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


class Net(nn.Module):
    """The network of ``NETS``, to write its files with."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of somebody's with all that the pages name."""
    first, second = Net(), Net()
    saved(tmp_path / "w.pt", first)
    saved(tmp_path / "v.pt", second)
    saved(tmp_path / "run.ckpt", first, hyper_parameters={})
    x = torch.rand(3, 4)
    np.savez(tmp_path / "d.npz", x=x.numpy(), y=first.body(x).argmax(1).numpy())
    for name, text in (("nets.py", NETS), ("data.py", DATA), ("question.yaml", QUESTION)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    _written_as_onnx(first.body, tmp_path / "net.onnx")
    torch.export.save(torch.export.export(first.body, (x,)), tmp_path / "net.pt2")
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.05))
    audited = lipreg.audit(first.body.double(), problem, x[:1].double(), torch.tensor([0]), certificates=True)
    audited.save(tmp_path / "runs" / "records.jsonl")
    yield tmp_path


def commands() -> list[str]:
    """All lines of all pages that are commands of lipreg's own program."""
    lines = [line.strip() for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()]
    return list(dict.fromkeys(line for line in lines if re.match(r"lipreg [a-z]+( |$)", line)))


def test_every_command_of_the_pages_runs_from_the_wheel(folder: Path, unpacked: Path, programs: ForkServer) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    told = commands()
    assert {line.split()[1] for line in told} == {"audit", "bounds", "check", "compare", "radius", "report", "version"}
    (folder / "lines.py").write_text(LINES, encoding="utf-8")
    variables = {**os.environ, **QUIET, "PYTHONPATH": str(unpacked)}
    done = programs.run([sys.executable, "-P", "lines.py", *told], folder, variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(unpacked) in done.stdout, "the wheel's, not the checkout's"
    assert all((folder / name).is_file() for line in told for name in re.findall(r"--(?:html|records|out) (\S+)", line))


def test_the_program_of_the_wheel_is_that_of_the_module(unpacked: Path) -> None:
    (entries,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert "lipreg = lipreg.command.main:main" in entries.read_text(encoding="utf-8")


def test_every_command_is_read_by_the_command_line() -> None:
    for line in commands():
        parser().parse_args(shlex.split(line)[1:])


def test_the_python_of_the_page_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    (example,) = re.findall(r"## In Python\n\n```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(example, "your_network", "exec"), {})
    assert "3 of 3 points exact" in capsys.readouterr().out and (folder / "page.html").is_file()


def _written_as_onnx(net: nn.Sequential, path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    constants = {name: value.numpy() for name, value in net.state_dict().items()}
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    ends = [helper.make_tensor_value_info(name, real, ("N", size)) for name, size in (("x", 4), ("y", 3))]
    held = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
