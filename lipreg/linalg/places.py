"""Decimals with a stated number of places, and the functions in them that curves are made of.

Sums, products and quotients of Python's decimals are correctly rounded, so each is off by at most u = 10^(1 - p) of itself,
p the digits that are carried. p is GUARD more than the places that are promised: no function here is off by more than the
few hundred u that its docstring states, and no formula of a curve makes 10^GUARD of that.

Source: argument reduction and Taylor series as in Brent & Zimmermann 2010, Modern Computer Arithmetic, section 4.3 and 4.4.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property

import numpy as np

GUARD = 16
"""Digits that are carried beside those that are promised."""
HALVED = 8
"""Halvings beyond 1 of an argument before a series is summed."""
ZERO, ONE = Decimal(0), Decimal(1)


class DecimalArithmetic:
    """Arithmetic of decimals with a promised number of places; ``with places.context()`` around all that is computed in it.

    Attributes:
        promised: the number of places.
        carried: p, the digits of every number.
        far: the y from which on e^-y counts as 0: it is at most 10^(-1.3 p).
    """

    def __init__(self, promised: int) -> None:
        self.digits, self.carried = promised, promised + GUARD
        self.far = Decimal(3 * self.carried)
        self._context = decimal.Context(
            self.carried, decimal.ROUND_HALF_EVEN, decimal.MIN_EMIN, decimal.MAX_EMAX, traps=[]
        )

    def context(self):
        """The context in which decimals have p digits."""
        return decimal.localcontext(self._context)

    @cached_property
    def pi(self) -> Decimal:
        """16 arctan(1/5) - 4 arctan(1/239) (Machin), each of whose terms is off by at most two units of 2^-bits."""
        bits = self._bits(0.0)

        def arctan(n: int) -> int:
            term = total = (1 << bits) // n
            k, square = 1, n * n
            while term:
                term //= -square
                k += 2
                total += term // k
            return total

        return Decimal(4 * (4 * arctan(5) - arctan(239))) / (1 << bits)

    @cached_property
    def root_pi(self) -> Decimal:
        """sqrt(pi)."""
        return self.pi.sqrt()

    @cached_property
    def root_2(self) -> Decimal:
        """sqrt(2)."""
        return Decimal(2).sqrt()

    @cached_property
    def _taylor(self) -> list[Decimal]:
        """1 / n!, the last n first, down to n = 1: the rest of (e^r - 1) / r for |r| <= 2^-HALVED is below u."""
        shares, share, size = [ONE], ONE, 0.0
        while size < self.carried + 2:
            share /= len(shares) + 1
            shares.append(share)
            size = HALVED * math.log10(2.0) * len(shares) - share.adjusted()
        return shares[::-1]

    def expm1(self, y: Decimal) -> Decimal:
        """e^y - 1 for y <= 0, within 100 u of itself.

        With r = y / 2^j, |r| <= 2^-HALVED, the series is off by a few u of itself; e^2r - 1 = E (2 + E) where E = e^r - 1, a
        step that takes relative errors over with a factor of at most 1, since -1 < E <= 0, and adds 2 u.
        """
        if y < -self.far:
            return -ONE
        halvings = max(0, HALVED + math.frexp(float(y))[1])
        r, total = y / (1 << halvings), ZERO
        for share in self._taylor:
            total = total * r + share
        total *= r
        for _ in range(halvings):
            total *= 2 + total
        return total

    def exp(self, y: Decimal) -> Decimal:
        """e^y for y <= 0, within 100 u."""
        return ONE + self.expm1(y)

    def log1p(self, s: Decimal) -> Decimal:
        """log(1 + s) for 0 <= s <= 1, within 300 u of itself: w + log(1 + d), w a float near it, d = (1 + s) e^-w - 1."""
        near = Decimal(math.log1p(float(s)))
        d = s + (1 + s) * self.expm1(-near)
        total, power, n = ZERO, d, 1
        while power and power.adjusted() > s.adjusted() - self.carried - 2:
            total += power / n
            power *= -d
            n += 1
        return near + total

    def erf(self, x: Decimal) -> Decimal:
        """erf(x) for x >= 0, within 100 u of itself: 2 x / sqrt(pi) sum_n (-x^2)^n / (n! (2 n + 1)).

        In whole numbers of 2^-bits: no term is off by more than e^(x^2) times its count of roundings, for which there are
        bits. The sum is at least sqrt(pi) / 2 / (x + 1).
        """
        square = x * x
        if square > self.far:
            return ONE  # erfc(x) <= e^(-x^2)
        bits = self._bits(float(square))
        reduced = int(square * (1 << bits))
        term = total = 1 << bits
        n = 0
        while term:
            n += 1
            term = (term * reduced >> bits) // n
            total += (-term if n & 1 else term) // (2 * n + 1)
        return 2 * x / self.root_pi * (Decimal(total) / (1 << bits))

    def _bits(self, growth: float) -> int:
        """Bits of whole numbers in a sum with terms up to e^growth and some thousand roundings."""
        return math.ceil(self.carried * math.log2(10.0) + growth / math.log(2.0)) + 24

    def decimals(self, whole: np.ndarray, exponent: int) -> list[Decimal]:
        """Whole numbers times 2^exponent as decimals, each rounded once at most."""
        power = Decimal(1 << abs(exponent))  # as it is, whatever the context
        numbers = whole.flatten().tolist()
        return [number * power for number in numbers] if exponent >= 0 else [Decimal(n) / power for n in numbers]

    def whole(self, numbers: Sequence[Decimal], exponent: int) -> tuple[list[int], list[bool]]:
        """Numbers in units of 2^exponent, cut towards 0; and which of them were whole."""
        power = Decimal(1 << abs(exponent))
        scaled = [n / power for n in numbers] if exponent >= 0 else [n * power for n in numbers]
        whole = [int(n) for n in scaled]
        return whole, [w == n for w, n in zip(whole, scaled, strict=True)]


def size_bits(numbers: Sequence[Decimal]) -> int:
    """An exponent e for which all numbers are below 2^e, at most 5 more than the least."""
    largest = max((number.adjusted() for number in numbers if number), default=0)
    return math.ceil((largest + 1) * math.log2(10.0)) + 1
