"""Audits beside training: the same results as here, training untouched, a bounded queue, and nothing lost by kills."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger

from lipreg.auditing.journal import Journal
from lipreg.callbacks import Beside, LipschitzAudit
from lipreg.callbacks.snapshots import Snapshot
from lipreg.errors import InvalidInput
from lipreg.estimators import ESTIMATORS, register
from lipreg.records import AuditRecord
from tests.auditing.cases import Waits
from tests.auditing.processes import alive, wait_until_dead
from tests.callbacks.cases import Probe
from tests.callbacks.test_audit import PROBLEM, Model, Notes, assert_equal, audit, epochs, records, train

SEARCH = ("mip", "random_points")


def beside(**settings: Any) -> LipschitzAudit:
    own = {key: settings.pop(key) for key in ("waiting", "when_busy", "end_limit") if key in settings}
    return audit(**{"executor": Beside(**own), "estimators": SEARCH, "budget": 600.0, **settings})


@pytest.fixture
def waits() -> Iterator[str]:
    """A search that takes all its time, or until it is stopped."""
    before = dict(ESTIMATORS)
    register("waits")(Waits)
    yield "waits"
    ESTIMATORS.clear()
    ESTIMATORS.update(before)


def pid(ours: LipschitzAudit) -> int | None:
    assert isinstance(ours.place, Beside)
    return ours.place.queue.process.pid


def told(folder: Path) -> dict[tuple[int, int, str], tuple[float, float, str]]:
    return {(r.epoch, r.point, r.estimator): (r.lower, r.upper, r.fingerprint) for r in records(folder)}


@pytest.mark.usefixtures("fresh_workers")
def test_training_and_records_are_those_of_audits_here(tmp_path: Path) -> None:
    seen: list[Any] = []
    for name, executor in (("here", "inline"), ("beside", Beside(waiting=5))):
        pl.seed_everything(7, verbose=False)
        model, notes, ours = Model(), Notes(), beside(executor=executor)
        logger = CSVLogger(tmp_path / name)
        trainer = train(model, ours, notes, folder=tmp_path / name, max_epochs=3, logger=logger)
        assert sorted(set(epochs(tmp_path / name))) == [0, 1, 2, 3]
        (table,) = (tmp_path / name).rglob("metrics.csv")
        lines = [line.split(",") for line in table.read_text().splitlines()]
        columns = [lines[0].index(key) for key in ("audit/epoch", "step", "audit/combined_upper")]
        logged = sorted(tuple(line[i] for i in columns) for line in lines[1:] if line[columns[0]])
        state = {k: v for k, v in trainer.callback_metrics.items() if k.startswith("audit/")}
        seen.append(
            (model.state_dict(), notes.seen, told(tmp_path / name), logged, state, {**ours.state_dict(), "run_id": ""})
        )
    assert_equal(*seen)
    assert not list(tmp_path.rglob("*.partial"))


def test_the_queue_is_short(tmp_path: Path, waits: str) -> None:
    """With "drop" what does not fit is left out and said; the end waits no longer than agreed, and keeps what is proved."""
    ours = beside(estimators=("fastlip", waits), budget=200.0, waiting=1, when_busy="drop", end_limit=1.0)
    began = time.monotonic()
    with pytest.warns(UserWarning, match="no audit after epoch 2: that of epoch 0 still runs, and 1 may wait"):
        train(Model(), ours, folder=tmp_path)
    assert time.monotonic() - began < 90
    assert ours.dropped == [2, 3]
    assert sorted(set(epochs(tmp_path))) == [0, 1, 4]  # the end is audited in any case, as far as time allows
    found = {r.epoch: r for r in records(tmp_path) if r.estimator == waits and r.point == 0}
    assert {r.status for r in found.values()} == {"interrupted"}
    assert all(r.upper < float("inf") for r in records(tmp_path) if r.estimator == "combined")


def test_delay_lets_training_wait(tmp_path: Path, waits: str) -> None:
    ours = beside(estimators=("fastlip", waits), budget=0.2, points=1, waiting=0)
    train(Model(), ours, folder=tmp_path, max_epochs=2)
    assert ours.dropped == []
    assert epochs(tmp_path) == [0, 1, 2]


def test_a_killed_audit_goes_on_in_another_process(tmp_path: Path) -> None:
    ours, killed = beside(every_n_epochs=9, at_end=False), []

    def kill(module: pl.LightningModule) -> None:
        if not killed:
            killed.append(pid(ours))
            os.kill(killed[0], signal.SIGKILL)

    train(Model(), ours, Probe(kill), folder=tmp_path, max_epochs=1)
    assert killed and wait_until_dead(killed)
    assert epochs(tmp_path) == [0]
    assert {r.status for r in records(tmp_path) if r.estimator == "combined"} <= {"proved", "bounded"}


def test_an_error_in_training_ends_the_process(tmp_path: Path, waits: str) -> None:
    ours, seen = beside(estimators=("fastlip", waits)), []

    def fail(module: pl.LightningModule) -> None:
        seen.append(pid(ours))
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        train(Model(), ours, Probe(fail), folder=tmp_path)
    assert seen[0] is not None and not alive(seen[0])


def test_it_can_be_pickled_while_an_audit_runs(tmp_path: Path, waits: str) -> None:
    ours, sizes = beside(estimators=("fastlip", waits), budget=0.2), []
    train(Model(), ours, Probe(lambda module: sizes.append(len(pickle.dumps(ours)))), folder=tmp_path, max_epochs=1)
    assert len(sizes) == 3


def test_weights_that_are_nan_are_training_s_trouble(tmp_path: Path) -> None:
    class Diverging(Model):
        def on_train_epoch_start(self) -> None:
            with torch.no_grad():
                self.net[4].bias.fill_(float("nan"))

    with pytest.warns(UserWarning, match="no audit after epoch 1"):
        train(Diverging(), beside(), folder=tmp_path, max_epochs=1)
    assert epochs(tmp_path) == [0]


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"waiting": -1}, "waiting=-1"),
        ({"waiting": 1.5}, "waiting=1.5"),
        ({"when_busy": "pile"}, "when_busy='pile'.*delay, drop"),
        ({"end_limit": -1.0}, "end_limit=-1.0"),
        ({"end_limit": float("inf")}, "end_limit=inf"),
        ({"executor": "slurm"}, "slurm"),
        ({"gap": 2.0}, "gap=2.0"),
    ],
)
def test_arguments_that_cannot_be_right(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        beside(**settings)


# ---------------------------------------------------------------- a training that is killed in an audit


def test_a_killed_training_goes_on_with_its_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was proved is in the record file after the restart, and the audit does the rest."""
    settings: dict[str, Any] = {"estimators": SEARCH, "budget": 600.0, "points": 4}
    pl.seed_everything(3, verbose=False)
    train(Model(), audit(**settings), folder=tmp_path / "whole", max_epochs=1)

    ours, own = audit(**settings), Journal.advance
    count = 0

    def stop_after_two(journal: Any, *arguments: Any) -> None:
        nonlocal count
        own(journal, *arguments)
        count += 1
        if count == 4:  # as by kill -9: nothing is put in order
            monkeypatch.setattr(Journal, "close", lambda journal: None)
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "advance", stop_after_two)
    pl.seed_everything(3, verbose=False)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(Model(), ours, folder=tmp_path / "killed", max_epochs=1)
    assert list((tmp_path / "killed").glob("records.*.partial"))
    monkeypatch.undo()
    pl.seed_everything(3, verbose=False)
    train(Model(), audit(**settings), folder=tmp_path / "killed", max_epochs=1)
    assert told(tmp_path / "killed") == told(tmp_path / "whole")
    start: list[AuditRecord] = [r for r in records(tmp_path / "killed") if r.epoch == 0 and r.estimator == "mip"]
    assert any(r.resumed for r in start) or len(start) == 4
    assert not list((tmp_path / "killed").glob("*.partial"))


