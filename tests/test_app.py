"""What a start says is bounded, and what it says is not."""

from __future__ import annotations

import pytest

from tetrio.app import exits_in_words, guards_in_words, protection_in_words
from tetrio.core.params import ExitParams, RiskParams


@pytest.mark.parametrize(
    ("after_s", "bps", "words"),
    [
        (20, 30, "takes 20 s after it was armed or 30 bp beyond its price, once a second at 50 bp or better"),
        (0, 30, "takes 30 bp beyond its price, once"),
        (20, 0, "takes 20 s after it was armed, once"),
        (0, 0, "a hard stop does not take, however far the price runs"),
    ],
)
def test_a_start_says_when_a_hard_stop_takes(after_s: float, bps: float, words: str) -> None:
    assert words in exits_in_words(ExitParams(escalate_after_s=after_s, escalate_bps=bps))


def test_a_start_says_what_outlives_the_bot() -> None:
    assert "a bot that is dead sells nothing" in protection_in_words(ExitParams())
    left = protection_in_words(ExitParams(protect="stop", on_stop="leave"))
    assert "outlives the bot" in left
    assert "nothing protects while the quote is held" in left
    assert "outlives only a bot that dies" in protection_in_words(ExitParams(protect="trailing"))


def test_a_start_says_which_losses_halt() -> None:
    assert "no loss halts" in guards_in_words(RiskParams())
    told = guards_in_words(RiskParams(max_daily_loss=0.05, max_drawdown=0.1))
    assert "halts at 0.05 lost since 00:00 UTC or 0.1 lost from the best of 24 h and since" in told
