"""Which run a training is: its id, its record, where its records lie, who may write there, and what its twin is."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader

from lipreg.auditing.lock import RecordLock
from lipreg.callbacks import LipschitzAudit, LipschitzRegularizer, twins
from lipreg.callbacks.folders import record_file
from lipreg.callbacks.run_identity import run_record
from lipreg.callbacks.twins import find_twin, twin_of_checkpoint
from lipreg.errors import IncomparableResults, InvalidInput
from lipreg.records import AuditRecord, EpochRecord, RecordFile, RunRecord, Source, Sources, read_records, read_sources
from lipreg.reporting.frames import audit_frame, epoch_frame
from lipreg.reporting.html import write_runs_report
from lipreg.reporting.runs import find_entries
from lipreg.runs import recorded_runs
from lipreg.transfer import compare
from tests.callbacks import cases, test_audit
from tests.callbacks.test_audit import PROBLEM, QUIET, Model, dataset


def regularizer(**settings: Any) -> LipschitzRegularizer:
    return cases.regularizer(**{"problem": PROBLEM, **settings})


def audit(**settings: Any) -> LipschitzAudit:
    return test_audit.audit(**{"estimators": ("affine_relu", "branch_and_bound"), **settings})


class Measured(Model):
    """Reports an accuracy under the name that tables show."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val_accuracy", (self(x).argmax(1) == y).float().mean())


def train(folder: Path, *callbacks: pl.Callback, seed: int | None = 3, **settings: Any) -> pl.Trainer:
    """Two epochs of three batches, from the seed's weights; ``ckpt`` goes on from there."""
    os.environ.pop("PL_GLOBAL_SEED", None)
    pl.seed_everything(3 if seed is None else seed, verbose=False)
    if seed is None:
        os.environ.pop("PL_GLOBAL_SEED")
    ckpt = settings.pop("ckpt", None)
    known = {"max_epochs": 2, "logger": False, "accelerator": "cpu", "default_root_dir": folder, **QUIET}
    trainer = pl.Trainer(callbacks=list(callbacks), **{**known, **settings})
    data = dataset()
    trainer.fit(Measured(), DataLoader(data, batch_size=8), DataLoader(data, batch_size=12), ckpt_path=ckpt)
    os.environ.pop("PL_GLOBAL_SEED", None)
    return trainer


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A twin with no callback but the audit, two trainings against it, and a resume of the last of them."""
    folder = tmp_path_factory.mktemp("pair")
    plain = audit(run="plain")
    trainer = train(folder, plain)
    trainer.save_checkpoint(folder / "plain.ckpt")
    mine = audit(run="penalty", twin="plain")
    trainer = train(folder, regularizer(), mine)
    shown = {k: float(v) for k, v in trainer.callback_metrics.items()}
    first, plain_id = mine.run_id, plain.run_id
    trainer.save_checkpoint(folder / "penalty.ckpt")
    again = audit(run="penalty", twin="plain")
    train(folder, regularizer(weight=0.9), again)
    resumed = audit(run="penalty", twin="plain")
    train(folder, regularizer(), resumed, ckpt=folder / "penalty.ckpt", max_epochs=3)
    yield SimpleNamespace(
        folder=folder,
        records=read_records(folder),
        shown=shown,
        ids=(plain_id, first, again.run_id, resumed.run_id),
    )


def test_a_fit_has_an_id_that_a_resume_keeps(pair: SimpleNamespace) -> None:
    plain, first, again, resumed = pair.ids
    assert len({plain, first, again}) == 3 and resumed == first
    assert all(r.id if isinstance(r, RunRecord) else r.run_id for r in pair.records)
    runs = {run.key: run for run in recorded_runs(pair.records)}
    assert list(runs) == [plain, first, again]
    assert sorted({r.epoch for r in runs[first].audits}) == [0, 1, 2, 3] and runs[first].record.start_epoch == 2
    assert runs[first].course == "", "the resume had the same penalty"
    assert sorted({r.epoch for r in runs[again].audits}) == [0, 1, 2]
    assert [r.epoch for r in runs[first].epochs] == [1, 2, 3]


def test_the_callback_writes_what_was_trained(pair: SimpleNamespace) -> None:
    told = [r for r in pair.records if isinstance(r, RunRecord)]
    plain, mine = told[0], told[1]
    assert (plain.run, plain.twin, plain.bound, plain.weight, plain.seed, plain.recipe) == (
        "plain",
        None,
        None,
        0.0,
        3,
        {},
    )
    assert (mine.run, mine.twin, mine.twin_id, mine.seed) == ("penalty", "plain", pair.ids[0], 3)
    assert (mine.bound, mine.weight, mine.recipe["preactivations"]) == ("affine_relu", 0.3, ["interval"])
    assert mine.question == PROBLEM.describe() and mine.sentence == PROBLEM.sentence()
    term = regularizer().term
    assert mine.settings["lipreg"] == [term.penalty.describe(), term.schedule.describe()]
    assert mine.settings["model"]["class"] == "Measured" and mine.settings["model"]["parameters"] > 0
    assert mine.versions["torch"] == importlib.metadata.version("torch") and "lipreg" in mine.versions
    assert f"pid {os.getpid()} on {socket.gethostname()}" == mine.process and mine.started.startswith("20")


def test_a_training_with_no_callback_but_the_audit_is_a_twin(pair: SimpleNamespace) -> None:
    """In the report of one's own trainings: twin, weight, accuracy and transfer."""
    entries, left_out = find_entries([Source("records.jsonl", tuple(pair.records))])
    assert left_out == [] and [e.regularised.run.record.weight for e in entries] == [0.3, 0.9]
    for entry, key in zip(entries, pair.ids[1:3], strict=True):
        assert (
            entry.twin is not None
            and entry.twin.run.record.id == pair.ids[0]
            and entry.regularised.run.record.id == key
        )
        assert entry.last is not None and entry.last.epoch == 2 and entry.last.movement.transfer is not None
        assert entry.last.regularised.metric is not None and entry.last.twin.metric is not None
    told = compare(pair.records, pair.ids[1], 2)
    found = told.movement
    assert told.likeness.same_start and told.likeness.doubts == ()
    assert found.transfer is not None and pair.shown["audit/transfer"] == pytest.approx(found.transfer.midpoint)
    page = write_runs_report(Sources((Source("r", tuple(pair.records)),)), pair.folder / "report.html").read_text()
    assert "weight 0.3" in page and "weight 0.9" in page


