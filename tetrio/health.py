"""The one sense in which a bot is alive, asked by everything that asks: systemd's watchdog, `/readyz`, the container's
health check, `tetrio status`, the operator's messages.

Alive is: the market's beat is fresh, the session is logged on and has shown life, the user stream has told what our own
last order did, the strategy takes what it is handed, and the loop is not held up. `judge` is a pure function of the
`Vitals` that the tasks keep; times are trio's clock.
"""

from __future__ import annotations

import attrs

from tetrio.status import Status


@attrs.frozen(kw_only=True)
class Bounds:
    """How old each sign of life may be, s of trio's clock."""

    beat_s: float = 10.0
    """kline_1s comes each second; the feed itself reconnects after 5 s."""
    session_s: float = 30.0
    """A ping goes out every 10 s and is answered within 5."""
    proof_s: float = 15.0
    """From a change of an own order to the balances that tell of it."""
    strategy_s: float = 10.0
    """From handing something to the strategy to its taking it."""
    sync_s: float = 45.0
    """From the beginning of an epoch to its having learned the account."""
    lag_s: float = 5.0
    """Lateness of the loop's canary: above the longest pause of a small machine's disk or memory."""

    def times(self, rate: float) -> Bounds:
        """The same on a clock that runs `rate` times as fast as the machine's."""
        return Bounds(**{name: value * rate for name, value in attrs.asdict(self).items()})


def judge(status: Status, now: float, bounds: Bounds) -> tuple[str, ...]:
    """Why the bot is not alive, each a phrase; empty when it is.

    now   trio's clock
    """
    vitals = status.vitals
    return tuple(
        phrase
        for phrase in (
            _age("the market's beat", vitals.beat_at, now, bounds.beat_s),
            "not logged on" if vitals.session_at is None else None,
            _age("the session", vitals.session_at, now, bounds.session_s) if vitals.session_at is not None else None,
            _since("the user stream owes an order's balances", vitals.unproven_since, now, bounds.proof_s),
            _since("the strategy has taken nothing", vitals.waiting_since, now, bounds.strategy_s),
            f"the loop was held up for {vitals.lag_s:.1f} s" if vitals.lag_s > bounds.lag_s else None,
            "not synchronised" if status.phase != "ready" else None,
        )
        if phrase
    )


@attrs.frozen
class Wedge:
    """Something that a new epoch may mend."""

    phrase: str
    ours: bool
    """The links are up, and something of ours does not move; False: it waits for the exchange."""


def wedges(status: Status, now: float, bounds: Bounds) -> tuple[Wedge, ...]:
    """What `judge` finds and a new epoch may mend, in an epoch that has had time to come up.

    Not a loop that was held up, nor a first observation that does not come. While the market line is being made, the
    feed minds its own time.
    """
    vitals = status.vitals
    if vitals.began_at is None or status.phase == "stopping":
        return ()
    if not vitals.synced:
        age = now - vitals.began_at
        return (Wedge(f"not synchronised for {age:.0f} s", ours=False),) if age > bounds.sync_s else ()
    # a line that has just come does not owe its beat yet
    beats = [at for at in (vitals.beat_at, vitals.market_since) if at is not None]
    up = status.links.get("market") == "up"
    found = (
        _age("the market's beat", max(beats, default=None), now, bounds.beat_s) if up else None,
        _age("the session", vitals.session_at, now, bounds.session_s),
        _since("the user stream owes an order's balances", vitals.unproven_since, now, bounds.proof_s),
        _since("the strategy has taken nothing", vitals.waiting_since, now, bounds.strategy_s),
    )
    return tuple(Wedge(phrase, ours=True) for phrase in found if phrase)


def _age(what: str, at: float | None, now: float, most: float) -> str | None:
    if at is None:
        return f"{what} has not been seen"
    return f"{what} is {now - at:.0f} s old" if now - at > most else None


def _since(what: str, at: float | None, now: float, most: float) -> str | None:
    return f"{what} for {now - at:.0f} s" if at is not None and now - at > most else None
