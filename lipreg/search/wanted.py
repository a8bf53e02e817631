"""Which units of points a hunt switches: sets of those whose switching would add most to what the points promise."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.search.screen import PointEvaluator

SETS = 8
"""Sets of units for each point: of 1, 2, 4 and up to 32 units, drawn with more weight on what adds more."""


def wanted_signs(screen: PointEvaluator, x: Tensor, choice: Tensor, generator: torch.Generator) -> dict[int, Tensor]:
    """The signs that are wanted of unstable units, ``SETS`` times for each point.

    The other units are to stay as they are, but for those whose switching would add something too: these are free.

    Args:
        screen: of the question.
        x: points ``(k, *shape)``.
        choice: the functional that counts of each, ``(k,)``.
        generator: of the draws.

    Returns:
        For each node with unstable units 1, -1 or 0 for a sign that does not matter, ``(k SETS, *node)``.
    """
    sign, gain = screen.switch_gains(x, choice)
    unstable = screen.unstable
    flat = torch.cat([(gain[i] * unstable[i]).flatten(1) for i in gain], 1).repeat_interleave(SETS, 0)
    count = (2 ** (torch.arange(SETS) % 6)).repeat(len(x)).clamp(max=flat.shape[1])
    noise = torch.randn(flat.shape, generator=generator).to(flat)
    score = flat.clamp(min=0.0) * noise.exp()
    least = score.sort(1, descending=True).values.gather(1, count.unsqueeze(1) - 1)
    aim = torch.where((score >= least) & (score > 0), -1.0, (flat < 0).to(flat))
    wanted = {}
    for i, part in zip(sign, aim.split([s[0].numel() for s in sign.values()], 1), strict=True):
        wanted[i] = sign[i].repeat_interleave(SETS, 0) * part.reshape(-1, *sign[i].shape[1:]) * unstable[i]
    return wanted
