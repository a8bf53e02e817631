"""What a process holds while closed forms of large networks are made: what the budget says, beside what it starts with."""

from __future__ import annotations

import subprocess
import sys

import pytest

MIB = 2**20
PROGRAM = """
import resource, sys, torch
from torch import nn
from lipreg import AllLogits, Budget, LinfBall, LocalLipschitz, Logit, certify

def dense(): return nn.Sequential(nn.Linear(100, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10))

def image():
    first = nn.Conv2d(1, 8, 4), nn.ReLU(), nn.Conv2d(8, 8, 4), nn.ReLU(), nn.Flatten()
    return nn.Sequential(nn.Unflatten(1, (1, 28, 28)), *first, nn.Linear(3872, 32), nn.ReLU(), nn.Linear(32, 10))

def asked(net, inputs, radius, output, memory):
    problem = LocalLipschitz(LinfBall(radius, low=0.0, high=1.0), output)
    return certify(net, problem, torch.rand(1, inputs), estimator=sys.argv[1], budget=Budget(1e4, memory=memory))[0]

torch.manual_seed(0)
torch.set_num_threads(1)
asked(dense(), 100, 0.01, Logit(0), 2**28)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
memory = int(sys.argv[2])
found = [asked(dense(), 100, 0.3, AllLogits(), memory), asked(image(), 784, 0.03, Logit(7), memory)]
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before), *(one.proof for one in found))
"""


@pytest.mark.parametrize("name", ["mixing", "fastlip"])
def test_closed_forms_hold_what_their_budget_says(name: str) -> None:
    memory = 128 * MIB
    ran = subprocess.run([sys.executable, "-c", PROGRAM, name, str(memory)], capture_output=True, text=True, check=True)
    held, *proofs = ran.stdout.split()
    assert int(held) <= 1.2 * memory, f"{int(held) / MIB:.0f} MiB"
    assert name == "fastlip" or proofs == ["mixing", "mixing"], "nothing fell back to what takes less"
