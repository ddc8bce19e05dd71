"""What differs from seed to seed beside what goes wrong: settings of the bot, funds, commissions.

And what a referee must know of them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from decimal import Decimal

from tetrio.chaos.judge.case import Terms
from tetrio.chaos.market import RoughMarket
from tetrio.chaos.world import BEGIN_NS, EVENTS_PER_S, Circumstances

TAKEN_S = 10.0
"""What a stop that takes may need to have taken all."""
LIVELY = (
    "strategy.min_gain_base=0.0005", "strategy.min_gain_quote=0.0005", "strategy.gain_scale_base=0.002",
    "strategy.gain_scale_quote=0.002", "strategy.buffer=0", "strategy.donchian_gain=0", "strategy.hard_stop=0.002",
    "strategy.kline_interval=1s", "strategy.kline_history=120", "strategy.donchian_window=20", "exit.requote_ms=250",
)  # fmt: skip
"""Thresholds for a market that does in minutes what others do in days."""
ESCALATIONS = ((20, 30), (20, 30), (5, 10), (0, 0), (2, 0))
"""(after s, basis points): the bot's own, hasty, never, by time alone."""
FUNDS = (
    "", "ETH=0.4,FDUSD=0", "ETH=0,FDUSD=900", "ETH=0.2,FDUSD=40",
    "ETH=25,FDUSD=1", "ETH=60,FDUSD=0", "ETH=0,FDUSD=150000", "ETH=20,FDUSD=40000",
)  # fmt: skip
"""From small to large against the book, whose best prices show some three ETH: large exits fill in parts."""
DUSTY = ("ETH=0.0021,FDUSD=4", "ETH=0.0016,FDUSD=0", "ETH=0,FDUSD=7.5")
"""Hardly an order's worth: what is left of a part is too small to sell."""
GUARDS = ("risk.max_daily_loss=0.9", "risk.max_drawdown=0.9")
"""So far away that they are watched and never trip."""
TELEGRAM_EVERY = 4
"""Every fourth seed has a chat: its TLS costs as much as a third of all the rest."""


def has_telegram(seed: int) -> bool:
    """Whether a seed's bot has a chat."""
    return seed % TELEGRAM_EVERY == 1


def drawn(seed: int) -> Circumstances:
    """The circumstances of a seed."""
    rng = random.Random(f"{seed}:circumstances")  # noqa: S311 - a plan
    after_s, bps = rng.choice(ESCALATIONS)
    settings = [
        *LIVELY,
        f"exit.chase={rng.choice(('join', 'join', 'improve', 'touch', 'peg'))}",
        f"exit.on_stop={rng.choice(('cancel', 'cancel', 'leave'))}",
        f"exit.protect={rng.choice(('off', 'off', 'stop', 'trailing'))}",
        f"exit.escalate_after_s={after_s}",
        f"exit.escalate_bps={bps}",
        f"strategy.reference={rng.choice(('trade', 'trade', 'book'))}",
        f"strategy.stop_confirm={rng.choice((1, 1, 3))}",
        f"account.reconcile={rng.choice(('snapshot', 'snapshot', 'snapshot', 'jumpstart'))}",
    ]
    if rng.random() < 0.2:
        settings += ["symbol.reserve_base=0.01"]
    if rng.random() < 0.2:
        settings += ["symbol.max_notional=600"]
    if rng.random() < 0.3:
        settings += GUARDS
    if dusty := rng.random() < 0.1:
        settings += ["exit.dust_after_s=5"]
    return Circumstances(
        settings=tuple(settings),
        fund=rng.choice(DUSTY if dusty else FUNDS),
        maker=rng.choice(("0", "0", "0.001")),
        taker=rng.choice(("0", "0.001")),
        fills=rng.choice(("queue", "touch", "through")),
        discount=rng.random() < 0.1,
        telegram=has_telegram(seed),
    )


def terms_of(given: Circumstances) -> Terms:
    """What the referee must know of the circumstances."""
    settings = dict(text.split("=", 1) for text in given.settings)
    rules = RoughMarket(0, BEGIN_NS, EVENTS_PER_S).rules
    return Terms(
        base="ETH",
        quote="FDUSD",
        on_stop=settings.get("exit.on_stop", "cancel"),
        takes=float(settings.get("exit.escalate_after_s", 1)) > 0 or float(settings.get("exit.escalate_bps", 1)) > 0,
        protects=settings.get("exit.protect", "off") != "off",
        reserve_base=Decimal(settings.get("symbol.reserve_base", "0")),
        reserve_quote=Decimal(settings.get("symbol.reserve_quote", "0")),
        begin_ms=BEGIN_NS // 1_000_000,
        least_qty=rules.min_qty_lots * rules.step_size,
        least_notional=rules.min_notional,
        hard_stop=Decimal(settings["strategy.hard_stop"]) if _stop_is_known(settings) else None,
        stop_confirm=int(settings.get("strategy.stop_confirm", "1")),
        flat_within_s=_flat_within_s(settings),
    )


def _stop_is_known(settings: Mapping[str, str]) -> bool:
    """Whether the record tells where a stop is: not by best prices."""
    return "strategy.hard_stop" in settings and settings.get("strategy.reference", "trade") == "trade"


def _flat_within_s(settings: Mapping[str, str]) -> float | None:
    """From a stop to its last sale, where the book is liquid: it takes after some time, and again each second."""
    after_s = float(settings.get("exit.escalate_after_s", 20))
    if not after_s or "symbol.max_notional" in settings:
        return None  # only the price bounds it; or what is sold at a time is bounded
    return after_s + TAKEN_S
