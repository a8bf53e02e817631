"""Beside ECLipsE-Gen-Local: python -m benchmarks.policies.peers [page], after pip install eclipse-nn (0.1.7).

Both are asked for the same: the constant from l2 to l2 over an l2 ball around rest. Its numbers are of float64 arithmetic
without an account of rounding; lipreg's are proved.

Source: Y. Xu and S. Sivaranjani, ECLipsE-Gen-Local (TMLR 2026), https://pypi.org/project/eclipse-nn.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.environment import markdown, read_result, write_result, write_tables
from benchmarks.policies.laws import POLICIES, Policy
from lipreg import Budget, L2Ball, LocalLipschitz, Vector, certify

PAGE = Path(__file__).parents[2] / "docs" / "choosing.md"
RADII = {"pendulum": (0.2, 1.0), "masses": (0.02, 0.05, 0.2)}
OURS = ("jacobian_crown", "deviation", "lipsdp", "branch_and_bound")


def measure(policy: Policy, radius: float) -> dict[str, Any]:
    """One row: each method's upper end, and its CPU seconds."""
    net, row = policy.network().double(), {"policy": policy.name, "radius": radius}
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    from eclipse_nn.LipConstEstimator import LipConstEstimator

    peer = LipConstEstimator(
        weights=[layer.weight.detach() for layer in layers],
        biases=[layer.bias.detach().reshape(-1, 1) for layer in layers],
    )
    for kind in ("Fast", "Acc"):
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            found, _, _ = peer.estimate_gen_local(np.zeros(policy.inputs), radius, "tanh", kind)
        row[f"ECLipsE-Gen-Local, {kind}"] = f"{float(found):.3f} ({time.process_time() - began:.1f} s)"
    problem, x = LocalLipschitz(L2Ball(radius), Vector(), p=2.0, q=2.0), torch.zeros(1, policy.inputs).double()
    for name in OURS:
        began = time.process_time()
        (end,) = certify(net, problem, x, estimator=name, budget=Budget(30.0, gap=0.01))
        shown = f"[{end.lower:.3f}, {end.upper:.3f}]" if end.lower > 0 else f"{end.upper:.3f}"
        row[f"`{name}`"] = f"{shown} ({time.process_time() - began:.1f} s)"
    return row


def main(arguments: list[str]) -> None:
    """Measures, unless only the page is to be written."""
    if arguments != ["page"]:
        write_result("policies_peers", [measure(policy, r) for policy in POLICIES for r in RADII[policy.name]])
    write_tables(PAGE, {"peers": markdown(read_result("policies_peers"))})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
