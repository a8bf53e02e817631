"""The command: python -m benchmarks.policies [--seconds 60] [--train]."""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks.policies.laws import POLICIES, Policy
from lipreg import LocalLipschitz, Vector
from lipreg.budget import Budget
from lipreg.estimators import certify
from lipreg.regions import Box

CLOSED = ("spectral", "affine_relu", "fastlip", "deviation", "jacobian_crown", "lipsdp")


def rows(policy: Policy, seconds: float) -> list[tuple[str, str, float]]:
    """Method, what it proves, and its seconds."""
    net, x, found = policy.network(), torch.zeros(1, policy.inputs), []
    box = Box([-policy.reach] * policy.inputs, [policy.reach] * policy.inputs)
    problem = LocalLipschitz(box, Vector(), p=2.0, q=2.0)
    for method in (*CLOSED, "branch_and_bound"):
        began = time.perf_counter()
        (result,) = certify(net, problem, x, estimator=method, budget=Budget(seconds, gap=0.01))
        proved = f"{result.upper:.4f}"
        if result.lower > 0:
            proved = f"[{result.lower:.4f}, {result.upper:.4f}], gap {100 * result.gap:.2f} %"
        found.append((method, proved, time.perf_counter() - began))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policies")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each method and policy")
    parser.add_argument("--train", action="store_true", help="clone the policies anew")
    asked = parser.parse_args()
    for policy in POLICIES:
        if asked.train:
            print(f"{policy.name}: mean squared error {policy.clone():.2e}")
        print(f"{policy.name}, states in [-{policy.reach:g}, {policy.reach:g}]^{policy.inputs}")
        for method, proved, took in rows(policy, asked.seconds):
            print(f"  {method:<18}{proved:<42}{took:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
