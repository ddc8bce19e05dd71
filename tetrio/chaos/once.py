"""Whether something numbered was there before, in bounded memory.

Who numbers does so upwards, so that it is enough to remember the newest, and of what was forgotten the highest number:
whatever comes at or below that was there before, or comes thousands too late. What has no number (-1) is forgotten
without a trace. For a referee that watches for days.
"""

from __future__ import annotations

from collections.abc import Hashable

import attrs


@attrs.define
class Once:
    """Numbered things of several makers.

    most   that are remembered each by itself
    """

    most: int
    _newest: dict[tuple[Hashable, Hashable], int] = attrs.field(factory=dict)
    """(maker, thing) -> its number, oldest first."""
    _passed: dict[Hashable, int] = attrs.field(factory=dict)
    """Maker -> the highest number that was forgotten."""

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._newest)

    def met(self, maker: Hashable, thing: Hashable, number: int) -> bool:
        """Whether it was there before."""
        return (maker, thing) in self._newest or 0 <= number <= self._passed.get(maker, -1)

    def add(self, maker: Hashable, thing: Hashable, number: int) -> bool:
        """It is there; whether for the first time."""
        if self.met(maker, thing, number):
            return False
        self._newest[maker, thing] = number
        if len(self._newest) > self.most:
            oldest = next(iter(self._newest))
            passed = self._newest.pop(oldest)
            self._passed[oldest[0]] = max(passed, self._passed.get(oldest[0], -1))
        return True
