"""Attack: a search by gradients for a point of the region that the network puts into another class than the reference point.

The share of points that the constant certifies bounds the share that keeps its class from below; the share that survives
the attack bounds it from above.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from lipreg.arguments import check_object, spelled_arguments
from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.graph import Graph
from lipreg.graph.accurate import margins
from lipreg.options import check_count
from lipreg.regions.placed import PlacedRegion

BLOCK = 16
"""The number of points that are attacked together: each has a copy of its input for every start."""
PACE = 2.5
"""The length of all steps together, in ways from the center to the border, as in Madry et al. 2018."""


@spelled_arguments
@dataclass(frozen=True)
class Attack:
    """Projected gradient steps on the margin, from the reference point and from random points of the region.

    Args:
        steps: how many are taken from each start.
        starts: how many there are, the reference point being the first.

    Source: Madry, Makelov, Schmidt, Tsipras & Vladu 2018, with the margin in place of the loss.

    Raises:
        InvalidInput: a number below 1.
    """

    steps: int = 30
    starts: int = 4

    def __post_init__(self) -> None:
        check_count(self.steps, "steps", "Attack")
        check_count(self.starts, "starts", "Attack")

    def on(
        self,
        analysis: Analysis,
        classification: Sequence[tuple[int, bool | None]],
        only: Iterable[int],
        seed: int,
        budget: Budget,
    ) -> dict[int, bool]:
        """Searches the region of each point for a point of another class than its label's.

        The random starts of a point follow from the seed and the point alone. A point counts if it lies in the region and
        its margin is below 0 in real arithmetic; one that the search misses may exist all the same.

        Args:
            analysis: of all points, frozen.
            classification: of each point its label, and whether it is classified rightly; None without a class.
            only: the indices of the points to attack.
            seed: of the random starts.
            budget: ends the attack.

        Returns:
            By index, whether such a point was found; True where the reference point itself is classified wrongly. Points
            without a class, and those that are not tried because the time is over, are not among the keys.
        """
        right = [i for i in only if classification[i][1]]
        lost_class = {i: True for i in only if classification[i][1] is False}  # the reference point itself is one
        region, graph = analysis.placed.region, analysis.graph
        for first in range(0, len(right), BLOCK):
            if budget.stop_reason() is not None:
                break
            block = right[first : first + BLOCK]
            labels = torch.tensor([classification[i][0] for i in block])
            x, rivals = self._worst_points(graph, region[torch.tensor(block)], labels, seed, budget)
            # the rival's margin over the label, rounded down: above 0 is a proof that the label has lost
            lost = margins(graph, x, rivals).gather(1, labels.unsqueeze(1)).squeeze(1) > 0
            lost_class |= dict(zip(block, lost.tolist(), strict=True))
        return lost_class

    def _worst_points(
        self, graph: Graph, region: PlacedRegion, labels: Tensor, seed: int, budget: Budget
    ) -> tuple[Tensor, Tensor]:
        """The worst point that the steps find in each region, ``(batch, *shape)``, and the closest other class there."""
        drawn = [region.sample(self.starts - 1, region.generators(seed))] if self.starts > 1 else []
        x, each = torch.cat([region.center.unsqueeze(1), *drawn], dim=1), torch.arange(len(labels))
        is_label = one_hot(labels, int(graph.output.shape[0])).bool().unsqueeze(1)
        worst, at, rivals = x.new_full((len(labels),), torch.inf), region.center.clone(), labels.clone()
        for step in range(self.steps + 1):
            x = x.detach().requires_grad_(step < self.steps)
            with torch.enable_grad():
                outputs = graph(x)  # (batch, starts, outputs)
                others = outputs.masked_fill(is_label, -torch.inf)
                ahead = outputs[each, :, labels] - others.amax(-1)
            least, start = ahead.detach().min(1)
            nearer = least < worst
            worst = torch.where(nearer, least, worst)
            at[nearer] = x.detach()[each, start][nearer]
            rivals[nearer] = others.detach()[each, start].argmax(-1)[nearer]
            if bool((worst < 0).all()) or not ahead.requires_grad or budget.stop_reason() is not None:
                break
            (gradient,) = torch.autograd.grad(ahead.sum(), x)
            x = region.project(x.detach() - PACE / self.steps * _way(region, gradient))
        return at, rivals


def _way(region: PlacedRegion, gradient: Tensor) -> Tensor:
    """A step as long as the way from the center to the border, along the gradient, in the norm of the region."""
    if not region.bounded:  # no border: steps of size 1, from starts at distances of many orders
        return gradient.sign()
    half_widths = ((region.up - region.down) / 2).unsqueeze(1)
    if region.norm == torch.inf:
        return half_widths * gradient.sign()
    flat = normalize((gradient * (half_widths > 0)).flatten(2), dim=-1, p=2.0)
    if (
        region.norm == 1.0
    ):  # the largest entries share the radius; the l2 direction would be drawn back to next to nothing
        flat = torch.where(flat.abs() >= flat.abs().amax(-1, keepdim=True), flat.sign(), 0.5 * flat)
    return region.radius * flat.reshape(gradient.shape)


def check_attack(attack: object, where: str) -> None:
    """Raises InvalidInput, with a form that is taken, unless it is an ``Attack``."""
    line = "from lipreg.auditing import Attack"
    check_object(attack, Attack, "attack", where, "an Attack, or None for none", "Attack(steps=30, starts=4)", line)
