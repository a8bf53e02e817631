"""Along which features networks on tables are provably monotone, and where: signs of derivatives over boxes.

    python -m benchmarks.monotone         trains, asks, and writes results/monotone.json; three minutes of one core
    python -m benchmarks.monotone page    writes the tables of docs/choosing.md from it

Two data sets that ship with scikit-learn, standardised features: the progression of diabetes (regression) and the diagnosis
of breast tumours (one logit, of the benign class). A network with two hidden layers of 32 units on each, and the sign of the
derivative of its output along every feature over boxes around 50 held-out points and over the range of all data.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.environment import markdown, read_result, write_result, write_tables
from lipreg import Box, Budget, DerivativeRanges, LinfBall, LocalLipschitz, Logit, derivative_range

NAME = "monotone"
PAGE = Path(__file__).parents[1] / "docs" / "choosing.md"
RADII = (0.1, 0.3)
"""Of the boxes, in standard deviations of the features."""
POINTS = 50
NODES = 4000
"""Of branch and bound at each point: a limit that no other work on the machine moves."""
SIGNS = ("increasing", "decreasing", "constant", "both signs", "open")


@dataclass(frozen=True)
class Data:
    """Standardised features and targets, the held-out points last."""

    x: Tensor
    y: Tensor
    features: list[str]
    regression: bool

    @property
    def held_out(self) -> int:
        """Where the held-out points begin."""
        return len(self.x) * 4 // 5


def load(name: str) -> Data:
    """A data set by name, shuffled once."""
    from sklearn.datasets import load_breast_cancer, load_diabetes

    loaded: Any = (load_diabetes if name == "diabetes" else load_breast_cancer)()
    order = torch.randperm(len(loaded.data), generator=torch.Generator().manual_seed(0))
    x, y = (torch.tensor(part, dtype=torch.float32)[order] for part in (loaded.data, loaded.target))
    x = (x - x.mean(0)) / x.std(0)
    regression = name == "diabetes"
    return Data(x, (y - y.mean()) / y.std() if regression else y, list(map(str, loaded.feature_names)), regression)


def train(data: Data) -> nn.Module:
    """Thirty epochs of AdamW on the points that are not held out."""
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Linear(data.x.shape[1], 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)))
    loss = nn.MSELoss() if data.regression else nn.BCEWithLogitsLoss()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.1)
    for _ in range(30):
        for batch in torch.randperm(data.held_out).split(32):
            optimizer.zero_grad()
            loss(net(data.x[batch]).squeeze(1), data.y[batch]).backward()
            optimizer.step()
    return net.eval()


def score(net: nn.Module, data: Data) -> float:
    """On the held-out points: the share of variance that is explained, or of diagnoses that are right."""
    x, y = data.x[data.held_out :], data.y[data.held_out :]
    with torch.no_grad():
        out = net(x).squeeze(1)
    if data.regression:
        return 1.0 - float((out - y).square().mean() / y.var())
    return float(((out > 0) == (y > 0.5)).float().mean())


def measure() -> Path:
    """A row for each data set and region."""
    rows = []
    for name in ("diabetes", "breast_cancer"):
        data = load(name)
        net = train(data)
        points = data.x[data.held_out :][:POINTS].double()
        whole = Box(data.x.amin(0).tolist(), data.x.amax(0).tolist())
        for words, region in [
            *((f"box of radius {radius:g}", LinfBall(radius)) for radius in RADII),
            ("all data", whole),
        ]:
            x = points[:1] if region is whole else points
            began = time.process_time()
            found = derivative_range(
                net, LocalLipschitz(region, Logit(0)), x, until="sign", budget=Budget(3600.0, nodes=NODES)
            )
            seconds = round(time.process_time() - began, 1)
            row = {"data": name, "score": round(score(net, data), 3), "region": words, "points": len(x)}
            rows.append(
                {**row, "signs": found.signs(), "seconds": seconds, "features": by_feature(found, data.features)}
            )
            print(name, words, found.signs(), seconds, flush=True)
    return write_result(NAME, rows)


def by_feature(found: DerivativeRanges, names: list[str]) -> dict[str, dict[str, int]]:
    """At how many points the output has which sign along each feature."""
    return {name: dict(found.of(input=at).signs()) for at, name in enumerate(names)}


def tables() -> tuple[str, str]:
    """Both tables of the page: all features together, and those of diabetes one by one."""
    rows = read_result(NAME)
    together = [
        {
            "data": row["data"],
            "region": row["region"],
            "questions": sum(row["signs"].values()),
            **{sign: row["signs"][sign] for sign in SIGNS if sign != "constant"},
            "CPU seconds": row["seconds"],
        }
        for row in rows
    ]
    small = [row for row in rows if row["data"] == "diabetes" and row["region"] != "all data"]
    apart = []
    for name in small[0]["features"]:
        cells = {"feature": name}
        for row in small:
            signs = row["features"][name]
            cells[row["region"]] = " / ".join(str(signs[sign]) for sign in SIGNS if sign != "constant")
        apart.append(cells)
    return markdown(together), markdown(apart)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("measure", "page"), default="measure")
    if parser.parse_args().what == "measure":
        print(measure())
    write_tables(PAGE, dict(zip(("monotone", "monotone features"), tables(), strict=True)))
