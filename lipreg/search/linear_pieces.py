"""Linear pieces of the rises: the steepest quotient of one by a cone program, whose multipliers are evaluated here."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from lipreg.budget import Budget
from lipreg.linalg import dual_norm, vector_norm
from lipreg.linalg.floats import EPS, SPARE
from lipreg.milp.steepest import Multipliers, Piece, steepest
from lipreg.search.cells import fixed_forms
from lipreg.search.directions import Directions
from lipreg.search.rise_forms import RiseForms, rise_forms
from lipreg.search.rises import OutputDifferences, ShellNodes
from lipreg.search.shells import shell_nodes

ON_KINK = 1e-7
"""How near to its kink, as a part of its range, a unit is taken to be on it."""
LENGTHS = (1.0, 1e2, 1e4)
"""By how much certificates are lengthened."""
INWARD = 16.0
"""How much nearer to the reference point than a point of it a piece begins."""


def settle_piece(rises: OutputDifferences, node: ShellNodes, budget: Budget) -> tuple[float, Tensor | None]:
    """An upper bound on the quotients of one node with all phases fixed, and a displacement that nearly attains it.

    The bound is far below 0 where the multipliers prove the piece empty, and inf where the engine fails, or where the piece
    may not hold the reference point and nothing keeps it away.

    Args:
        rises: of the question.
        node: one node.
        budget: started.
    """
    form, directions = rise_forms(rises, node, own_side=True), Directions.of(rises, node).to("cpu")
    if not float(node.near) > 0 and float(form.constant + form.lost) > 0:
        return math.inf, None
    piece = _piece(rises, node, form) if float(node.near) > 0 else _cone(rises, node, form, directions)
    multipliers = steepest(piece, budget)
    if multipliers is None:
        return math.inf, None
    # a certificate that the piece is empty holds at any length: the longer, the less is left of the form, but for rounding
    lengths = LENGTHS if multipliers.point is None else (1.0,)
    upper = min(_evaluated(piece, directions, multipliers.times(length)) for length in lengths) + float(form.error)
    upper = upper if math.isfinite(upper) else math.inf
    if multipliers.point is None or not multipliers.point[-1] > 0:
        return upper, None
    u, t = torch.from_numpy(multipliers.point[:-1]).to(rises.units), float(multipliers.point[-1])
    return upper, u / t * rises.units * node.far


def _piece(rises: OutputDifferences, node: ShellNodes, form: RiseForms) -> Piece:
    network, domain, far = rises.network, rises.network.domain, float(node.far)
    matrix, _ = fixed_forms(network, node.phase)
    constant, lost = rises.offsets(node.phase)
    sign, stretch = node.phase[0].to(matrix), rises.units * far
    cuts = torch.cat([sign.unsqueeze(-1) * matrix[0], -domain.faces]) * stretch
    # what rounding may have done to a cut is at its most at the outer distance
    levels = torch.cat([sign * constant[0] + lost[0] + rises.unit_error * far, domain.slack])
    region = domain.region
    mixed = region.radius < math.inf and (region.norm != network.p or bool((rises.units != 1.0).any()))
    return Piece(
        form.slope[0].cpu().numpy(),
        float(form.constant[0] + form.lost[0]) / far,
        cuts.cpu().numpy(),
        levels.cpu().numpy(),
        (domain.lower / stretch).cpu().numpy(),
        (domain.upper / stretch).cpu().numpy(),
        far / float(node.near),
        network.p,
        region.norm,
        region.radius if mixed else math.inf,
        stretch.cpu().numpy(),
    )


def _cone(rises: OutputDifferences, node: ShellNodes, form: RiseForms, directions: Directions) -> Piece:
    """The directions of a piece from the reference point on: what goes through that point cuts them, at any distance.

    The rise is at most its form's, which has no constant above 0; cuts with slack at the reference point are left out.
    """
    network, domain = rises.network, rises.network.domain
    matrix, _ = fixed_forms(network, node.phase)
    constant, lost = rises.offsets(node.phase)
    sign, one = node.phase[0].to(matrix), torch.ones_like(directions.lower[0])
    through, touched = sign * constant[0] + lost[0] <= 0.0, domain.slack <= 0.0
    cuts = torch.cat([(sign.unsqueeze(-1) * matrix[0])[through], -domain.faces[touched]])
    return Piece(
        form.slope[0].cpu().numpy(),
        0.0,
        (cuts * rises.units).cpu().numpy(),
        torch.cat([rises.unit_error[through], torch.zeros_like(domain.slack[touched])]).cpu().numpy(),
        torch.where(directions.lower[0] < 0, -one, 0.0).cpu().numpy(),
        torch.where(directions.upper[0] > 0, one, 0.0).cpu().numpy(),
        1.0,
        network.p,
        domain.region.norm,
        math.inf,
        (rises.units * float(node.far)).cpu().numpy(),
    )


def _evaluated(piece: Piece, directions: Directions, multipliers: Multipliers) -> float:
    """sup over directions of (form + A^T y - box - ball) . u + sup over t of the sum of all constants times t.

    Without what rounding may have done to the rise.
    """
    y, box, ball = (torch.from_numpy(part) for part in (multipliers.cuts, multipliers.box, multipliers.ball))
    cuts, levels = torch.from_numpy(piece.cuts), torch.from_numpy(piece.levels)
    lower, upper, stretch = (torch.from_numpy(part) for part in (piece.lower, piece.upper, piece.stretch))
    form = torch.from_numpy(piece.form)
    rest = form + y @ cuts - box - ball
    ends = torch.where(box > 0, box * torch.where(box > 0, upper, 0.0), box * torch.where(box < 0, lower, 0.0))
    sizes = [y * levels, ends]
    constant = piece.constant + float(sum(part.sum() for part in sizes))
    magnitude = abs(piece.constant) + float(sum(part.abs().sum() for part in sizes))
    if piece.radius < math.inf:
        more = piece.radius * float(vector_norm(ball / stretch, dual_norm(piece.ball)))
        constant, magnitude = constant + more, magnitude + more
    share = EPS * (sum(cuts.shape) + 2 * len(rest) + SPARE)
    # of the sums behind the form, whose entries no direction weighs more than 1
    lost = share * float((form.abs() + y @ cuts.abs() + box.abs() + ball.abs()).sum())
    most = piece.most * (1.0 + 4 * EPS)
    constant = constant + share * magnitude
    bound = float(directions.support(rest.reshape(1, 1, -1))) + lost + constant * (most if constant > 0 else 1.0)
    return bound if math.isfinite(bound) else math.inf


def phases_at(rises: OutputDifferences, d: Tensor) -> list[Tensor]:
    """The phases ``(n,)`` at a displacement ``(m,)``, and those with one of the units switched that are on their kinks."""
    network = rises.network
    phase = network.phases(d.unsqueeze(0))[0]
    matrix, constant = (part[0] for part in fixed_forms(network, phase.unsqueeze(0)))
    z = (matrix @ d + constant).abs() / (network.z_upper - network.z_lower).clamp(min=1e-300)
    phases = [phase]
    for unit in z.argsort().tolist():
        if z[unit] > ON_KINK:
            break
        other = phase.clone()
        other[unit] = -other[unit]
        phases.append(other)
    return phases


def piece_at(rises: OutputDifferences, d: Tensor, phase: Tensor) -> ShellNodes:
    """The node of one linear piece, for the functional that is steepest at a displacement, from near its distance on.

    Args:
        rises: of the question.
        d: the displacement, ``(m,)``, in the piece.
        phase: the piece's, ``(n,)``.
    """
    distance = float(vector_norm(d / rises.units, rises.network.p))
    row = int(rises.quotients(d.unsqueeze(0)).argmax())
    near, far = d.new_tensor([distance / INWARD]), d.new_tensor([max(rises.farthest, distance)])
    node = shell_nodes(rises, torch.full_like(near, math.inf), near, far)
    return replace(node, phase=phase.unsqueeze(0), row=torch.full_like(node.row, row))
