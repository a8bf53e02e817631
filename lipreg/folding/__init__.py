"""One point's network with its stable units folded away: what the exact engines search and write programs of."""

from lipreg.folding.displacements import Displacements
from lipreg.folding.forms import AffineForm, cell_forms
from lipreg.folding.network import FoldedNetwork, FoldedValues, fold, fold_values
from lipreg.folding.units import UnstableUnits, unstable_units
from lipreg.folding.work import first_work, fold_work, least_work, node_work, search_work

__all__ = [
    "AffineForm",
    "Displacements",
    "FoldedNetwork",
    "FoldedValues",
    "UnstableUnits",
    "cell_forms",
    "first_work",
    "fold",
    "fold_values",
    "fold_work",
    "least_work",
    "node_work",
    "search_work",
    "unstable_units",
]
