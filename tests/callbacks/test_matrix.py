"""Two training processes, the callbacks in every order, every kind of logging: nobody waits for ever, all end as one."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch

from lipreg.records import EpochRecord, read_records
from tests.callbacks.matrix_job import CELLS
from tests.callbacks.ranks import Ranks
from tests.conftest import ROOT
from tests.forks import ForkServer

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="no torch.distributed")


class Job:
    """A job in processes of its own, none of which outlives its limit."""

    def __init__(self, programs: ForkServer, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.ranks = Ranks(programs, "tests.callbacks.matrix_job", str(folder), *arguments, count=1 if arguments else 2)

    def wait(self) -> None:
        self.statuses, self.printed = self.ranks.wait(), self.ranks.printed()

    def saw(self, name: str, rank: int = 0) -> dict[str, Any]:
        path = self.folder / f"{name}.{rank}.pt"
        assert path.exists(), f"{name} did not end in process {rank}:\n{self.printed[-3000:]}"
        return torch.load(path)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, programs: ForkServer) -> tuple[Job, Job]:
    """All cells, and the one in a notebook."""
    whole, notebook = (
        Job(programs, tmp_path_factory.mktemp("matrix"), *arguments) for arguments in ((), ("notebook",))
    )
    whole.wait()
    notebook.wait()
    return whole, notebook


def reported(folder: Path) -> list[float]:
    """What the records of epochs say of the module's own figure."""
    return [r.metrics.get("mine", 0.0) for r in read_records(folder) if isinstance(r, EpochRecord)]


@pytest.mark.parametrize(("order", "logs"), CELLS)
def test_every_order_beside_every_kind_of_logging(jobs: tuple[Job, Job], order: str, logs: str) -> None:
    """The module's figure is 1 in one process and 3 in the other; what Lightning says of it is their mean."""
    name = f"{order}, {logs}"
    first, second = (jobs[0].saw(name, rank) for rank in (0, 1))
    assert "error" not in first, first
    assert first == second
    assert first.get("mine", 0.0) == (0.0 if logs == "no log" else 2.0)
    # neither an order nor what the module logs changes a weight
    alike = jobs[0].saw(f"{'both' if 'both' in order else order}, no log")
    assert first == {**alike, **({} if logs == "no log" else {"mine": 2.0})}
    if order != "regularizer":
        assert 0 < first["audit/combined_lower"] <= first["audit/fastlip"]
        assert reported(jobs[0].folder / name) == [first.get("mine", 0.0)] * 2
    if order != "audit":
        assert first["lipreg/weight"] == pytest.approx(0.1)
        assert first["lipreg/penalty"] > 0


@pytest.mark.parametrize("order", ["both", "both reversed"])
def test_an_epoch_that_is_cut_short(jobs: tuple[Job, Job], order: str) -> None:
    first, second = (jobs[0].saw(f"{order}, cut short", rank) for rank in (0, 1))
    assert first == second
    assert first["mine"] == 2.0
    assert first["lipreg/penalty"] > 0
    assert first["audit/bound"] > 0
    assert reported(jobs[0].folder / f"{order}, cut short") == [2.0, 2.0]


def test_an_audit_beside_training_and_a_figure_of_all_processes(jobs: tuple[Job, Job]) -> None:
    first, second = (jobs[0].saw("beside training", rank) for rank in (0, 1))
    assert first == second
    assert first == jobs[0].saw("both, on_epoch with sync_dist")


@pytest.mark.parametrize(
    ("name", "rank", "kind", "message"),
    [
        ("bounds that cross", 1, "CrossingBounds", "point 1: lp lies below a witness"),
        ("no memory", 1, "MemoryError", "of 9 GiB"),
        ("unreadable", 1, "Unreadable", "this and that"),
        ("batches that cannot be read", 1, "ValueError", "no inputs in this batch"),
        ("no space on the disk", 0, "OSError", "No space left on device"),
        ("a logger that fails", 0, "ConnectionError", "the server of the logger is gone"),
        ("no folder", 0, "InvalidInput", "Choose a folder that can be written"),
    ],
)
def test_an_audit_that_fails_in_one_process_ends_all_with_its_message(
    jobs: tuple[Job, Job], name: str, rank: int, kind: str, message: str
) -> None:
    own, other = jobs[0].saw(name, rank), jobs[0].saw(name, 1 - rank)
    assert kind in own["error"]
    assert kind in other["error"]
    assert message in own["error"]
    assert message in other["error"]
    assert other["notes"] == [f"(raised in process {rank} of the training)"]


def test_an_error_that_nobody_catches_ends_both_programs(jobs: tuple[Job, Job]) -> None:
    jobs[0].saw("no folder")  # all cells are done
    assert 0 not in jobs[0].statuses
    assert "(raised in process 1 of the training)" in jobs[0].printed
    assert jobs[0].printed.count("MemoryError: that nobody catches") >= 1


def test_a_notebook_s_processes(jobs: tuple[Job, Job]) -> None:
    """The trainer's metrics and the records are there when the processes that trained are not."""
    found = jobs[1].saw("notebook")
    assert found == jobs[0].saw("both, on_epoch with sync_dist")
    assert reported(jobs[1].folder / "notebook") == [2.0, 2.0]


def test_a_plain_loop_around_a_network_that_is_wrapped_for_two_processes(jobs: tuple[Job, Job]) -> None:
    first, second = (jobs[0].saw("plain loop", rank) for rank in (0, 1))
    assert torch.equal(first["together"], second["together"])
    assert not torch.allclose(first["alone"], second["alone"], rtol=0.1)
    torch.testing.assert_close(first["together"], (first["alone"] + second["alone"]) / 2)


def test_one_file_reads_what_lightning_reduces() -> None:
    """Reading these in one process waits for the others; ``logged`` says so, and nothing else reads them."""
    reducing = {"callback_metrics", "logged_metrics", "progress_bar_metrics", "log_dir"}
    for path in sorted((ROOT / "lipreg").rglob("*.py")):
        read = {n.attr for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Attribute)} & reducing
        assert not read or path.name == "logged.py", f"{path} reads {read}"
