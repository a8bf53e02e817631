"""Certificates of small networks, and what a file says as a network and a question of torch's, for the enumeration."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lipreg.certificates import PlainCertificate, certificate_of
from lipreg.checking.verdict import functionals
from lipreg.estimators import certify, frozen_analysis
from lipreg.outputs import AllLogits
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall
from lipreg.results import CertifiedInterval
from lipreg.testing import exact_constants


def certified(
    net: nn.Module, problem: LocalLipschitz, x: Tensor, y: Tensor | None = None
) -> tuple[CertifiedInterval, PlainCertificate]:
    """What the search proves at one point, and its certificate."""
    (interval,) = certify(net, problem, x, y, estimator="branch_and_bound", budget=120)
    analysis = frozen_analysis(net, problem, x, y)
    return interval, certificate_of(analysis.graph, analysis.placed, interval)


def numbers(plain: dict[str, Any]) -> np.ndarray:
    """Numbers of a file."""
    return np.frombuffer(base64.b64decode(plain["float64"]), dtype="<f8").reshape(plain["shape"])


def truth(plain: dict[str, Any]) -> tuple[float, float]:
    """The constant that a file is about, by enumeration: of matrices and ReLUs."""
    asked = plain["question"]
    region, x = _region(asked["region"])
    counts, own = asked.get("counts"), dict[str, Any]()
    if counts is not None:
        known = numbers(counts)
        own = {"scale": np.where(known > 0, known, 1.0), "measured": np.flatnonzero(known > 0)}
    problem = LocalLipschitz(region, AllLogits(), p=asked["p"] if asked["p"] == "inf" else int(asked["p"]), **own)
    return exact_constants(Told(plain), problem, torch.from_numpy(x)[None])[0]


class Told(nn.Module):
    """The functionals of a file over its network, node by node as it is written there."""

    def __init__(self, plain: dict[str, Any]) -> None:
        super().__init__()
        rows, bits = functionals(numbers(plain["question"]["rows"]), plain["question"]["q"] == "1")
        self.rows = torch.from_numpy(rows.astype(float) / 2.0**bits)
        self.told: list[tuple[Any, Any]] = []
        for node in plain["network"]["nodes"]:
            if node["kind"] == "relu":
                slope = float(numbers(node["slope"])[0])
                self.told.append((node["source"], nn.LeakyReLU(slope) if slope else nn.ReLU()))
                continue
            terms = [(source, torch.from_numpy(numbers(map).copy())) for source, map in node["terms"]]
            self.told.append((terms, torch.from_numpy(sum(numbers(part) for _, part in node["bias"]))))

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for read, does in self.told:
            if isinstance(does, nn.Module):
                values.append(does(values[read]))
                continue
            value = 0.0 * x[:, :1] + does
            for source, weight in read:
                value = value + nn.functional.linear(values[source], weight)
            values.append(value)
        return nn.functional.linear(values[-1], self.rows)


def _region(plain: dict[str, Any]) -> tuple[Any, np.ndarray]:
    if plain["kind"] == "box":
        lower, upper = numbers(plain["lower"]), numbers(plain["upper"])
        return Box(lower.tolist(), upper.tolist()), (lower + upper) / 2
    ball = {"inf": LinfBall, "2": L2Ball, "1": L1Ball}[plain["norm"]]
    low, high = (None if plain[end] is None else float(numbers(plain[end])[0]) for end in ("low", "high"))
    return ball(float(numbers(plain["radius"])[0]), low, high), numbers(plain["center"]).copy()


def places(plain: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all numbers, texts and lists in plain data."""
    if isinstance(plain, dict):
        return list(itertools.chain(*(places(value, (*path, key)) for key, value in plain.items())))
    found = [path]
    if isinstance(plain, list):
        found += itertools.chain(*(places(value, (*path, i)) for i, value in enumerate(plain)))
    return found