def test_a_second_run_of_a_script_is_another_run(tmp_path: Path) -> None:
    """Seeds agree, so its twins are the same network twice; with other seeds each finds its own."""
    for seed in (3, 3, 4):
        train(tmp_path, audit(run="plain", at_start=False, points=2), seed=seed, max_epochs=1)
        mine = audit(run="penalty", twin="plain", at_start=False, points=2)
        train(tmp_path, regularizer(), mine, seed=seed, max_epochs=1)
    entries, left_out = find_entries(read_sources(tmp_path).files)
    assert left_out == [] and len(entries) == 3
    assert len({e.regularised.run.record.id for e in entries}) == 3
    assert [(e.regularised.run.record.seed, e.twin and e.twin.run.record.seed) for e in entries] == [
        (3, 3),
        (3, 3),
        (4, 4),
    ]
    assert entries[0].last is not None and entries[1].last is not None
    assert entries[0].last.movement == entries[1].last.movement
    frame = audit_frame(tmp_path)
    assert frame[frame.estimator == "combined"].groupby("run_id").size().tolist() == [2] * 6


def test_an_ambiguous_twin_is_refused_with_the_candidates(tmp_path: Path) -> None:
    plains = [audit(run="plain", at_start=False, points=2) for _ in range(2)]
    for seed, plain in zip((3, 4), plains, strict=True):
        train(tmp_path, plain, seed=seed, max_epochs=1)
    refused = audit(run="penalty", twin="plain", points=2)
    with pytest.raises(InvalidInput, match="2 runs are called 'plain'") as error:
        train(tmp_path, regularizer(), refused, seed=None, max_epochs=1)
    for plain, seed in zip(plains, (3, 4), strict=True):
        assert f"'plain' (id {plain.run_id}, started 20" in error.value.accepted
        assert f"seed {seed}, 1 epoch)" in error.value.accepted
    with pytest.raises(IncomparableResults, match="no twin"):  # by its id, but of another seed
        train(tmp_path, regularizer(), audit(run="penalty", twin=plains[1].run_id, points=2), seed=3, max_epochs=1)
    mine = audit(run="penalty", twin=plains[1].run_id, points=2, at_start=False)
    trainer = train(tmp_path, regularizer(), mine, seed=None, max_epochs=1)
    assert "audit/transfer" in trainer.callback_metrics
    with pytest.warns(UserWarning, match="no run 'nobody'.*'plain' \\(id"):
        train(tmp_path, audit(run="other", twin="nobody", points=2), max_epochs=1)


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_twin_in_another_folder_goes_by_its_path(pair: SimpleNamespace, tmp_path: Path, form: str) -> None:
    train(tmp_path / "plain", audit(run="run"), max_epochs=1)
    name = tmp_path / "plain" if form == "folder" else tmp_path / "plain" / "records.jsonl"
    trainer = train(tmp_path / "mine", regularizer(), audit(run="run", twin=str(name)), max_epochs=1)
    assert "audit/transfer" in trainer.callback_metrics, "though both have the default label"
    entries, _ = find_entries(read_sources(tmp_path).files)
    (entry,) = entries
    assert entry.last is not None and entry.last.twin.run.startswith("run (")
    with pytest.raises(InvalidInput, match="nothing is there"):
        train(tmp_path / "mine", regularizer(), audit(run="run", twin=str(tmp_path / "no" / "where")), max_epochs=1)


