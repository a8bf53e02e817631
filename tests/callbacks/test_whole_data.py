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
from lipreg.records import PopulationRecord, RunRecord, read_records
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
