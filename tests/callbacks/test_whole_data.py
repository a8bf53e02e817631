"""What an audit during a training says of all the validation data of which its points were drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lipreg import LinfBall, LocalLipschitz, Points, certify
from lipreg.callbacks import LipschitzAudit, LipschitzRegularizer
from lipreg.errors import InvalidInput
from lipreg.records import PopulationRecord, RunRecord, read_records, read_sources
from lipreg.reporting.html import write_runs_report
from tests.callbacks.cases import Validating, batches

PROBLEM = LocalLipschitz(LinfBall(0.1))
SIZE = 30


def fit(folder: Path, model: pl.LightningModule, audit: pl.Callback, loader: DataLoader) -> pl.Trainer:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    settings: dict[str, Any] = {"max_epochs": 2, "accelerator": "cpu", "default_root_dir": str(folder), **quiet}
    trainer = pl.Trainer(callbacks=[audit], **settings)
    trainer.fit(model, DataLoader(batches(), batch_size=None), loader)  # type: ignore[arg-type]
    return trainer


def data(labels: torch.Tensor | None = None) -> DataLoader:
    x = torch.rand(SIZE, 4, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(x, torch.arange(SIZE) % 3 if labels is None else labels), batch_size=8)


def test_each_audit_says_what_holds_for_all_examples(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    model, loader = Validating(net, 0.01), data()
    audit = LipschitzAudit(PROBLEM, Points(12, seed=3, confidence=0.9), ["affine_relu", "branch_and_bound"], 30.0)
    trainer = fit(tmp_path, model, audit, loader)
    page = write_runs_report(read_sources([tmp_path]), tmp_path / "page.html").read_text()
    assert "12 of the 30 points of the data set were drawn" in page
    assert "nan" not in page.split("<polygon")[1].split("/>")[0].lower()  # of other points nothing is known
    records = read_records(tmp_path)
    told = [r for r in records if isinstance(r, PopulationRecord)]
    (run,) = (r for r in records if isinstance(r, RunRecord))
    assert [(r.epoch, r.run_id, r.size, len(r.drawn), r.confidence) for r in told] == [
        (epoch, run.id, SIZE, 12, 0.9) for epoch in (0, 1, 2)
    ]
    x, y = loader.dataset.tensors  # type: ignore[attr-defined]
    whole = torch.tensor([found.upper for found in certify(net, PROBLEM, x, y)]).sort().values
    drawn, metrics = told[-1].drawn, trainer.callback_metrics
    assert told[-1].low == pytest.approx([found.upper for found in certify(net, PROBLEM, x[drawn], y[drawn])])
    for name, rank in (("median", 15), ("quantile90", 27)):
        low = float(metrics[f"audit/{name}_lower"])
        high = float(metrics.get(f"audit/{name}_upper", torch.inf))
        assert low <= float(whole[rank - 1]) * (1 + 1e-6) and float(whole[rank - 1]) <= high * (1 + 1e-6)


def test_what_no_statement_can_be_made_of_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="confidence without points that are drawn"):
        Points((torch.rand(3, 4), torch.zeros(3)), confidence=0.9)
    with pytest.raises(InvalidInput, match="LipschitzAudit"):
        LipschitzRegularizer(PROBLEM, points=Points(4, confidence=0.9))

    class Stream(IterableDataset):
        def __iter__(self):
            yield from zip(torch.rand(20, 4), torch.arange(20) % 3, strict=True)

    left_out = torch.where(torch.arange(SIZE) < 20, -1, 0)
    for loader, text in ((DataLoader(Stream(), batch_size=4), "without a length"), (data(left_out), "without a class")):
        audit = LipschitzAudit(PROBLEM, Points(20, confidence=0.9), ["affine_relu"], 5.0)
        model = Validating(torch.nn.Sequential(torch.nn.Linear(4, 3)), 0.01)
        with pytest.raises(InvalidInput, match=text):
            fit(tmp_path / text.replace(" ", "_"), model, audit, loader)


def test_points_from_before_are_of_this_draw_or_nothing_is_said(tmp_path: Path) -> None:
    """A checkpoint's points stay the reference points; what is said of the data needs them to be its draw."""

    def training(
        seed: int, loader: DataLoader, name: str, path: Path | None = None, confidence: float | None = 0.9
    ) -> Path:
        net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
        audit = LipschitzAudit(PROBLEM, Points(6, seed=seed, confidence=confidence), ["affine_relu"], 5.0)
        quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
        settings: dict[str, Any] = {"max_epochs": 1 if path is None else 2, "accelerator": "cpu", **quiet}
        trainer = pl.Trainer(callbacks=[audit], default_root_dir=str(tmp_path / name), **settings)
        batch = DataLoader(batches(), batch_size=None)  # type: ignore[arg-type]
        trainer.fit(Validating(net, 0.01), batch, loader, ckpt_path=path, weights_only=False)
        trainer.save_checkpoint(tmp_path / name / "last.ckpt")
        return tmp_path / name / "last.ckpt"

    begun = training(0, data(), "begun")
    records = read_records(training(0, data(), "the_same", begun).parent)
    assert [r.epoch for r in records if isinstance(r, PopulationRecord)] == [2]
    other = DataLoader(TensorDataset(torch.rand(SIZE, 4), torch.arange(SIZE) % 3), batch_size=8)
    unsaid = training(0, other, "unsaid", confidence=None)
    for seed, loader, path in ((1, data(), begun), (0, other, begun), (0, data(), unsaid)):
        with pytest.raises(InvalidInput, match="points that were drawn before, from other data or by another seed"):
            training(seed, loader, "changed", path)