def test_a_checkpoint_is_a_twin_audited_once_at_its_epoch(pair: SimpleNamespace, tmp_path: Path) -> None:
    name, shown = str(pair.folder / "plain.ckpt"), []
    for _ in range(2):
        mine = audit(run="penalty", twin=name)
        trainer = train(tmp_path, regularizer(), mine, max_epochs=2)
        shown.append({k: float(v) for k, v in trainer.callback_metrics.items() if "transfer" in k or "movement" in k})
        (ours,) = [run for run in recorded_runs(read_records(tmp_path)) if run.record.id == mine.run_id]
        assert ours.record.twin == "plain"
    assert shown[0] == shown[1] and "audit/transfer" in shown[0]
    # the same as against the records of the twin's own training
    assert shown[0]["audit/transfer"] == pytest.approx(pair.shown["audit/transfer"], rel=1e-6)
    told = [run for run in recorded_runs(read_records(tmp_path)) if run.label == "plain"]
    (twin,) = told
    assert {r.epoch for r in twin.audits} == {2} and len(twin.audits) == len(
        {(r.point, r.estimator) for r in twin.audits}
    )
    assert sum(isinstance(r, RunRecord) and r.run == "plain" for r in read_records(tmp_path)) == 1, "audited once"
    entries, _ = find_entries(read_sources(tmp_path).files)
    assert [e.last and e.last.epoch for e in entries] == [2, 2]
    torch.save({"state_dict": {"net.weight": torch.zeros(2)}}, tmp_path / "other.ckpt")
    with pytest.raises(InvalidInput, match="does not say its epoch"):
        train(tmp_path, regularizer(), audit(run="penalty", twin=str(tmp_path / "other.ckpt")))
    content = torch.load(name, weights_only=True)
    torch.save({**content, "state_dict": {"net.weight": torch.zeros(2)}}, tmp_path / "other.ckpt")
    with pytest.raises(InvalidInput, match="those of another network"):
        train(tmp_path, regularizer(), audit(run="penalty", twin=str(tmp_path / "other.ckpt")))


def test_a_twin_without_the_penalised_bound_is_told_what_adds_it(tmp_path: Path) -> None:
    train(tmp_path, audit(run="plain", estimators=("branch_and_bound",), points=2), max_epochs=1)
    with pytest.warns(UserWarning, match=r"estimators=\[..., Bound\('affine_relu', preactivations=\['interval'\]\)\]"):
        trainer = train(tmp_path, regularizer(), audit(run="penalty", twin="plain", points=2), max_epochs=1)
    assert "audit/transfer" not in trainer.callback_metrics
    shown = {k: float(v) for k, v in trainer.callback_metrics.items()}
    assert "audit/bound_movement" not in shown
    exact = {  # the truth's movement needs no bound
        (r.run, r.point): (r.lower, r.upper)
        for r in read_records(tmp_path)
        if isinstance(r, AuditRecord) and r.estimator == "combined" and r.epoch == 1
    }
    for side, (mine, theirs) in enumerate(((0, 1), (1, 0))):
        ratios = [exact["penalty", point][mine] / exact["plain", point][theirs] for point in (0, 1)]
        moved = shown[f"audit/movement_{('lower', 'upper')[side]}"]
        assert moved == pytest.approx((ratios[0] * ratios[1]) ** 0.5, rel=1e-6)
    (entry,), _ = find_entries(read_sources(tmp_path).files)
    assert entry.last is None and entry.twin is not None
    assert "'plain' was not audited with the penalised bound, affine_relu" in entry.trouble
    assert "Bound('affine_relu', preactivations=['interval'])" in entry.trouble
    assert "The movement of the truth is known without the bound (E_reg / E_twin after 1 epoch," in entry.trouble
    page = write_runs_report(read_sources(tmp_path), tmp_path / "report.html").read_text()
    assert "No point was audited" not in page and "not compared with its twin plain" in page


