"""Codes of the exchange's errors, where several failures share one its text too, and what they mean."""

from __future__ import annotations

from typing import Final, Protocol

UNKNOWN_ERROR: Final = -1000
DISCONNECTED: Final = -1001
UNAUTHORIZED: Final = -1002
TOO_MUCH_WEIGHT: Final = -1003
UNEXPECTED_RESPONSE: Final = -1006
TIMEOUT: Final = -1007
SERVER_BUSY: Final = -1008
FILTER_FAILURE: Final = -1013
TOO_MANY_ORDERS: Final = -1015
BAD_TIMESTAMP: Final = -1021
BAD_SIGNATURE: Final = -1022
BAD_SYMBOL: Final = -1121
BAD_JSON: Final = -1135
INVALID_KEY_ID: Final = -2008
NEW_ORDER_REJECTED: Final = -2010
CANCEL_REJECTED: Final = -2011
NO_SUCH_ORDER: Final = -2013
BAD_KEY_FORMAT: Final = -2014
REJECTED_KEY: Final = -2015
CANCEL_REPLACE_PARTLY_FAILED: Final = -2021
CANCEL_REPLACE_FAILED: Final = -2022
ARCHIVED_ORDER: Final = -2026
AMEND_REJECTED: Final = -2038
WOULD_MATCH: Final = (NEW_ORDER_REJECTED, "Order would immediately match and take.")
WOULD_TRIGGER: Final = (NEW_ORDER_REJECTED, "Order would trigger immediately.")
INSUFFICIENT_BALANCE: Final = (NEW_ORDER_REJECTED, "Account has insufficient balance for requested action.")
DUPLICATE_ORDER: Final = (NEW_ORDER_REJECTED, "Duplicate order sent.")
UNKNOWN_ORDER: Final = (CANCEL_REJECTED, "Unknown order sent.")
MARKET_CLOSED: Final = (FILTER_FAILURE, "Market is closed.")
NO_PEGS: Final = (NEW_ORDER_REJECTED, "Pegged orders are not supported for this symbol.")

OUTCOME_UNKNOWN = frozenset({UNKNOWN_ERROR, DISCONNECTED, UNEXPECTED_RESPONSE, TIMEOUT, SERVER_BUSY})
KEY_REFUSED = frozenset({UNAUTHORIZED, BAD_SIGNATURE, INVALID_KEY_ID, BAD_KEY_FORMAT, REJECTED_KEY})


class Refusal(Protocol):
    """What OrderRejected and ErrorBody have in common."""

    @property
    def code(self) -> int:
        """Binance's code."""

    @property
    def msg(self) -> str:
        """Its text."""


def is_would_match(error: Refusal) -> bool:
    """A post-only order would have taken: normal, reprice."""
    return _is(error, WOULD_MATCH)


def is_would_trigger(error: Refusal) -> bool:
    """A stop whose price is passed already: what it was to protect from has come."""
    return _is(error, WOULD_TRIGGER)


def is_insufficient_balance(error: Refusal) -> bool:
    """Not enough is free."""
    return _is(error, INSUFFICIENT_BALANCE)


def is_duplicate_order(error: Refusal) -> bool:
    """The client order id is in use by an open order."""
    return _is(error, DUPLICATE_ORDER)


def is_unknown_order(error: Refusal) -> bool:
    """Cancel of an order that is filled, cancelled or never was: ask order.status."""
    return _is(error, UNKNOWN_ORDER)


def is_cancel_rejected(error: Refusal) -> bool:
    """There was nothing to cancel any more, or not as it was asked for."""
    return error.code == CANCEL_REJECTED and not is_market_closed(error)


def is_market_closed(error: Refusal) -> bool:
    """The symbol does not trade now; the code differs by where it is noticed."""
    return error.msg.startswith(MARKET_CLOSED[1].rstrip("."))


def is_filter_failure(error: Refusal) -> bool:
    """A symbol filter said no; the code differs by filter (-1013, -2010, -2038), the text does not."""
    return error.msg.startswith("Filter failure")


def is_bad_symbol(error: Refusal) -> bool:
    """The exchange has no such symbol, or has it no more."""
    return error.code == BAD_SYMBOL


def is_no_pegs(error: Refusal) -> bool:
    """The symbol takes no orders that the exchange prices, or takes them no more."""
    return _is(error, NO_PEGS)


def is_no_such_order(error: Refusal) -> bool:
    """A query found nothing: just after placing, that may be cache lag."""
    return error.code == NO_SUCH_ORDER


def is_timestamp(error: Refusal) -> bool:
    """Our clock is off, or the request was late."""
    return error.code == BAD_TIMESTAMP


def is_too_many_orders(error: Refusal) -> bool:
    """The unfilled-order count is used up for the window."""
    return error.code == TOO_MANY_ORDERS


def is_too_much_weight(error: Refusal) -> bool:
    """Request weight is used up, or the address banned."""
    return error.code == TOO_MUCH_WEIGHT


def _is(error: Refusal, known: tuple[int, str]) -> bool:
    return error.code == known[0] and error.msg.startswith(known[1].rstrip("."))
