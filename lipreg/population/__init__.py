"""What holds for a whole finite data set, derived from certified intervals at points that were drawn from it at random.

The population is the user's data set, of which some points are drawn without replacement by a recorded seed. At each drawn
point a quantity (a local Lipschitz constant, a margin over it, a ratio of two constants) is known to lie between two proved
ends; of every point, drawn or not, cheap ends may be known besides. What is said of the population then holds with a
confidence over the draw, and over nothing else: the data set is not taken for a sample of a distribution.
"""

from lipreg.population.band import Band
from lipreg.population.between import Between
from lipreg.population.draws import Draw
from lipreg.population.evidence import AnyTime, Evidence, Planned
from lipreg.population.margins import of_margins, over_constants
from lipreg.population.pairs import difference_of_shares, ratio_of_quantiles
from lipreg.population.rules import MeanWithin, QuantileWithin, Rule, ShareWithin
from lipreg.population.sample import Sample

__all__ = [
    "AnyTime",
    "Band",
    "Between",
    "Draw",
    "Evidence",
    "MeanWithin",
    "Planned",
    "QuantileWithin",
    "Rule",
    "Sample",
    "ShareWithin",
    "difference_of_shares",
    "of_margins",
    "over_constants",
    "ratio_of_quantiles",
]