def test_a_twin_that_was_audited_after_other_epochs_is_said_at_the_end(tmp_path: Path) -> None:
    train(tmp_path, audit(run="plain", points=2, at_start=False), max_epochs=1)
    mine = audit(run="penalty", twin="plain", points=2, at_start=False, every_n_epochs=2)
    with pytest.warns(
        UserWarning,
        match=r"no epoch was audited in both.*'penalty' was audited after epoch 2; .*'plain'.* after epoch 1\.",
    ):
        train(tmp_path, regularizer(), mine, max_epochs=2)
    (entry,), _ = find_entries(read_sources(tmp_path).files)
    assert (
        "no epoch was audited in both: 'penalty' was audited after epoch 2; 'plain' was audited after" in entry.trouble
    )


def test_a_resume_with_another_penalty_is_told_at_its_start(tmp_path: Path) -> None:
    first = train(tmp_path, regularizer(), audit(run="penalty", points=2, at_start=False), max_epochs=1)
    first.save_checkpoint(tmp_path / "one.ckpt")
    found = regularizer(weight="auto")
    cases: list[tuple[LipschitzRegularizer, str, str]] = [
        (regularizer(weight=0.9), "weight 0.3, from epoch 1 on 0.9", "weight 0.3, from epoch 1 on 0.9"),
        (found, "weight 0.3, from epoch 1 on auto", "weight 0.3, from epoch 1 on {}"),
        (
            regularizer(quantity="pgd"),
            *["affine_relu, weight 0.3, from epoch 1 on another penalty (pgd, weight 0.3)"] * 2,
        ),
    ]
    for changed, said, recorded in cases:
        again = audit(run="penalty", points=2, at_start=False)
        with pytest.warns(
            UserWarning, match=re.escape(f"goes on from epoch 1 with another penalty than before: {said}. It stays")
        ):
            train(tmp_path, changed, again, ckpt=tmp_path / "one.ckpt", max_epochs=2)
        (entry,), _ = find_entries(read_sources(tmp_path).files)
        told = recorded.format(found.weight or "auto")  # not found while batch norm's statistics settle
        assert entry.label == f"{told if told.startswith('affine_relu') else f'affine_relu, {told}'}, seed 3"
    kept = train(tmp_path, regularizer(weight="auto"), audit(run="found", points=2), max_epochs=1)
    kept.save_checkpoint(tmp_path / "two.ckpt")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*another penalty than before")
        train(
            tmp_path, regularizer(weight="auto"), audit(run="found", points=2), ckpt=tmp_path / "two.ckpt", max_epochs=2
        )


def test_what_is_wrong_with_a_twin_is_said_in_sentences_that_name_the_argument(tmp_path: Path) -> None:
    own = run_record(pl.Trainer(logger=False, accelerator="cpu", **QUIET), "", "penalty", PROBLEM, None, None)
    records = tmp_path / "records.jsonl"
    with pytest.warns(
        UserWarning, match=r"not logged\. No other run is there\. twin= takes the path of a run folder, "
    ):
        assert find_twin("nobody", own, records, "LipschitzAudit") is None
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "binary.ckpt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "words.jsonl").write_text("no record\n")
    for name in ("binary.jsonl", "words.jsonl", "nowhere.jsonl"):
        with pytest.raises(InvalidInput, match=f"^LipschitzAudit: twin='{tmp_path / name}'"):
            find_twin(str(tmp_path / name), own, records, "LipschitzAudit")
    for name in ("binary.ckpt", "nowhere.ckpt"):
        with pytest.raises(InvalidInput, match=f"^LipschitzAudit: twin='{tmp_path / name}'"):
            network = Model(), Mock(), (torch.zeros(2, 2), torch.zeros(2)), None
            twin_of_checkpoint(str(tmp_path / name), own, network, Mock(), audit().plan, records)


