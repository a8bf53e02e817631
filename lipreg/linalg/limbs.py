"""Tensors in multiple precision on which linear maps act by plain float64 passes, without a rounding.

A number is cut into digits of a few bits, and so are the entries of a map. Products of two digits, and sums of as many of
them as a map's sums are long, are integers that float64 holds exactly, so a pass of the map whose entries are one digit,
over tensors of one digit, is exact in whatever order a library adds up. What the passes give is added up in 64-bit integers
and carried. Only digits beyond a stated number are dropped, each number with a bound on what was.

The sums have to be direct or im2col: a fast convolution (Winograd, FFT) or product (Strassen) has other terms. In float64 on
the CPU torch uses none of them.

Source: Ozaki, Ogita, Oishi & Rump 2012, error-free splitting; here in fixed point with carries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lipreg.linalg.broadcasting import broadcast
from lipreg.linalg.floats import EPS
from lipreg.linalg.maps import LinearMap
from lipreg.linalg.numbers import Numbers, ScalarFunction
from lipreg.linalg.places import DecimalArithmetic, size_bits

LIMBS = 10
"""Digits that are kept by default: some 200 bits."""
MOST_BITS = 25
"""The most bits of a digit."""
LEAST = 5e-324
"""The smallest float64 number above 0."""


def digit_bits(terms: int) -> int:
    """How many bits a digit may have where sums have so many terms: terms 2^(bits - 1) 2^(bits - 1) <= 2^53."""
    return min(MOST_BITS, (55 - max(terms, 1).bit_length()) // 2)


@dataclass(frozen=True)
class Limbs(Numbers):
    """sum_i digits[i] 2^(bits (top - i)), within ``error`` of the exact number.

    Attributes:
        digits: ``(digits, *shape)`` int64, of magnitude at most 2^(bits - 1).
        top: the place of the first digit.
        error: a bound on what was dropped, ``(*shape)`` float64; 0 where nothing was.
        bits: of a digit.
        limbs: digits that are kept; the first one is the first that is not 0 in the whole tensor.
    """

    digits: Tensor
    top: int
    error: Tensor
    bits: int
    limbs: int

    @classmethod
    def of(cls, x: Tensor, bits: int, limbs: int = LIMBS) -> Limbs:
        """A finite float64 tensor; exact where ``limbs`` digits from the largest entry on hold all the entries.

        Args:
            x: the tensor.
            bits: of a digit.
            limbs: digits that are kept.
        """
        digits, top, error = _cut(x, bits, limbs)
        return cls(torch.stack(digits).long(), top, torch.zeros_like(x) if error is None else error, bits, limbs)

    def like(self, x: Tensor) -> Limbs:
        return Limbs.of(x, self.bits, self.limbs)

    @property
    def shape(self) -> torch.Size:
        return self.error.shape

    def through(self, map: LinearMap) -> Limbs:
        return map.exact_form.through(self, _act)

    def back(self, map: LinearMap) -> Limbs:
        return map.exact_form.back(self, _act)

    def times(self, factor: Tensor | Numbers) -> Limbs:
        """The product with finite float64 numbers that broadcast, or with the exact numbers behind ones with errors."""
        expanded = self._expanded(broadcast(self.shape, factor.shape))
        if isinstance(factor, Tensor):
            size = factor.abs()
            digits, top, lost = _cut(factor, self.bits, self.limbs)
        elif isinstance(factor, Limbs) and factor.bits == self.bits:
            size, lost = factor._magnitude(), factor.error
            digits, top = list(factor.digits.double()), factor.top
        else:
            value, off = factor.rounded()
            size = _above(value.abs() + off, 1)
            digits, top, lost = _cut(value, self.bits, self.limbs)
            lost = off if lost is None else _above(lost + off, 1)
        error, unknown = expanded.error * size, (expanded.error > 0) & (size != 0)
        if lost is not None and bool(lost.any()):
            error, unknown = error + expanded._magnitude() * lost, unknown | (lost > 0)
        products = [expanded.digits.double() * digit for digit in digits]
        return expanded._sum(products, top, _above(error, 2, unknown))

    def reindexed(self, move: Callable[[Tensor], Tensor], copies: int = 1) -> Limbs:
        """Entries elsewhere, or sums of at most ``copies`` of them: ``move`` acts on trailing dimensions, in any dtype."""
        return self._normal(move(self.digits), self.top, _above(move(self.error), copies))

    def __add__(self, other: Limbs) -> Limbs:
        shape, top = broadcast(self.shape, other.shape), max(self.top, other.top)
        parts = [part._expanded(shape) for part in (self, other)]
        end = max(len(part.digits) + top - part.top for part in parts)
        total = self.digits.new_zeros(end, *shape)
        for part in parts:
            total[top - part.top : top - part.top + len(part.digits)] += part.digits
        return self._normal(total, top, _above(parts[0].error + parts[1].error, 1))

    def __neg__(self) -> Limbs:
        return replace(self, digits=-self.digits)

    def relu(self, slope: float) -> Limbs:
        """max(z, slope z), 0 <= slope < 1, whose error is at most that of z."""
        value, error = self.rounded()
        image = self.times(torch.full_like(value, slope).masked_fill(self._total() > 0, 1.0))
        sure = (value.abs() > error) | (error == 0)
        return replace(image, error=torch.where(sure, image.error, torch.maximum(image.error, error)))

    def applied(self, function: ScalarFunction) -> Limbs:
        """A function of every entry, in decimals that have as many digits as are kept."""
        places = DecimalArithmetic(math.ceil(self.bits * self.limbs * math.log10(2.0)))
        least = self.top - len(self.digits) + 1
        with places.context():
            exact = function.in_decimals(places.decimals(self.whole(least), self.bits * least), places)
            # all that lies below the first digit fits into the others
            top = math.ceil((size_bits(exact) + 1) / self.bits) - 1
            last = top - self.limbs + 1
            whole, hit = places.whole(exact, self.bits * last)
        value, error = self.rounded()
        off = function.decimal_error(value, error, self.error, places.digits)
        missed = (~torch.tensor(hit)).to(off).reshape(self.shape)
        return self._of_whole(whole, last, _above(off + missed * _power(self.bits * last), 1))

    def amax(self) -> Limbs:
        """The largest over the last dimension, whose error is at most the largest of its entries' errors."""
        each = [self.reindexed(lambda t, i=i: t[..., i]) for i in range(self.shape[-1])]
        best = each[0]
        for other in each[1:]:
            larger = (other + -best)._total() > 0
            rest = best.reindexed(lambda t, larger=larger: t.masked_fill(larger, 0))
            best = other.reindexed(lambda t, larger=larger: t.masked_fill(~larger, 0)) + rest
        return replace(best, error=self.error.amax(-1))

    def rounded(self) -> tuple[Tensor, Tensor]:
        """The number in float64, within a unit in its last place, and a bound on how far it is from the exact one."""
        total = self._total()
        value = _times_power(total, self.bits * self.top)
        return value, _above(self.error + EPS * value.abs(), 4, (self.error > 0) | (total != 0))

    def whole(self, last: int) -> np.ndarray:
        """The digits' number in units of 2^(bits last), as Python's integers; no digit may lie below the place ``last``."""
        total = np.zeros(self.shape, dtype=object)
        for place, digit in enumerate(self.digits.numpy()):
            total = total + digit.astype(object) * (1 << self.bits * (self.top - place - last))
        return total

    def _of_whole(self, whole: list[int], last: int, error: Tensor) -> Limbs:
        """Numbers of this shape in units of 2^(bits last), in the same arithmetic."""
        rest, digits, half = np.array(whole, dtype=object), [], 1 << (self.bits - 1)
        while len(digits) < self.limbs or rest.any():
            carry = (rest + half) >> self.bits
            digits.append((rest - (carry << self.bits)).astype(np.int64))
            rest = carry
        raw = torch.from_numpy(np.stack(digits[::-1])).reshape(-1, *self.shape)
        return self._normal(raw, last + len(digits) - 1, error)

    def _total(self) -> Tensor:
        """The digits' number in units of the first place: the sum from the small ones on."""
        total = np.zeros(self.shape)
        for digit in self.digits.numpy()[::-1]:
            total = total * 2.0**-self.bits + digit
        return torch.as_tensor(total)

    def _expanded(self, shape: torch.Size) -> Limbs:
        digits = self.digits.reshape(-1, *(1,) * (len(shape) - self.error.dim()), *self.shape)
        return replace(self, digits=digits.expand(-1, *shape), error=self.error.expand(shape))

    def _magnitude(self) -> Tensor:
        """An upper bound on the magnitude of the exact number."""
        value, error = self.rounded()
        return _above(value.abs() + error, 1)

    def _sum(self, products: list[Tensor], top: int, error: Tensor) -> Limbs:
        """The sum of products with the digits of a factor, the first of which has the place ``top``."""
        count = len(self.digits)
        total = self.digits.new_zeros(count + len(products) - 1, *products[0].shape[1:])
        for i, product in enumerate(products):
            total[i : i + count] += product.long()
        return self._normal(total, self.top + top, error)

    def _normal(self, raw: Tensor, top: int, error: Tensor) -> Limbs:
        """Carries, and drops what is beyond the digits that are kept."""
        bits, half = self.bits, 1 << (self.bits - 1)
        digits, carry = [], np.zeros(raw.shape[1:], dtype=np.int64)
        for digit in raw.numpy()[::-1]:  # of small tensors numpy's calls take less than torch's
            total = digit + carry
            carry = (total + half) >> bits
            digits.append(total - (carry << bits))
        while carry.any():
            total, top = carry, top + 1
            carry = (total + half) >> bits
            digits.append(total - (carry << bits))
        carried = np.stack(digits[::-1])
        used = np.flatnonzero(carried.reshape(len(carried), -1).any(1)).tolist() or [0]
        first, end = used[0], min(used[-1] + 1, used[0] + self.limbs)
        dropped = carried[end:].any(0)
        if dropped.any():  # less than a unit in the last place that is kept
            more = error + _power(bits * (top - end + 1))
            error = _above(torch.where(torch.as_tensor(dropped), more, error), 1)
        return replace(self, digits=torch.from_numpy(carried[first:end]), top=top - first, error=error)


