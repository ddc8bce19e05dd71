"""The referee on whole bots with a bug put into them: a short seed, calm but for what brings the bug to light."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tetrio import beside
from tetrio.chaos import run
from tetrio.chaos.circumstances import LIVELY
from tetrio.chaos.world import Circumstances
from tetrio.core import kernel
from tetrio.core.refold import Refold
from tetrio.core.state import NOWHERE
from tetrio.live.rebuild import Rebuilder

TELL = Rebuilder._tell
BLIND = ("syn-drop", "dns", "deaf", "stall-stream", "half-open-stream")
TRADING = Circumstances(settings=(*LIVELY, "exit.chase=join"), fund="ETH=0,FDUSD=900", fills="touch", telegram=False)


def _found(seed: int, hours: float, *only: str, rate: float = 2.0) -> set[str]:
    """The invariants that a seed violates, where these troubles alone befall it; none: nothing does."""
    result = run.run_seed(seed, hours, rate if only else 0.0, TRADING, only)
    return {each.invariant for each in result.violations}


def _looser(self: Rebuilder, fold: Refold, **facts: Any) -> None:
    """The past is told, but for the anchor, which is where the price is now."""
    if fold.state.last is not None:
        fold.set(msgspec.structs.replace(fold.state, anchor=float(fold.state.last.bid), zone=NOWHERE))
    TELL(self, fold, **facts)


def _never(*_: Any) -> None:
    """A hard stop fires at no price."""


def _alive(*_: Any) -> tuple[str, ...]:
    """Nothing ails it."""
    return ()


def test_a_bot_that_has_no_hard_stop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _found(1, 0.08) == set()
    monkeypatch.setattr(kernel, "_try_hard_stop", _never)
    assert "L4" in _found(1, 0.08)


def test_a_bot_that_forgets_its_stop_when_it_dies_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each restart puts it anew, below where the price is."""
    assert _found(1, 0.17, "sigkill") == set()
    monkeypatch.setattr(Rebuilder, "_tell", _looser)
    assert "S12" in _found(1, 0.17, "sigkill")


def test_a_bot_that_calls_itself_alive_whatever_ails_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _found(1, 0.06, *BLIND) == set()
    monkeypatch.setattr(beside, "judge", _alive)
    assert _found(1, 0.06, *BLIND) == {"S27"}
