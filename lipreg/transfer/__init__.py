"""Did the regulariser move the truth? Tightness, movement and transfer of a regularised run against its twin.

A twin should have the same seed, initial weights and batch order, and penalty weight 0; what of this is not recorded, or
differs, is shown with the comparison (``Likeness``). At one reference point and epoch let
B be the penalised bound and E the exact constant, of which an interval is proved:

* tightness B / E;  movement E_reg / E_twin;  bound movement B_reg / B_twin;
* transfer log(E_reg / E_twin) / log(B_reg / B_twin): 1 = every per cent taken off the bound came off the truth,
  0 = only the bound was gamed, negative = the truth went the other way.

A penalty that divides all logits by 100 has E and B divided by 100, a transfer of 1, and a network that decides as before.
So two figures that it does not move come first: the margin over the constant (``margins``), and movement and transfer of
T E and T B, T the factor that calibrates the outputs (``calibrated``).

Ratios and transfer are aggregated over reference points by the geometric mean. Only that one commutes with division
(mean of ratios = ratio of means), so no point counts more for having a large constant, and swapping run and twin
inverts the result. Sizes in a table (bound, LP, combined) are arithmetic means.
"""

from lipreg.transfer.calibrated import CalibratedMovement, calibrated_movement
from lipreg.transfer.comparison import Comparison, compare, compare_pair
from lipreg.transfer.incomplete import why_not_compared
from lipreg.transfer.likeness import Likeness, likeness
from lipreg.transfer.margins import is_certified, margin_factor, margin_over_constant, margins_told, median_of
from lipreg.transfer.metric import Metric, choose_metric
from lipreg.transfer.movement import Movement, truth_movement
from lipreg.transfer.pairs import Pair, find_pair
from lipreg.transfer.points import PointFigures
from lipreg.transfer.radius import certified_radius, radius_factor
from lipreg.transfer.ratios import Interval, geometric_mean, mean_of, rank_correlation, ratio, transfer
from lipreg.transfer.run_figures import RunFigures
from lipreg.transfer.sides import Side
from lipreg.transfer.tightness import mean_tightness, tightness

__all__ = [
    "CalibratedMovement",
    "Comparison",
    "Interval",
    "Likeness",
    "Metric",
    "Movement",
    "Pair",
    "PointFigures",
    "RunFigures",
    "Side",
    "calibrated_movement",
    "certified_radius",
    "choose_metric",
    "compare",
    "compare_pair",
    "find_pair",
    "geometric_mean",
    "is_certified",
    "likeness",
    "margin_factor",
    "margin_over_constant",
    "margins_told",
    "mean_of",
    "mean_tightness",
    "median_of",
    "radius_factor",
    "rank_correlation",
    "ratio",
    "tightness",
    "transfer",
    "truth_movement",
    "why_not_compared",
]
