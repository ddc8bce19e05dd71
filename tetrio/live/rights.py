"""What an API key may do, and what speaks against trading with it.

The exchange tells it by REST (`live.rest`), of the key itself; `account.status` only speaks of the account. A bot's key
needs spot trading and nothing else: a stolen key that may withdraw or transfer empties the account, whatever the bot
does. None means that the exchange did not say.
"""

from __future__ import annotations

import datetime

import attrs
import msgspec

WHERE = "API Management at the exchange"


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of apiRestrictions, as far as a spot bot is concerned."""

    withdraw: bool | None = msgspec.field(name="enableWithdrawals", default=None)
    internal_transfer: bool | None = msgspec.field(name="enableInternalTransfer", default=None)
    """Between the account and its sub-accounts."""
    universal_transfer: bool | None = msgspec.field(name="permitsUniversalTransfer", default=None)
    spot: bool | None = msgspec.field(name="enableSpotAndMarginTrading", default=None)
    ip_restricted: bool | None = msgspec.field(name="ipRestrict", default=None)
    """Whether it is accepted from listed addresses only."""
    margin: bool | None = msgspec.field(name="enableMargin", default=None)
    futures: bool | None = msgspec.field(name="enableFutures", default=None)
    options: bool | None = msgspec.field(name="enableVanillaOptions", default=None)
    spot_until_ms: int | None = msgspec.field(name="tradingAuthorityExpirationTime", default=None)
    """Epoch ms at which the exchange takes the right to trade away, as it does from keys without an address list."""


@attrs.frozen
class Objections:
    """What speaks against a key, each a phrase with its remedy."""

    refusal: str | None = None
    """Why nothing may be done with it."""
    warnings: tuple[str, ...] = ()


def objections(rights: Rights | None) -> Objections:
    """What speaks against trading with a key of these rights; `rights` None: the venue cannot tell."""
    if rights is None:
        return Objections(
            warnings=(
                "this venue does not tell what the key may do: see in its key management that it cannot withdraw",
            )
        )
    return Objections(_refusal(rights), tuple(_warnings(rights)))


def _refusal(rights: Rights) -> str | None:
    dangerous = [
        name
        for name, may in (
            ("withdraw", rights.withdraw),
            ("transfer to other accounts of yours", rights.internal_transfer),
            ("make universal transfers", rights.universal_transfer),
        )
        if may
    ]
    if dangerous:
        return f"the API key may {' and '.join(dangerous)}: take that right away in {WHERE}, or make another key"
    if rights.spot is False:
        return f"the API key may not trade: allow spot trading (and nothing else) in {WHERE}"
    return None


def _warnings(rights: Rights) -> list[str]:
    found = []
    if rights.ip_restricted is False:
        found.append(f"the API key is accepted from any address: list this host's in {WHERE}")
    more = [
        name
        for name, may in (("margin", rights.margin), ("futures", rights.futures), ("options", rights.options))
        if may
    ]
    if more:
        found.append(f"the API key may also trade {', '.join(more)}, which is not needed: take it away in {WHERE}")
    if rights.spot_until_ms:
        until = datetime.datetime.fromtimestamp(rights.spot_until_ms / 1000, datetime.UTC)
        found.append(f"the API key may trade until {until:%Y-%m-%d} only: with a list of addresses it is not limited")
    untold = [
        name
        for name, may in (
            ("withdraw", rights.withdraw),
            ("transfer", rights.internal_transfer),
            ("make universal transfers", rights.universal_transfer),
            ("trade", rights.spot),
        )
        if may is None
    ]
    if untold:
        found.append(f"the exchange does not say whether the API key may {' or '.join(untold)}: look in {WHERE}")
    return found
