"""The certified radius of points: how far each can move in l_p before its class can change.

python -m experiments.radius network.weights=runs/2026-01-01/12-00-00/regularised.ckpt
python -m experiments.radius network.weights=... points=100 p=inf bounds=[affine_relu]
python -m experiments.radius network=file network.model=net.onnx data=file data.path=d.npz
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from experiments.choices import check_like
from experiments.programs import progress_bar, said, start
from lipreg.command.points import reference_points
from lipreg.command.radii import radii, radii_text, write_radii
from lipreg.estimators.radius import CertifiedRadius
from lipreg.outputs import AllMargins


def asked_for(cfg: DictConfig) -> dict[str, Any]:
    """Norm, bounds and data range of a configuration, as ``certified_radii`` takes them."""
    preactivations = None if cfg.preactivations is None else list(cfg.preactivations)
    own = {"p": cfg.p, "bounds": list(cfg.bounds), "preactivations": preactivations}
    return {**own, "low": cfg.low, "high": cfg.high}


def found_radii(cfg: DictConfig, console: Console) -> list[CertifiedRadius]:
    """The radii of ``cfg.points`` points, by the network of ``cfg``; shows how many are done."""
    x, y = reference_points(instantiate(cfg.data), cfg.points, cfg.seed, AllMargins())
    with progress_bar(console, "points") as bar:
        shown = bar.add_task("", total=len(x), state="")
        return radii(instantiate(cfg.network), x, y, asked_for(cfg), lambda done, _: bar.update(shown, completed=done))


@hydra.main(config_path="../conf", config_name="radius", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Returns the mean radius, for sweepers."""
    console = Console()
    torch.set_num_threads(1)
    with said(console):
        check_like(cfg, "radius")
        found = found_radii(cfg, console)
        path = Path(HydraConfig.get().runtime.output_dir) / "radius.jsonl"
        write_radii(found, path)
    console.print(
        f"{radii_text(found, asked_for(cfg))}\nwritten to {path}", highlight=False, soft_wrap=True, markup=False
    )
    return sum(radius.radius for radius in found) / len(found)


if __name__ == "__main__":
    start(main, "radius")
