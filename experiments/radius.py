"""The certified radius of validation points: how far each can move in l_p before its class can change.

python -m experiments.radius ckpt=runs/2026-01-01/12-00-00/regularised.ckpt
python -m experiments.radius ckpt=... points=100 p=inf bounds=[affine_relu]
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from experiments.programs import said
from lipreg.callbacks.batches import batch_to_inputs
from lipreg.callbacks.checkpoints import read_checkpoint
from lipreg.estimators.radius import CertifiedRadius, certified_radii
from lipreg.labels import targets


def radii(cfg: DictConfig) -> list[CertifiedRadius]:
    """The radii of the first validation points, by the checkpoint's network."""
    saved = read_checkpoint(cfg.ckpt)
    model: pl.LightningModule = instantiate(cfg.model)
    model.load_state_dict(saved["state_dict"])
    data: pl.LightningDataModule = instantiate(cfg.data)
    data.setup("validate")
    batches = [batch_to_inputs(batch) for batch in islice(data.val_dataloader(), -(-cfg.points // cfg.data.batch_size))]
    given = [(x, targets(y, len(x), "the radius")) for x, y in batches]
    x, y = (torch.cat(parts)[: cfg.points] for parts in zip(*given, strict=True))
    return certified_radii(
        getattr(model, "net", model).eval(),
        x,
        y,
        p=cfg.p,
        bounds=list(cfg.bounds),
        preactivations=None if cfg.preactivations is None else list(cfg.preactivations),
        low=cfg.low,
        high=cfg.high,
    )


def table(found: list[CertifiedRadius]) -> Table:
    """One row a point."""
    shown = Table("point", "class", "nearest rival", "margin", "constant", "certified radius")
    for i, radius in enumerate(found):
        rival = "misclassified" if radius.rival is None else str(radius.rival)
        ends = f"{radius.margin:.4g}", f"{radius.constant:.4g}", f"{radius.radius:.5g}"
        shown.add_row(str(i), str(radius.label), rival, *ends)
    return shown


@hydra.main(config_path="../conf", config_name="radius", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Returns the mean radius, for sweepers."""
    console = Console()
    torch.set_num_threads(1)
    with said(console):
        found = radii(cfg)
    path = Path(HydraConfig.get().runtime.output_dir) / "radius.jsonl"
    path.write_text("".join(json.dumps(asdict(radius)) + "\n" for radius in found), encoding="utf-8")
    console.print(table(found))
    console.print(f"written to {path}", highlight=False, soft_wrap=True)
    return sum(radius.radius for radius in found) / len(found)


if __name__ == "__main__":
    main()
