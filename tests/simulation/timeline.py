"""Virtual time: what is to happen, in order, and a clock that jumps from one thing to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Timeline:
    """One thread, one clock; what is planned for the same time happens in the order of planning."""

    def __init__(self) -> None:
        self.now = 0.0
        self.happened = 0
        self._planned = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, time: float, do: Callable[[], None]) -> None:
        self._planned += 1
        heapq.heappush(self._heap, (max(time, self.now), self._planned, do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self.at(self.now + seconds, do)

    def run(self, until: float, unless: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until then, or until `unless` is true."""
        while self._heap and self._heap[0][0] <= until and not unless():
            self.now, _, do = heapq.heappop(self._heap)
            self.happened += 1
            do()
        if not unless():
            self.now = max(self.now, until)
