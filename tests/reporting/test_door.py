"""What a user of the wheel calls: one function that makes the page, and tables that join with Lightning's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from pytorch_lightning.loggers import CSVLogger

from lipreg.errors import InvalidInput
from lipreg.records import Record, read_sources, to_line
from lipreg.reporting import report
from lipreg.reporting.html import write_runs_report
from tests.callbacks.test_runs_of_trainings import audit, regularizer, train
from tests.test_docs import blocks, run
from tests.test_import import HEAVY, loaded_by


def test_one_call_writes_the_page_of_a_folder_a_file_or_a_list(records: Sequence[Record], tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    file = folder / "records.jsonl"
    file.write_text("".join(to_line(record) + "\n" for record in records), encoding="utf-8")
    known = write_runs_report(read_sources(folder), tmp_path / "known.html", "val_accuracy").read_bytes()
    for number, paths in enumerate((folder, str(folder))):
        page = report(paths, tmp_path / f"{number}.html", metric="val_accuracy")
        assert page.read_bytes() == known
    assert "penalty" in report([str(file)], str(tmp_path / "list.html")).read_text(encoding="utf-8")
    assert report(file, tmp_path / "file.html").is_file()
    with pytest.raises(InvalidInput, match="no folder or file"):
        report(tmp_path / "nowhere")


def test_the_door_is_light() -> None:
    assert not loaded_by("import lipreg.reporting; lipreg.reporting.report").intersection(HEAVY)


@pytest.mark.parametrize("settings", [{}, {"accumulate_grad_batches": 2}], ids=["plain", "accumulated"])
def test_the_page_joins_a_real_metrics_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object]
) -> None:
    logger = CSVLogger(tmp_path)
    ours = audit(points=2, folder=str(logger.log_dir))
    train(tmp_path, regularizer(), ours, logger=logger, log_every_n_steps=1, **settings)
    monkeypatch.chdir(tmp_path)
    (snippet,) = [code for code in blocks("docs/dashboards.md") if "metrics.csv" in code]
    joined = run(snippet, "dashboards")["joined"]
    assert sorted(set(joined.epoch)) == [1, 2], "the untrained network has no epoch in Lightning's rows"
    assert (joined.epoch == joined["audit/epoch"]).all() and (joined.logged_step == joined.step_logged).all()
    told = joined[joined.estimator == "combined"].groupby("epoch")
    assert told.upper.mean().to_list() == pytest.approx(told["audit/combined_upper"].first().to_list())
    for own in ("val_accuracy", "lipreg/bound_mean", "lipreg/time_share"):
        assert joined[own].notna().all(), own
