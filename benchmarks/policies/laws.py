"""The laws, the networks that clone them, and where their weights lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn

STEPS, BATCH, RATE = 4000, 512, 2e-3


@dataclass(frozen=True)
class Policy:
    """A policy.

    Attributes:
        name: of its weights.
        inputs, outputs: of states and actions.
        law: states of [-1, 1]^inputs, ``(batch, inputs)``, to actions.
        reach: half width of the box of states about 0 over which it is asked how steep it is.
    """

    name: str
    inputs: int
    outputs: int
    law: Callable[[Tensor], Tensor]
    reach: float

    def network(self) -> nn.Sequential:
        """The network with its weights as they are committed."""
        net = self.fresh()
        net.load_state_dict(torch.load(self.path, weights_only=True))
        return net

    def fresh(self) -> nn.Sequential:
        """The network with weights of its own seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers = [nn.Linear(self.inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, self.outputs)]
            return nn.Sequential(*layers)

    @property
    def path(self) -> Path:
        return Path(__file__).parent / f"{self.name}.pt"

    def clone(self) -> float:
        """Trains the network on the law, writes its weights, and returns the last mean squared error."""
        net, draw = self.fresh(), torch.Generator().manual_seed(1)
        optimizer = torch.optim.Adam(net.parameters(), RATE)
        schedule, loss = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS), torch.zeros(())
        for _ in range(STEPS):
            states = 2.0 * torch.rand(BATCH, self.inputs, generator=draw) - 1.0
            loss = (net(states) - self.law(states)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        torch.save(net.state_dict(), self.path)
        return float(loss.detach())


def pendulum(states: Tensor) -> Tensor:
    """Torque of a PD law towards a target angle, saturated."""
    angle, rate, target = (states * torch.tensor([math.pi, 4.0, 1.0])).split(1, 1)
    return torch.tanh(2.0 * torch.sin(target - angle) - 0.8 * rate)


def masses(states: Tensor) -> Tensor:
    """Forces on the outer two of four masses in a row, by the linear-quadratic regulator, saturated."""
    springs = 2.0 * np.eye(4) - np.eye(4, k=1) - np.eye(4, k=-1)
    motion = np.block([[np.zeros((4, 4)), np.eye(4)], [-springs, -0.1 * np.eye(4)]])
    forces = np.zeros((8, 2))
    forces[4, 0] = forces[7, 1] = 1.0
    gain = forces.T @ scipy.linalg.solve_continuous_are(motion, forces, np.eye(8), np.eye(2))
    return torch.tanh(-states @ torch.tensor(gain.T, dtype=states.dtype))


POLICIES = (Policy("pendulum", 3, 1, pendulum, 1.0), Policy("masses", 8, 2, masses, 0.05))
