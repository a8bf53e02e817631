"""Bounds over a region: pre-activations, slopes and Jacobian entries; and where kinks are not in general position."""

from lipreg.bounds.analysing import analyse
from lipreg.bounds.analysis import Analysis
from lipreg.bounds.crown import crown, linear_upper_bound
from lipreg.bounds.exclusive import Exclusive
from lipreg.bounds.general_position import Degeneracy, Finding, GeneralPosition, find_degeneracies
from lipreg.bounds.induced import InducedNorms, rounding_share
from lipreg.bounds.jacobian import interval_jacobian, jacobian_sizes
from lipreg.bounds.jacobian_relaxation import LinearJacobian, linear_jacobian
from lipreg.bounds.kinks import SharedKink, shared_kinks
from lipreg.bounds.largest_row import largest_row_sum
from lipreg.bounds.lifted import MixingVectors, lifted_bound
from lipreg.bounds.lines import Lines, relax, relax_product
from lipreg.bounds.masks import Masks, regional_masks
from lipreg.bounds.pairs import LayerPair, PairDifference, layer_pairs, pair_differences
from lipreg.bounds.pass_cost import ROW_MEMORY
from lipreg.bounds.pooled import gains, row_bounds_within, shared_row_sums, within_shared
from lipreg.bounds.pooling import PoolWeights, pool_factor, pool_shares, relax_pool, source_weights
from lipreg.bounds.preactivations import METHODS, OPTIONAL_METHODS
from lipreg.bounds.rounding import (
    absolute_chain,
    form_rounding,
    gradient_rounding,
    norm_rounding,
    output_gradients,
    underflow,
)
from lipreg.bounds.row_norms import linear_row_norms, row_parts
from lipreg.bounds.signs import gradient_signs
from lipreg.bounds.slopes import Slopes, slope_bounds
from lipreg.bounds.switches import Switches
from lipreg.bounds.unpooling import without_pools
from lipreg.bounds.value_bounds import ValueBounds

__all__ = [
    "METHODS",
    "OPTIONAL_METHODS",
    "ROW_MEMORY",
    "Analysis",
    "Degeneracy",
    "Exclusive",
    "Finding",
    "GeneralPosition",
    "InducedNorms",
    "LayerPair",
    "LinearJacobian",
    "Lines",
    "Masks",
    "MixingVectors",
    "PairDifference",
    "PoolWeights",
    "SharedKink",
    "Slopes",
    "Switches",
    "ValueBounds",
    "absolute_chain",
    "analyse",
    "crown",
    "find_degeneracies",
    "form_rounding",
    "gains",
    "gradient_rounding",
    "gradient_signs",
    "interval_jacobian",
    "jacobian_sizes",
    "largest_row_sum",
    "layer_pairs",
    "lifted_bound",
    "linear_jacobian",
    "linear_row_norms",
    "linear_upper_bound",
    "norm_rounding",
    "output_gradients",
    "pair_differences",
    "pool_factor",
    "pool_shares",
    "regional_masks",
    "relax",
    "relax_pool",
    "relax_product",
    "rounding_share",
    "row_bounds_within",
    "row_parts",
    "shared_kinks",
    "shared_row_sums",
    "slope_bounds",
    "source_weights",
    "underflow",
    "within_shared",
    "without_pools",
]
