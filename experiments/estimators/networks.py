"""The networks that estimators are compared on, with their reference points: trained on the spot, or a checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor, nn

from experiments.models import Classifier
from experiments.saved import called
from lipreg.callbacks.batches import batch_to_inputs
from lipreg.callbacks.reference_points import draw_reference_points
from lipreg.errors import InvalidInput
from lipreg.options import check_count

DATA, CUBE = "data", "cube"


@dataclass(frozen=True)
class Subject:
    """A network and the points at which it is measured.

    Attributes:
        name: in records; the widths for the bundled networks, the file's name for a checkpoint.
        network: in eval mode.
        x, y: reference points ``(batch, *shape)`` and classes ``(batch,)``.
        sizes: inputs, hidden layers and units of the widest one, for figures of growing networks.
        about: what it is, for readers of tables and figures.
    """

    name: str
    network: nn.Module
    x: Tensor
    y: Tensor
    sizes: dict[str, int]
    about: str = ""


def subjects(cfg: DictConfig, console: Console) -> list[Subject]:
    """The network ``cfg.network``, or else the networks ``cfg.nets``, trained where ``cfg.folder`` does not hold them.

    Raises:
        InvalidInput: no checkpoint, no networks, or reference points of an unknown kind.
    """
    if cfg.reference not in (DATA, CUBE):
        accepted = f"{DATA!r}: validation points; {CUBE!r}: random points of the unit cube"
        raise InvalidInput(f"{cfg.reference!r}", where="reference", accepted=accepted)
    check_count(cfg.points, "points", "estimators")
    data: Any = instantiate(cfg.data)
    data.prepare_data()
    data.setup("fit")
    saved = cfg.get("network")
    if saved is not None:
        named = [(called(saved)[0], instantiate(saved))]
    elif cfg.nets:
        named = [bundled(net, cfg, data, console) for net in cfg.nets]
    else:
        raise InvalidInput("no networks", where="nets", accepted="a list of {widths: [...], epochs: n}, or network=...")
    found = []
    for name, module in named:
        network = module.eval()
        x, y = reference_points(network, data, cfg.reference, cfg.points, cfg.seed)
        about = cfg.about if saved is None else f"Network {name}"
        found.append(Subject(name, network, x, y, sizes(network), about))
    return found


def reference_points(network: nn.Module, data: Any, kind: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points of the validation data with their labels, or uniform points of the cube with the classes they are given."""
    if kind == DATA:
        x, y = draw_reference_points(data.val_dataloader(), "validation", count, seed, batch_to_inputs, "estimators")
    else:
        x, y = torch.rand(count, *data.input_shape, generator=torch.Generator().manual_seed(seed)), None
    with torch.no_grad():
        return x, network(x).argmax(1) if y is None else y


def bundled(net: DictConfig, cfg: DictConfig, data: Any, console: Console) -> tuple[str, Classifier]:
    """One of the networks that the settings name, trained once and kept in ``cfg.folder``; 0 epochs leave random weights."""
    if not (
        OmegaConf.is_dict(net) and OmegaConf.is_list(net.get("widths")) and _counts(net.get("epochs"), *net.widths)
    ):
        accepted = "{widths: [...], epochs: n}, in whole numbers of at least 0"  # -1 epochs would not end
        raise InvalidInput(f"{net}", where="nets", accepted=accepted)
    widths = list(net.widths)
    inputs, classes = torch.Size(data.input_shape).numel(), data.classes
    if len(widths) < 2 or (widths[0], widths[-1]) != (inputs, classes) or min(widths) < 1:
        accepted = f"[{inputs}, ..., {classes}], from the data's inputs to its classes"
        raise InvalidInput(f"widths={widths}", where="nets", accepted=accepted)
    name = "-".join(map(str, widths))
    recipe = json.dumps([OmegaConf.to_container(part, resolve=True) for part in (cfg.data, net)] + [cfg.seed])
    path = Path(cfg.folder) / "networks" / f"{name}_{hashlib.sha256(recipe.encode()).hexdigest()[:10]}.ckpt"
    if not path.exists():
        train(widths, net.epochs, data, path, cfg.seed)
        console.print(f"{name}: {net.epochs} epochs, {accuracy(load(path), data):.1%} of the validation data right")
    return name, load(path)


def _counts(*values: Any) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values)


def train(widths: Sequence[int], epochs: int, data: Any, path: Path, seed: int) -> None:
    """Trains a classifier and writes its checkpoint, whole or not at all."""
    pl.seed_everything(seed, verbose=False)
    quiet: dict[str, Any] = dict.fromkeys(
        ("enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, default_root_dir=str(path.parent), **quiet)
    trainer.fit(Classifier(widths), datamodule=data)
    unfinished = path.with_suffix(".partial")
    trainer.save_checkpoint(unfinished)
    os.replace(unfinished, path)


def load(path: Path) -> Classifier:
    return Classifier.load_from_checkpoint(path, map_location="cpu", weights_only=True)


def accuracy(network: nn.Module, data: Any) -> float:
    """The share of the validation data that the network gets right."""
    network.eval()
    with torch.no_grad():
        right = [(network(x).argmax(1) == y).double() for x, y in data.val_dataloader()]
    return float(torch.cat(right).mean())


def sizes(network: nn.Module) -> dict[str, int]:
    """Of a network whose layers are linear; empty for others."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    parametric = [m for m in network.modules() if next(m.parameters(recurse=False), None) is not None]
    chained = all(a.out_features == b.in_features for a, b in pairwise(layers))
    if not layers or len(parametric) != len(layers) or not chained:
        return {}
    widest = max((layer.out_features for layer in layers[:-1]), default=0)
    return {"inputs": layers[0].in_features, "hidden layers": len(layers) - 1, "units a layer": widest}
