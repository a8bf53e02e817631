"""The trained convolutional networks of Avant & Morgansen 2023, from the data folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

FOLDER = Path(os.environ.get("LIPREG_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "avant"


def trained(name: str) -> tuple[nn.Sequential, Tensor]:
    """A network in float64 and its nominal image ``(1, channels, height, width)``; skips where the folder is missing."""
    if not (FOLDER / f"{name}.json").is_file():
        pytest.skip(f"no networks at {FOLDER}; set LIPREG_DATA to the folder that holds avant/")
    layers = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["layers"]
    net = nn.Sequential()
    for i, layer in enumerate(layers):
        settings = {key: value for key, value in layer.items() if key not in ("op", "name")}
        net.add_module(layer.get("name", f"layer{i}"), getattr(nn, layer["op"])(**settings))
    net.load_state_dict(torch.load(FOLDER / f"{name}.pt", weights_only=True))
    x0 = torch.load(FOLDER / f"{name}_x0.pt", weights_only=True)["x0"]
    return net.eval().double(), x0.double()