def test_a_twin_that_began_from_other_weights_is_called_another_training(tmp_path: Path) -> None:
    """Unseeded: nothing refuses it by its seed, but the untrained audits differ."""
    train(tmp_path, audit(run="plain", points=2), seed=None, max_epochs=1)
    os.environ.pop("PL_GLOBAL_SEED", None)
    mine = audit(run="penalty", twin="plain", points=2)
    with pytest.warns(UserWarning, match=r"began from other initial weights than 'penalty'.*seed_everything\(n\)"):
        trainer = train(tmp_path, regularizer(), mine, seed=4, max_epochs=1)
    assert "audit/transfer" in trainer.callback_metrics
    found = compare(read_records(tmp_path), mine.run_id).likeness
    assert found.same_start is False and "its initial weights differ" in found.doubts[0]


# ---------------------------------------------------------------- folders


def test_records_lie_in_the_folder_of_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    alone: dict[str, Any] = {"accelerator": "cpu", **QUIET}

    def place(given: str | None = None, **settings: Any) -> Path:
        return record_file(pl.Trainer(**alone, **settings), given)

    assert place(logger=False) == tmp_path / "records.jsonl"
    assert place(logger=CSVLogger("logs")) == tmp_path / "logs" / "lightning_logs" / "version_0" / "records.jsonl"
    assert place(default_root_dir="root", logger=CSVLogger("logs")) == tmp_path / "root" / "records.jsonl"
    assert place("mine", default_root_dir="root") == tmp_path / "mine" / "records.jsonl"
    hydra = record_file(pl.Trainer(**alone, logger=False), None, tmp_path / "out")
    assert hydra == tmp_path / "out" / "records.jsonl", "what a process that was spawned is told of the program"
    saver = CSVLogger("logs")
    monkeypatch.setattr(type(saver), "log_dir", property(lambda self: "s3://bucket/logs"))
    assert place(logger=saver) == tmp_path / "logs" / "records.jsonl", "a remote folder is not written to"


def test_a_hydra_program_s_run_folder_is_found_without_importing_hydra(tmp_path: Path) -> None:
    program = """
import sys
import pytorch_lightning as pl
from lipreg.callbacks.folders import record_file
assert not any(name.split(".")[0] == "hydra" for name in sys.modules)
import hydra
@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    print(record_file(pl.Trainer(logger=False, accelerator="cpu"), None))
main()
"""
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "program.py", "hydra.run.dir=out/here"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.stdout.splitlines()[-1:] == [str(tmp_path / "out" / "here" / "records.jsonl")], done.stderr


# ---------------------------------------------------------------- locks


