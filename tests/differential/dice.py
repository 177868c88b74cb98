"""Choices of a generator, each a small number: so that hypothesis can draw, repeat and shrink them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """`below(n)` gives a number from 0 to n - 1; smaller is simpler."""

    def __init__(self, below: Callable[[int], int]) -> None:
        self.below = below

    def pick(self, options: Sequence[T]) -> T:
        """One of them; the simplest is first."""
        return options[self.below(len(options))]

    def some(self, options: Sequence[T], least: int, most: int) -> list[T]:
        """As many as drawn, the same one perhaps again."""
        return [self.pick(options) for _ in range(least + self.below(most - least + 1))]

    def distinct(self, options: Sequence[T], least: int, most: int) -> list[T]:
        """As many as drawn, if there are enough; none of them twice."""
        left = list(options)
        count = min(len(left), least + self.below(most - least + 1))
        return [left.pop(self.below(len(left))) for _ in range(count)]

    def chance(self, percent: int) -> bool:
        """True so often; False is simpler."""
        return self.below(100) >= 100 - percent

    def weighted(self, options: Sequence[tuple[int, T]]) -> T:
        """One of them by weight; the simplest is first."""
        left = self.below(sum(weight for weight, _ in options))
        for weight, option in options:
            left -= weight
            if left < 0:
                return option
        raise AssertionError("weights are positive")
