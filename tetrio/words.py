"""What a running bot says of itself, in short plain lines: the same texts for the shell and for Telegram.

Pure functions of `Status`; nothing is asked, nothing is decided. No colour, no markup, no escapes: where a text is
shown as something else than text, that is the face's to see to. Amounts come as the exact texts and decimals that the
status holds; what is reckoned here is for the eye only.

`amounts=False` leaves out what is held, for places where others read along.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from tetrio import latency
from tetrio.status import FillLine, Status

PLACES = 8  # behind the point, as the exchange tells amounts
UNKNOWN = "–"


def status_text(status: Status, *, amounts: bool = True) -> str:
    """What it is, whether it is alive, what it holds, what rests: a screenful for one look."""
    lines = [
        f"{status.venue} {status.symbol or UNKNOWN}: {status.phase}" + (f", {status.detail}" if status.detail else ""),
        _alive(status),
        *_words_in_force(status),
    ]
    if amounts:
        lines.append(f"holds {_held(status)}")
    lines += [
        f"regime {status.regime or UNKNOWN}, "
        + (f"gate closed in {status.gate_regime}" if status.gate_closed else "gate open"),
        f"bid {status.bid or UNKNOWN}, ask {status.ask or UNKNOWN}, anchor {status.anchor or UNKNOWN}",
        f"gain {percent(status.gain)} (min {percent(status.min_gain)}), "
        f"drawdown {percent(status.drawdown)} (callback {percent(status.callback)})",
        f"armed: {status.armed or 'no'}",
        f"resting: {_order(status)}",
    ]
    return "\n".join(lines)


def why_text(status: Status) -> str:
    """What would have to happen for the next decision."""
    lines = _words_in_force(status)
    if status.phase != "ready":
        lines.append(f"{status.phase}: {status.detail or 'nothing is decided before it is ready'}")
    return "\n".join([*lines, status.why or "waits for the first price"])


def balance_text(status: Status) -> str:
    """What is held, the part that is traded, and its worth at the bid."""
    if not status.balances:
        return "balances are not known yet"
    lines = [f"{amount(status.balances[asset])} {asset}" for asset in _assets(status)]
    if status.holding:
        traded = ", ".join(f"{amount(held)} {asset}" for asset, held in status.holding.items())
        lines.append(f"traded, net of the reserve: {traded}")
        bid = _decimal(status.bid)
        if bid is not None:
            worth = status.holding.get(status.quote_asset, Decimal(0)) + bid * status.holding.get(
                status.base_asset, Decimal(0)
            )
            lines.append(f"worth {amount(worth)} {status.quote_asset} at the bid of {amount(bid)}")
    return "\n".join(lines)


def profit_text(status: Status) -> str:
    """What own trades have gained since the start, at the present bid; what counts and what does not is said."""
    trading, base, quote = status.trading, status.base_asset, status.quote_asset
    since = date_text(status.began_ns)
    if not trading.fills:
        return f"no own trades since the start, {since}"
    lines = [
        f"own trades since the start, {since}: {trading.fills}",
        f"by them: {amount(trading.base, sign=True)} {base}, {amount(trading.quote, sign=True)} {quote}",
    ]
    bid = _decimal(status.bid)
    if bid is None:
        lines.append("their worth is not known before the first price")
    else:
        worth = trading.quote + trading.base * bid
        lines.append(f"against not having traded: {amount(worth, sign=True)} {quote} at the bid of {amount(bid)}")
        if bid > 0:
            lines.append(f"which is {amount(worth / bid, sign=True)} {base}")
    paid = {asset: fee for asset, fee in trading.fees.items() if fee}
    inside = [f"{amount(fee)} {asset}" for asset, fee in paid.items() if asset in (base, quote)]
    beside = [f"{amount(fee)} {asset}" for asset, fee in paid.items() if asset not in (base, quote)]
    if inside:
        lines.append(f"commissions, taken off above: {', '.join(inside)}")
    if beside:
        lines.append(f"commissions in other assets, not taken off: {', '.join(beside)}")
    lines.append("deposits, withdrawals, other people's trades and what was before the start do not count")
    return "\n".join(lines)


def orders_text(status: Status) -> str:
    """The order that rests, and how many were sent."""
    lines = [_order(status)]
    if status.order is not None:
        age_s = max(0, status.market_ns - status.order.placed_ns) / 1e9
        lines.append(f"{status.order.state or 'sent'}, {age_text(age_s)} old, {status.order.client_order_id}")
    if status.armed:
        lines.append(f"armed: {status.armed}" + (f", want {status.want}" if status.want else ""))
    lines.append(
        f"{status.orders_sent:,} sent since the start, {status.orders_today:,} today, {status.refused:,} refused"
    )
    if status.exits:
        lines.append("exits: " + ", ".join(f"{count} {reason}" for reason, count in status.exits.items()))
    return "\n".join(lines)


def fills_text(status: Status, most: int = 10) -> str:
    """The last own trades, the newest first."""
    told = list(status.told_fills)[: -most - 1 : -1]
    return "\n".join(_fill(fill, status) for fill in told) or "no own trades since the start"


def health_text(status: Status) -> str:
    """Whether it is alive, why not, and the signs that this is judged by."""
    links = ", ".join(f"{name} {state}" for name, state in status.links.items()) or "none"
    return "\n".join(
        [
            _alive(status),
            f"phase {status.phase}, epoch {status.epoch}",
            f"links: {links}",
            f"market frames: {status.frames:,} ({status.frames_per_s:,.0f}/s)",
            f"latency p50/p99: {latency.line(status.latency, latency.STAGES) or 'nothing was timed yet'}",
            f"the loop was late by {status.vitals.lag_s * 1000:,.0f} ms at most in the last 10 s",
            f"clock {date_text(status.market_ns)}, up {age_text(max(0, status.market_ns - status.began_ns) / 1e9)}"
            if status.began_ns
            else f"clock {date_text(status.market_ns)}",
        ]
    )


# --- pieces ----------------------------------------------------------------------------------------------------------


def percent(fraction: float | None) -> str:
    """A fraction as per cent; a dash when there is none."""
    return UNKNOWN if fraction is None else f"{fraction * 100:.3f} %"


def amount(value: Decimal | str, *, sign: bool = False) -> str:
    """An amount without trailing zeros and without an exponent, at most `PLACES` places behind the point."""
    number = value if isinstance(value, Decimal) else _decimal(value)
    if number is None:
        return str(value)
    places = f"{number:.{PLACES}f}"
    text = places.rstrip("0").rstrip(".") if "." in places else places
    text = "0" if text in ("-0", "") else text
    return f"+{text}" if sign and not text.startswith("-") and text != "0" else text


def date_text(at_ns: int) -> str:
    """A date of the bot's clock, UTC; a dash when it is not known."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at_ns else UNKNOWN


