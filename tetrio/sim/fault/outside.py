"""What befalls the account and the symbol from outside of trading: transfers, locks, halts, new rules.

Each is written to the record and told to the clients, as the engine's own doings are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import attrs

from tetrio.sim.engine.orders import UserEvent
from tetrio.sim.face.venue import ACCOUNT, Venue
from tetrio.wire.rules import Filters


def transfer(venue: Venue, asset: str, amount: Decimal) -> None:
    """Funds come in or, negative, free funds go out. ValueError for an amount finer than the asset's unit, Rejected
    where there are not as many.
    """
    _happened(venue, venue.engine.transfer(ACCOUNT, asset, amount, venue.now_ms(), venue.clock.now_ns()))


def external_lock(venue: Venue, asset: str, amount: Decimal) -> None:
    """Funds are locked or, negative, released from outside. As `transfer`."""
    _happened(venue, venue.engine.external_lock(ACCOUNT, asset, amount, venue.now_ms(), venue.clock.now_ns()))


def set_status(venue: Venue, status: str) -> str:
    """The symbol has another status; the one that it had."""
    before = venue.rules.status
    venue.engine.set_status(venue.symbol, status)
    venue.rules = venue.engine.rules(venue.symbol)
    return before


def change_rules(venue: Venue, changes: Mapping[str, str]) -> None:
    """The symbol's rules change: members of `SymbolRules` and `Filters` by name. ValueError names what cannot be."""
    rules, filters = venue.engine.rules(venue.symbol), Filters()
    of_filters = {name: _read(filters, name, text) for name, text in changes.items() if hasattr(filters, name)}
    of_rules = {name: _read(rules, name, text) for name, text in changes.items() if name not in of_filters}
    venue.engine.change_rules(venue.symbol, **of_rules)
    venue.engine.change_filters(venue.symbol, **of_filters)
    venue.rules = venue.engine.rules(venue.symbol)


def _read(record: attrs.AttrsInstance, name: str, text: str) -> object:
    if name not in attrs.fields_dict(type(record)):
        raise ValueError(f"{name} is no rule of a symbol")
    kind = type(getattr(record, name))
    if kind is bool and text in {"true", "false"}:
        return text == "true"
    if kind is Decimal or (kind is int and text.isascii() and text.isdigit()):
        return kind(text)
    raise ValueError(f"{name} cannot be {text!r}")


def _happened(venue: Venue, events: Sequence[UserEvent]) -> None:
    venue.change(events)
    venue.tell(events)
