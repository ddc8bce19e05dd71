"""What methods answer, as records: members camelCase on the wire, amounts as Binance's text, times in milliseconds.

The client decodes them and the exchange may encode them: members that a form lacks are UNSET and are left out again.
Unknown members are ignored. Enumerations stay `str`: a status not known yet is to be asked about, not to stop on.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
from msgspec import UNSET, UnsetType

from tetrio.core import money
from tetrio.errors import WireError


class Result(msgspec.Struct, frozen=True, rename="camel"):
    """Base of the records here."""


class ErrorBody(Result, frozen=True):
    """`error` of a reply, or the `{code, msg}` of one half of a cancel-replace."""

    code: int
    msg: str = ""
    data: msgspec.Raw | UnsetType = UNSET


class ServerTime(Result, frozen=True):
    """`time`."""

    server_time: int


class SessionStatus(Result, frozen=True, kw_only=True):
    """`session.logon`, `session.status`, `session.logout`; the key's members are None when nobody is logged on."""

    api_key: str | None = None
    authorized_since: int | None = None
    connected_since: int
    return_rate_limits: bool
    server_time: int
    user_data_stream: bool | None = None
    """None: this endpoint has none. Otherwise whether a subscription is active."""


class Subscription(Result, frozen=True):
    """`userDataStream.subscribe`, and element of `session.subscriptions`."""

    subscription_id: int


class BookTop(Result, frozen=True):
    """`ticker.book` of one symbol; prices are 0 on an empty side."""

    symbol: str
    bid_price: str
    bid_qty: str
    ask_price: str
    ask_qty: str


class KlineRow(Result, frozen=True, array_like=True):
    """Element of `klines`: an array on the wire."""

    open_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    close_ms: int
    """Open time of the next candle less 1 ms."""
    quote_volume: str = "0.00000000"
    trades: int = 0
    taker_base: str = "0.00000000"
    taker_quote: str = "0.00000000"
    unused: str = "0"


class Balance(Result, frozen=True):
    """One asset of `account.status`."""

    asset: str
    free: str
    locked: str


class CommissionRates(Result, frozen=True):
    """Fractions, as text."""

    maker: str
    taker: str
    buyer: str
    seller: str


class Discount(Result, frozen=True):
    """What paying commissions in another asset (BNB) would change."""

    enabled_for_account: bool
    enabled_for_symbol: bool
    discount_asset: str | None
    discount: str


class SymbolCommission(Result, frozen=True):
    """`account.commission`: three kinds of rates that add up."""

    symbol: str
    standard_commission: CommissionRates
    special_commission: CommissionRates | UnsetType = UNSET
    tax_commission: CommissionRates | UnsetType = UNSET
    discount: Discount | UnsetType = UNSET

    @property
    def maker(self) -> float:
        """Fraction of the received amount that a maker pays: all kinds, and the higher of the buyer's and seller's."""
        return self._sum("maker")

    @property
    def taker(self) -> float:
        """The same for a taker."""
        return self._sum("taker")

    def _sum(self, role: str) -> float:
        total = Decimal(0)
        try:
            for kind in (self.standard_commission, self.special_commission, self.tax_commission):
                if isinstance(kind, CommissionRates):
                    buyer, seller = money.decimal(kind.buyer), money.decimal(kind.seller)
                    total += money.decimal(getattr(kind, role)) + max(buyer, seller)
        except ValueError as error:
            raise WireError(f"a commission of {self.symbol} that is no number: {error}") from None
        return float(total)


class AccountStatus(Result, frozen=True, kw_only=True):
    """`account.status`; commissions also as whole numbers of 1/10000."""

    maker_commission: int = 0
    taker_commission: int = 0
    buyer_commission: int = 0
    seller_commission: int = 0
    commission_rates: CommissionRates | UnsetType = UNSET
    can_trade: bool
    can_withdraw: bool = False
    can_deposit: bool = False
    brokered: bool = False
    require_self_trade_prevention: bool = False
    prevent_sor: bool = False
    update_time: int
    account_type: str = "SPOT"
    trade_group_id: int | UnsetType = UNSET
    balances: list[Balance]
    permissions: list[str] = []
    uid: int = 0


class OrderFill(Result, frozen=True, kw_only=True):
    """One of `fills` of a placed order."""

    match_type: str | UnsetType = UNSET
    price: str
    qty: str
    commission: str
    commission_asset: str
    trade_id: int = -1
    alloc_id: int | UnsetType = UNSET


class PreventedMatch(Result, frozen=True, kw_only=True):
    """One of `preventedMatches` of a placed order."""

    prevented_match_id: int
    maker_symbol: str | UnsetType = UNSET
    maker_order_id: int
    price: str
    taker_prevented_quantity: str | UnsetType = UNSET
    maker_prevented_quantity: str | UnsetType = UNSET


