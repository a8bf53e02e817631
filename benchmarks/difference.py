"""Constants of f - g: a digits network against itself pruned, rounded, disturbed and trained again.

    python -m benchmarks.difference          # writes benchmarks/results/difference.json and prints a table
    python -m benchmarks.difference page     # the table in docs/choosing.md, from the results

Before the bounds of the difference stand those of the same function with g's hidden units in another order: what closed
forms say where nothing of the two networks is known to belong together.
"""

from __future__ import annotations

import copy
import itertools
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.environment import markdown, read_result, write_result, write_tables
from lipreg import AllLogits, Difference, LinfBall, LocalLipschitz, certify
from lipreg.data import DigitsDataModule
from lipreg.problem import Scope
from lipreg.testing.networks import mlp

WIDTHS, RADIUS, EPOCHS, SECONDS = (64, 16, 16, 10), 0.1, 60, 180.0
CLOSED = ("affine_relu", "fastlip", "mixing")
EXACT: dict[Scope, str] = {"regional": "branch_and_bound", "pointed": "mip_pointed"}
PAGE = Path(__file__).parents[1] / "docs" / "choosing.md"


def trained(seed: int, x: Tensor, y: Tensor) -> nn.Sequential:
    """A network trained by Adam with cross entropy."""
    torch.manual_seed(seed)
    network = mlp(*WIDTHS)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
    return network.double().eval()


def changed(network: nn.Sequential, how: str) -> nn.Sequential:
    """A copy: "pruned S" of the smallest share S of each layer's weights, "int8" rounded to 127 steps of its largest weight,
    "noise S" with each number times 1 + S times noise, "last layer" with another one."""
    other, (kind, *rest) = copy.deepcopy(network), how.split()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in (layer for layer in other if isinstance(layer, nn.Linear)):
            size = layer.weight.abs()
            if kind == "pruned":
                layer.weight.mul_(size > size.flatten().quantile(float(rest[0])))
            elif kind == "int8":
                layer.weight.copy_((layer.weight / size.max() * 127).round() * size.max() / 127)
            elif kind == "noise" or layer is other[-1]:
                share = float(rest[0]) if kind == "noise" else 0.05
                for part in layer.parameters():
                    part.mul_(1.0 + share * torch.randn(part.shape, generator=draw, dtype=part.dtype))
    return other


def reordered(network: nn.Sequential) -> nn.Sequential:
    """The same function with the units of every hidden layer turned around."""
    other = copy.deepcopy(network)
    layers = [layer for layer in other if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for before, after in itertools.pairwise(layers):
            before.weight.copy_(before.weight.flip(0))
            before.bias.copy_(before.bias.flip(0))
            after.weight.copy_(after.weight.flip(1))
    return other


def measure() -> list[dict[str, Any]]:
    """One row for each g and scope, at the first validation image."""
    data = DigitsDataModule()
    data.setup()
    x, y = data.train_set.tensors
    point = data.validation_set.tensors[0][:1].double()
    first = trained(0, x, y)
    others = {how: changed(first, how) for how in ("noise 1e-6", "int8", "pruned 0.2", "pruned 0.5", "last layer")}
    others["another seed"] = trained(1, x, y)
    rows = []
    for scope, engine in EXACT.items():
        problem = LocalLipschitz(LinfBall(RADIUS, low=0.0, high=1.0), AllLogits(), scope)

        def bound(network: nn.Module, name: str, problem: LocalLipschitz = problem) -> Any:
            return certify(network, problem, point, estimator=name, budget=SECONDS)[0]

        own = bound(first, engine)
        for how, second in others.items():
            difference, apart = Difference(first, second), Difference(first, reordered(second))
            began = time.process_time()
            found = bound(difference, engine)
            row = {
                "g": how,
                "scope": scope,
                "f": _shown(own),
                "g alone": _shown(bound(second, engine)),
                "f - g": _shown(found),
            }
            row["CPU s"] = round(time.process_time() - began, 1)
            for name in CLOSED:
                before, after = (f"{bound(network, name).upper:.4g}" for network in (apart, difference))
                row[f"`{name}`"] = after if before == after else f"{before} -> {after}"
            rows.append(row)
            print(row, flush=True)
    return rows


def _shown(interval: Any) -> str:
    same = interval.gap < 1e-3
    return f"{interval.upper:.4g}" if same else f"[{interval.lower:.4g}, {interval.upper:.4g}]"


def main(arguments: list[str]) -> None:
    if arguments == ["page"]:
        table = markdown(read_result("difference"))
        write_tables(PAGE, {"difference": table})
        return
    rows = measure()
    print(write_result("difference", rows))
    print(markdown(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
