"""One audit in several fits: each asks what its user asked for, and for the bound of its own regularizer."""

from __future__ import annotations

from pathlib import Path

from lipreg import Bound
from lipreg.callbacks import AuditLog, Epochs, LipschitzAudit, LipschitzRegularizer
from lipreg.records import AuditRecord, read_records
from tests.callbacks.cases import PROBLEM, Classifier, batches, fit


def test_a_second_fit_does_not_inherit_the_first_ones_regularizer(tmp_path: Path) -> None:
    audit = LipschitzAudit(
        PROBLEM,
        points=batches(1, 2)[0],
        estimators=("abs_chain", "random_points"),
        every_n_epochs=Epochs(at_end=False),
        log=AuditLog(progress=False),
    )
    asked = audit.plan
    first = LipschitzRegularizer(PROBLEM, bound="fastlip", weight=1e-3)
    second = LipschitzRegularizer(PROBLEM, bound=Bound("abs_chain", ["ball"]), weight=1e-3)
    rows: dict[str, list[AuditRecord]] = {}
    for folder, others in (("first", [first]), ("second", [second]), ("third", [])):
        fit(Classifier(), batches(1), *others, audit, default_root_dir=tmp_path / folder, limit_train_batches=1)
        found = read_records(tmp_path / folder / "records.jsonl")
        rows[folder] = [r for r in found if isinstance(r, AuditRecord)]
    assert audit.plan == asked
    estimators = {folder: {r.estimator for r in found} for folder, found in rows.items()}
    alone = {"abs_chain", "random_points", "combined"}
    assert estimators == {"first": alone | {"fastlip"}, "second": alone | {"abs_chain-ball"}, "third": alone}
    penalised = {folder: {r.estimator for r in found if r.penalised} for folder, found in rows.items()}
    assert penalised == {"first": {"fastlip"}, "second": {"abs_chain-ball"}, "third": set()}
    methods = {
        tuple(r.recipe["preactivations"]) for found in rows.values() for r in found if r.estimator == "abs_chain"
    }
    assert methods == {("interval",)}
