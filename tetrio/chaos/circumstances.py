"""What differs from seed to seed beside what goes wrong: settings of the bot, funds, commissions."""

from __future__ import annotations

import random

from tetrio.chaos.world import Circumstances

LIVELY = (
    "strategy.min_gain_base=0.0005", "strategy.min_gain_quote=0.0005", "strategy.gain_scale_base=0.002",
    "strategy.gain_scale_quote=0.002", "strategy.buffer=0", "strategy.donchian_gain=0", "strategy.hard_stop=0.002",
    "strategy.kline_interval=1s", "strategy.kline_history=120", "strategy.donchian_window=20", "exit.requote_ms=250",
)  # fmt: skip
"""Thresholds for a market that does in minutes what others do in days."""


def drawn(seed: int) -> Circumstances:
    """The circumstances of a seed."""
    rng = random.Random(f"{seed}:circumstances")  # noqa: S311 - a plan
    settings = [
        *LIVELY,
        f"exit.chase={rng.choice(('join', 'join', 'improve', 'touch'))}",
        f"exit.on_stop={rng.choice(('cancel', 'cancel', 'leave'))}",
        f"strategy.stop_confirm={rng.choice((1, 1, 3))}",
        f"account.reconcile={rng.choice(('snapshot', 'snapshot', 'snapshot', 'jumpstart'))}",
    ]
    if rng.random() < 0.2:
        settings += ["symbol.reserve_base=0.01"]
    if rng.random() < 0.2:
        settings += ["symbol.max_notional=600"]
    return Circumstances(
        settings=tuple(settings),
        fund=rng.choice(("", "ETH=0.4,FDUSD=0", "ETH=0,FDUSD=900", "ETH=0.2,FDUSD=40", "ETH=25,FDUSD=1")),
        maker=rng.choice(("0", "0", "0.001")),
        taker=rng.choice(("0", "0.001")),
        fills=rng.choice(("queue", "touch", "through")),
        discount=rng.random() < 0.1,
    )