def test_a_second_process_in_one_folder_is_refused_by_pid_and_host(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    holds = "import sys; from pathlib import Path; from lipreg.auditing.lock import RecordLock\n"
    holds += f"RecordLock(Path({str(path)!r})); print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(InvalidInput, match=f"process {other.pid} on {socket.gethostname()} writes to"):
            train(tmp_path, audit(points=2), max_epochs=1)
        assert not path.exists(), "nothing was written"
        other.kill()
        other.wait()
        train(tmp_path, audit(points=2, at_start=False), max_epochs=1)  # the dead one's lock is taken over
        assert path.exists() and not (tmp_path / "records.jsonl.lock").exists()
    finally:
        other.kill()
        other.wait()


def test_a_lock_is_shared_in_its_process_and_ends_with_the_last(tmp_path: Path) -> None:
    one, two = RecordLock(tmp_path / "records.jsonl"), RecordLock(tmp_path / "records.jsonl")
    one.release()
    assert one.path.exists()
    two.release()
    assert not one.path.exists()


@pytest.mark.parametrize(
    ("holder", "free"),
    [
        ({"pid": os.getpid(), "host": socket.gethostname(), "began": "1"}, True),  # the number went to another process
        ({"pid": 1, "host": "another-host", "began": "1"}, False),
        ({"pid": os.getppid(), "host": socket.gethostname(), "began": None}, False),
        ({"colour": "red"}, True),
        (None, True),
    ],
    ids=["number used again", "another host", "alive", "no lock", "cut off"],
)
def test_locks_of_others(tmp_path: Path, holder: Any, free: bool) -> None:
    path = tmp_path / "records.jsonl.lock"
    path.write_text("" if holder is None else json.dumps(holder))
    if free:
        RecordLock(tmp_path / "records.jsonl").release()
        assert not path.exists()
        return
    with pytest.raises(InvalidInput, match=f"process {holder['pid']} on {holder['host']}"):
        RecordLock(tmp_path / "records.jsonl")
    assert json.loads(path.read_text()) == holder


# ---------------------------------------------------------------- joining with Lightning's own rows


@pytest.mark.parametrize("settings", [{}, {"accumulate_grad_batches": 2}], ids=["plain", "accumulated"])
def test_audits_join_with_lightning_s_rows_by_epoch_and_step(tmp_path: Path, settings: dict[str, Any]) -> None:
    logger = CSVLogger(tmp_path)
    train(tmp_path, audit(points=2), logger=logger, log_every_n_steps=1, **settings)
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    own = {(row["epoch"], row["step"]) for row in rows if row["val_accuracy"]}
    audited = {(row["epoch"], row["step"]): row["audit/epoch"] for row in rows if row["audit/combined_upper"]}
    assert len(own) == 2 and own < audited.keys()
    assert audited == {("", "0"): "0", **{(epoch, step): str(int(epoch) + 1) for epoch, step in own}}
    audits, epochs = audit_frame(tmp_path), epoch_frame(tmp_path)
    joined = audits.merge(epochs, on=["run_id", "epoch"], suffixes=("", "_epoch"))
    assert set(joined.epoch) == {1, 2} and (joined.step == joined.step_epoch).all()
    assert {(str(e - 1), str(s - 1)) for e, s in zip(epochs.epoch, epochs.step, strict=True)} == own
    assert joined.val_accuracy.notna().all()


def test_a_penalty_on_another_question_makes_no_twin(tmp_path: Path) -> None:
    train(tmp_path, regularizer(problem=cases.PROBLEM), audit(run="other", points=2, at_start=False), max_epochs=1)
    with pytest.raises(IncomparableResults, match=r"weight 0\.3.*is no twin"):
        train(tmp_path, regularizer(), audit(run="penalty", twin="other", points=2), max_epochs=1)


def test_epoch_records_carry_run_and_step(pair: SimpleNamespace) -> None:
    told = [(r.epoch, r.step) for r in pair.records if isinstance(r, EpochRecord) and r.run_id == pair.ids[1]]
    assert told == [(1, 4), (2, 8), (3, 12)]
    steps = {r.epoch: r.step for r in pair.records if isinstance(r, AuditRecord) and r.run_id == pair.ids[1]}
    assert steps == {0: 0, 1: 4, 2: 8, 3: 12}


def test_the_seed_is_known_only_if_it_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = pl.Trainer(logger=False, accelerator="cpu", **QUIET)
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert run_record(trainer, "", "run", PROBLEM, None, None).seed is None
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    one, two = (run_record(trainer, "", "run", PROBLEM, None, None) for _ in range(2))
    assert one.seed == 7 and one.id and one.id != two.id
    assert isinstance(LipschitzAudit(PROBLEM).run_id, str)


def test_a_checkpoint_that_was_trained_with_a_penalty_or_another_seed_is_no_twin(
    pair: SimpleNamespace, tmp_path: Path
) -> None:
    penalised = audit(run="penalty", twin=str(pair.folder / "penalty.ckpt"))
    with pytest.raises(IncomparableResults, match="weight"):
        train(tmp_path, regularizer(), penalised)
    other = audit(run="penalty", twin=str(pair.folder / "plain.ckpt"))
    with pytest.raises(IncomparableResults, match="seed 3"):
        train(tmp_path, regularizer(), other, seed=4)


def test_a_twin_s_records_are_read_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, reads = RecordFile(tmp_path / "records.jsonl"), []
    monkeypatch.setattr(twins, "read_records", lambda path: reads.append(path) or read_records(path))
    twin = twins.Twin("plain", "a1", file.path)
    assert twins.Twin("plain", "a1", tmp_path / "nowhere.jsonl").recorded() is None
    file.append(RunRecord("plain", id="a1"))
    for epoch in (1, 2):
        file.append(EpochRecord("plain", epoch, {"loss": 0.5}, run_id="a1"))
        for _ in range(3):
            found = twin.recorded()
            assert found is not None and [r.epoch for r in found.epochs] == list(range(1, epoch + 1))
        assert len(reads) == epoch