def age_text(seconds: float) -> str:
    """A span of time for people: "4.2 s", "3 min 20 s", "5 h 12 min", "3 d 4 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    for unit, name, part, part_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            count, left = divmod(whole, unit)
            return f"{count} {name} {left // part} {part_name}"
    raise AssertionError("a minute or more")


def _alive(status: Status) -> str:
    return "alive" if status.alive else "not alive: " + ("; ".join(status.ailing) or "not judged yet")


def _words_in_force(status: Status) -> list[str]:
    """What the operator has said and has not taken back."""
    said = (
        (status.halted, "halted: nothing is sent but cancels, until resume"),
        (status.paused, "paused: nothing new is armed, until resume"),
        (status.flattening, "flattening: the exit takes, within its bound"),
    )
    return [text for holds, text in said if holds]


def _assets(status: Status) -> list[str]:
    """Base and quote first, then whatever else is held."""
    order = {status.base_asset: 0, status.quote_asset: 1}
    return sorted(status.balances, key=lambda asset: order.get(asset, 2))


def _held(status: Status) -> str:
    return ", ".join(f"{amount(status.balances[asset])} {asset}" for asset in _assets(status)) or UNKNOWN


def _order(status: Status) -> str:
    order = status.order
    if order is None:
        return "no order of ours rests"
    return (
        f"{order.side} {amount(order.qty)} {status.base_asset} @ {amount(order.price)}, filled {amount(order.filled)}"
    )


def _fill(fill: FillLine, status: Status) -> str:
    verb = "sold" if fill.side == "SELL" else "bought"
    at = datetime.fromtimestamp(fill.at_ms // 1000, UTC).strftime("%m-%d %H:%M:%S")
    role = "maker" if fill.maker else "taker"
    fee = "" if _decimal(fill.commission) == 0 else f", fee {amount(fill.commission)} {fill.commission_asset}"
    return f"{at} {verb} {amount(fill.qty)} {status.base_asset} @ {amount(fill.price)} ({role}{fee})"


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
