"""Searches of networks with curves beside the best closed form: python -m benchmarks.curves [page]

Networks of ReLUs and curves, trained for 300 steps of Adam on the sines of random linear forms, float64, one thread, all
draws of seed 0. A gap of 1 % is asked for, in at most 20 seconds of wall-clock time. Written to
benchmarks/results/curves.json; ``page`` puts the table into docs/branch_and_bound.md, from the results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.environment import markdown, read_result, write_result, write_tables
from lipreg import AllLogits, Budget, LinfBall, LocalLipschitz, Vector, certify
from lipreg.estimators import get_estimator

PAGE = Path(__file__).parents[1] / "docs" / "branch_and_bound.md"
CLOSED = ("affine_relu", "fastlip", "deviation", "mixing", "lipsdp", "jacobian_crown")
SECONDS, STEPS, GAP = 20.0, 300, 0.01


@dataclass(frozen=True)
class Asked:
    """A question about a network that is trained on the spot.

    Attributes:
        network: in words.
        layers: what it is made of, made anew at each call.
        inputs: how many.
        norms: the question's, in words.
        problem: the same.
    """

    network: str
    layers: Callable[[], list[nn.Module]]
    inputs: int
    norms: str
    problem: LocalLipschitz


def chain(*parts: int | type[nn.Module]) -> Callable[[], list[nn.Module]]:
    """Linear layers between the widths, with the activations that stand between or after them."""

    def made() -> list[nn.Module]:
        layers: list[nn.Module] = []
        width = None
        for part in parts:
            if isinstance(part, int):
                layers += [nn.Linear(width, part)] if width is not None else []
                width = part
            else:
                layers.append(part())
        return layers

    return made


def convolution() -> list[nn.Module]:
    """Four channels of 3 x 3 from an image of 8 x 8, strides of 3 without padding, then two layers and a tanh."""
    layers = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 9, 3, stride=3), nn.ReLU(), nn.Flatten()]
    return [*layers, nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 2), nn.Tanh()]


R, T, G = nn.ReLU, nn.Tanh, nn.GELU
ASKED = (
    Asked(
        "4-32-32-2 ReLU, then tanh",
        chain(4, 32, R, 32, R, 2, T),
        4,
        "l_inf 0.1, p = q = 2",
        LocalLipschitz(LinfBall(0.1), Vector(), p=2.0, q=2.0),
    ),
    Asked(
        "4-24-24-3 ReLU, then sigmoid",
        chain(4, 24, R, 24, R, 3, nn.Sigmoid),
        4,
        "l_inf 0.2, p = inf",
        LocalLipschitz(LinfBall(0.2), AllLogits()),
    ),
    Asked(
        "6-32-32-1 ReLU, then softplus",
        chain(6, 32, R, 32, R, 1, nn.Softplus),
        6,
        "l_inf 0.1, p = 2",
        LocalLipschitz(LinfBall(0.1), AllLogits(), p=2.0),
    ),
    Asked(
        "conv-36-24-2 ReLU, then tanh",
        convolution,
        64,
        "l_inf 0.05, p = inf",
        LocalLipschitz(LinfBall(0.05), AllLogits()),
    ),
    Asked(
        "3-24-24-2, tanh, then ReLU",
        chain(3, 24, T, 24, R, 2),
        3,
        "l_inf 0.1, p = q = 2",
        LocalLipschitz(LinfBall(0.1), Vector(), p=2.0, q=2.0),
    ),
    Asked(
        "3-16-16-16-16-2, ReLU and GELU in turn",
        chain(3, 16, R, 16, G, 16, R, 16, G, 2),
        3,
        "l_inf 0.1, p = inf",
        LocalLipschitz(LinfBall(0.1), AllLogits()),
    ),
    Asked(
        "6-48-48-48-2, ReLU, GELU, ReLU",
        chain(6, 48, R, 48, G, 48, R, 2),
        6,
        "l_inf 0.1, p = inf",
        LocalLipschitz(LinfBall(0.1), AllLogits()),
    ),
    Asked(
        "3-24-24-2, SELU",
        chain(3, 24, nn.SELU, 24, nn.SELU, 2),
        3,
        "l_inf 0.3, p = inf",
        LocalLipschitz(LinfBall(0.3), AllLogits()),
    ),
    Asked(
        "2-24-24-2, Hardswish",
        chain(2, 24, nn.Hardswish, 24, nn.Hardswish, 2),
        2,
        "l_inf 1, p = q = 2",
        LocalLipschitz(LinfBall(1.0), Vector(), p=2.0, q=2.0),
    ),
)


def trained(asked: Asked) -> nn.Sequential:
    """The network after its steps; targets lie in [0.1, 0.9], which every last activation reaches."""
    torch.manual_seed(0)
    net = nn.Sequential(*asked.layers()).double()
    outputs = net(torch.zeros(1, asked.inputs, dtype=torch.float64)).shape[1]
    forms = 3.0 * torch.randn(asked.inputs, outputs, dtype=torch.float64) / asked.inputs**0.5
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(STEPS):
        x = 2.0 * torch.rand(256, asked.inputs, dtype=torch.float64) - 1.0
        optimizer.zero_grad()
        (net(x) - 0.5 - 0.4 * torch.sin(x @ forms)).square().mean().backward()
        optimizer.step()
    return net.eval()


def measure() -> list[dict[str, Any]]:
    """One row a question, about 0."""
    rows = []
    for asked in ASKED:
        net, x = trained(asked), torch.zeros(1, asked.inputs, dtype=torch.float64)
        began = time.process_time()
        (found,) = certify(net, asked.problem, x, estimator="branch_and_bound", budget=Budget(SECONDS, gap=GAP))
        spent = time.process_time() - began
        takes = [name for name in CLOSED if get_estimator(name).uncovered(asked.problem) is None]
        uppers = {name: certify(net, asked.problem, x, estimator=name)[0].upper for name in takes}
        best = min(uppers, key=lambda name: uppers[name])
        row = {"network": asked.network, "question": asked.norms, "lower": found.lower, "upper": found.upper}
        row |= {"closed": best, "closed_upper": uppers[best]}
        rows.append({k: float(f"{v:.9g}") if isinstance(v, float) else v for k, v in row.items()})
        rows[-1]["cpu_seconds"] = round(spent, 1)
        print(rows[-1], flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The table of the page: how far each upper end is above the best witness."""
    return markdown(
        [
            {
                "network": row["network"],
                "question": row["question"],
                "best closed form": f"`{row['closed']}`",
                "its gap": _gap(row, "closed_upper"),
                "gap after the search": _gap(row, "upper"),
                "CPU seconds": row["cpu_seconds"],
            }
            for row in rows
        ]
    )


def _gap(row: dict[str, Any], end: str) -> str:
    gap = 100.0 * (row[end] / row["lower"] - 1.0)
    return f"{gap:.0f} %" if gap >= 10.0 else f"{gap:.2g} %"


def main(arguments: list[str]) -> None:
    if arguments != ["page"]:
        torch.set_num_threads(1)
        write_result("curves", measure())
    write_tables(PAGE, {"curves": table(read_result("curves"))})


if __name__ == "__main__":
    main(sys.argv[1:])