def test_a_checkpoint_holds_the_audits_that_are_under_way(tmp_path: Path, waits: str) -> None:
    """The training that is resumed from it does them first, and ends with the weights that it would have without them."""
    settings = {"estimators": SEARCH, "budget": 600.0, "end_limit": 60.0}
    pl.seed_everything(3, verbose=False)
    train(Model(), beside(**settings), folder=tmp_path / "whole", max_epochs=1)
    checkpoint = tmp_path / "middle.ckpt"

    class Killed(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(checkpoint)
                raise RuntimeError("power cut")

    pl.seed_everything(3, verbose=False)
    with pytest.raises(RuntimeError, match="power cut"):
        cut = beside(estimators=("fastlip", waits), budget=200.0, waiting=2)
        train(Model(), cut, Killed(), folder=tmp_path / "cut", max_epochs=2)
    (saved,) = [v for k, v in torch.load(checkpoint, weights_only=True)["callbacks"].items() if "LipschitzAudit" in k]
    assert [snapshot["epoch"] for snapshot in saved["pending"]] == [0, 1]
    ends = []
    for callbacks in ([], [beside(**settings)]):
        pl.seed_everything(5, verbose=False)
        ends.append(Model())
        train(ends[-1], *callbacks, folder=tmp_path / "cut", max_epochs=2, ckpt_path=checkpoint)
    assert_equal(*(model.state_dict() for model in ends))
    found = told(tmp_path / "cut")
    assert sorted({epoch for epoch, _, _ in found}) == [0, 1, 2]
    assert {k: v for k, v in found.items() if k[0] < 2 and k[2] in (*SEARCH, "combined")} == told(tmp_path / "whole")


def test_a_snapshot_goes_into_a_network_and_out_of_it(tmp_path: Path) -> None:
    model, other = Model(), Model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    snapshot = Snapshot.of(other, 3, 7)
    with snapshot.put_into(model):
        assert all(torch.equal(t, other.state_dict()[n]) for n, t in model.state_dict().items())
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    with pytest.raises(InvalidInput, match="another network"), snapshot.put_into(torch.nn.Linear(2, 2)):
        pass


def test_threads_do_not_pile_up(tmp_path: Path) -> None:
    before = threading.active_count()
    train(Model(), beside(problem=PROBLEM), folder=tmp_path, max_epochs=1)
    assert threading.active_count() <= before + 1