class PlacedOrder(Result, frozen=True, kw_only=True):
    """`order.place` as ACK, RESULT or FULL: what a shorter form lacks is UNSET."""

    symbol: str
    order_id: int
    order_list_id: int = -1
    client_order_id: str
    transact_time: int
    price: str | UnsetType = UNSET
    orig_qty: str | UnsetType = UNSET
    executed_qty: str | UnsetType = UNSET
    orig_quote_order_qty: str | UnsetType = UNSET
    cummulative_quote_qty: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    time_in_force: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    side: str | UnsetType = UNSET
    stop_price: str | UnsetType = UNSET
    iceberg_qty: str | UnsetType = UNSET
    trailing_delta: int | UnsetType = UNSET
    trailing_time: int | UnsetType = UNSET
    strategy_id: int | UnsetType = UNSET
    strategy_type: int | UnsetType = UNSET
    peg_price_type: str | UnsetType = UNSET
    peg_offset_type: str | UnsetType = UNSET
    peg_offset_value: int | UnsetType = UNSET
    pegged_price: str | UnsetType = UNSET
    expiry_reason: str | UnsetType = UNSET
    working_time: int | UnsetType = UNSET
    """-1 while it is not on the book."""
    fills: list[OrderFill] | UnsetType = UNSET
    prevented_matches: list[PreventedMatch] | UnsetType = UNSET
    trade_group_id: int | UnsetType = UNSET
    prevented_quantity: str | UnsetType = UNSET
    self_trade_prevention_mode: str | UnsetType = UNSET
    working_floor: str | UnsetType = UNSET
    used_sor: bool | UnsetType = UNSET


class CanceledOrder(Result, frozen=True, kw_only=True):
    """`order.cancel`: `client_order_id` is the cancel's own, `orig_client_order_id` the order's."""

    symbol: str
    orig_client_order_id: str = ""
    order_id: int
    order_list_id: int = -1
    client_order_id: str
    transact_time: int
    price: str
    orig_qty: str
    executed_qty: str
    orig_quote_order_qty: str = "0.00000000"
    cummulative_quote_qty: str
    status: str
    time_in_force: str
    type: str
    side: str
    stop_price: str | UnsetType = UNSET
    iceberg_qty: str | UnsetType = UNSET
    trailing_delta: int | UnsetType = UNSET
    trailing_time: int | UnsetType = UNSET
    strategy_id: int | UnsetType = UNSET
    strategy_type: int | UnsetType = UNSET
    peg_price_type: str | UnsetType = UNSET
    peg_offset_type: str | UnsetType = UNSET
    peg_offset_value: int | UnsetType = UNSET
    pegged_price: str | UnsetType = UNSET
    self_trade_prevention_mode: str = "NONE"


class OrderStatus(Result, frozen=True, kw_only=True):
    """`order.status`, and element of `openOrders.status` and `allOrders`."""

    symbol: str
    order_id: int
    order_list_id: int = -1
    client_order_id: str
    price: str
    orig_qty: str
    executed_qty: str
    cummulative_quote_qty: str
    """Negative: unknown (very old orders)."""
    status: str
    time_in_force: str
    type: str
    side: str
    stop_price: str = "0.00000000"
    iceberg_qty: str = "0.00000000"
    time: int
    """When it was placed."""
    update_time: int
    is_working: bool
    working_time: int = -1
    orig_quote_order_qty: str = "0.00000000"
    self_trade_prevention_mode: str = "NONE"
    trailing_delta: int | UnsetType = UNSET
    trailing_time: int | UnsetType = UNSET
    strategy_id: int | UnsetType = UNSET
    strategy_type: int | UnsetType = UNSET
    peg_price_type: str | UnsetType = UNSET
    peg_offset_type: str | UnsetType = UNSET
    peg_offset_value: int | UnsetType = UNSET
    pegged_price: str | UnsetType = UNSET
    prevented_match_id: int | UnsetType = UNSET
    prevented_quantity: str | UnsetType = UNSET
    expiry_reason: str | UnsetType = UNSET
    working_floor: str | UnsetType = UNSET
    used_sor: bool | UnsetType = UNSET


class MyTrade(Result, frozen=True, kw_only=True):
    """Element of `myTrades`."""

    symbol: str
    id: int
    order_id: int
    order_list_id: int = -1
    price: str
    qty: str
    quote_qty: str
    commission: str
    commission_asset: str
    time: int
    is_buyer: bool
    is_maker: bool
    is_best_match: bool = True


class AggregateTrade(msgspec.Struct, frozen=True):
    """Element of `aggTrades`: the trades `f` to `l` of one taker order at one price."""

    a: int
    p: str
    f: int
    l: int  # noqa: E741
    T: int


class CancelReplaceResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of both halves of a cancel-replace, however the exchange told it.

    cancel_ok   True: the old order is cancelled. False: the cancel was tried and refused, so the old order is filled,
                gone or works on: ask. None: it was not tried, so the old order works on.
    new_ok      True: the new order was accepted. False: refused. None: not tried.
    """

    cancel_ok: bool | None
    new_ok: bool | None
    canceled: CanceledOrder | None = None
    """None on success too when the cancel took a whole order list with it."""
    cancel_error: ErrorBody | None = None
    placed: PlacedOrder | None = None
    new_error: ErrorBody | None = None
