"""What must have come about some time after everything was healed.

L1   back within 30 s of healing
L2   what is wanted rests within 35 s
L3   nothing is in doubt 45 s after it
"""

from __future__ import annotations

from tetrio.chaos.judge.case import Case

BOUNDS_S = {"L1": 30.0, "L2": 35.0, "L3": 45.0}


class Progress:
    """Judges what is looked at again and again, until it is so or its time is up."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._healed_s = self._slack_s = 0.0

    def healed(self, slack_s: float) -> None:
        """Everything is well from now on; some of what went wrong asks a bot to stay away for `slack_s` longer."""
        self._healed_s, self._slack_s = self._case.now_s, slack_s

    def decided(self, invariant: str, so: bool, sight: str) -> bool:
        """Whether nobody has to look again: it is so, or its time is up, which is a breach.

        sight   what is seen instead, for people
        """
        bound_s = BOUNDS_S[invariant]
        late = self._case.now_s >= self._healed_s + bound_s + self._slack_s
        if late and not so:
            self._case.breach(invariant, f"{bound_s:g} s and more after healing: {sight}")
        return so or late