def _act(map: LinearMap, x: Limbs, back: bool) -> Limbs:
    """A x or A^T x of a map with at most one tensor of entries."""

    def run(map: LinearMap, x: Tensor) -> Tensor:
        return map.transpose(x) if back else map(x)

    assert digit_bits(map.roundings) >= x.bits, "digits too wide for the map's sums"
    entries: list[Tensor] = []
    map.with_entries(lambda weight: entries.append(weight) or weight)
    parts, top, lost = [map], 0, None
    if entries:
        digits, top, lost = _cut(entries[0], x.bits, x.limbs)
        parts = [map.with_entries(lambda _, digit=digit: digit) for digit in digits]
    value = x.digits.double()
    products = [run(part, value) for part in parts]
    error = torch.zeros_like(products[0][0])
    unknown = error > 0
    if bool(x.error.any()):
        error = run(map.abs(), x.error)
        unknown = run(map.with_entries(lambda weight: (weight != 0).double()), (x.error > 0).double()) > 0
    if lost is not None:
        error = error + run(map.with_entries(lambda _, lost=lost: lost), x._magnitude())
        unknown = torch.ones_like(unknown)
    return x._sum(products, top, _above(error, 2 * map.roundings, unknown))


def _cut(x: Tensor, bits: int, limbs: int) -> tuple[list[Tensor], int, Tensor | None]:
    """At most ``limbs`` digits of a finite float64 tensor, as float64; the place of the first; a bound on the rest, or None
    where there is none."""
    size = _size(x)
    top = math.ceil((math.frexp(size)[1] - bits + 1) / bits)
    rest = _times_power(x, -bits * top) if top else x.clone()
    # entries so small beside the largest that they are rounded when all are scaled down
    lost = _times_power(rest, bits * top) != x if top > 0 else None
    digits: list[Tensor] = []
    while True:
        digits.append(rest.round())
        rest = rest.sub_(digits[-1]).mul_(2.0**bits)
        if _size(rest) == 0 or len(digits) == limbs:
            break
    error = None
    if _size(rest) > 0:
        size = _times_power(rest.abs(), bits * (top - len(digits)))
        error = torch.where(rest != 0, size * (1.0 + EPS) + LEAST, size)
    if lost is not None and bool(lost.any()):
        error = torch.zeros_like(x) if error is None else error
        error = torch.where(lost, error + _power(bits * top - 1000), error)
    return digits, top, error


def _size(x: Tensor) -> float:
    """The largest magnitude."""
    low, high = torch.aminmax(x) if x.numel() else (0.0, 0.0)
    return max(-float(low), float(high))


def _above(bound: Tensor, terms: int, unknown: Tensor | None = None) -> Tensor:
    """A bound that is a float64 sum of ``terms`` terms >= 0, rounded up.

    ``unknown`` has the places where it is above 0, if products may have underflowed; elsewhere it is 0.
    """
    unknown = bound != 0 if unknown is None else unknown
    above = (bound * (1.0 + (terms + 4) * EPS) + terms * LEAST).nan_to_num(nan=math.inf, posinf=math.inf)
    return torch.where(unknown, above, torch.zeros_like(above))


def _power(exponent: int) -> float:
    """2^exponent, rounded up."""
    return math.inf if exponent > 1023 else max(LEAST, 2.0**exponent)


def _times_power(x: Tensor, exponent: int) -> Tensor:
    """x 2^exponent, in steps that are in range."""
    while exponent:
        step = max(-1000, min(1000, exponent))
        x, exponent = x * 2.0**step, exponent - step
    return x
