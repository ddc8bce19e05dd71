"""Who trades with whom: an order that comes against what it meets, a market event against what rests.

Decides quantities, prices and reasons by the rules of `engine.book`, and what self-trade prevention and the price range
leave of them; money and reports are made in `engine.clearing`.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import attrs

from tetrio.core.market import Side
from tetrio.sim.engine.book import Resting, offers
from tetrio.sim.engine.clearing import Clearing, Happening
from tetrio.sim.engine.history import OrderHistory
from tetrio.sim.engine.listing import Listing
from tetrio.sim.engine.orders import Order, Prevention, Rejected, TradePrint
from tetrio.sim.market.events import AggTrade, PublicTrade

FILL_MODELS = ("queue", "touch", "through")
_BOTH_LOSE = frozenset({"DECREMENT", "TRANSFER"})
"""Between orders of one account TRANSFER is DECREMENT."""
_LOWEST, _HIGHEST = Decimal(0), Decimal("Infinity")
_DIGITS = 60


@attrs.frozen
class Meeting:
    """One thing that an incoming order meets."""

    price: int
    """Ticks."""
    lots: int
    """What trades or, where it is prevented, would have."""
    resting: Resting | None
    """The client's order that offers it; None for the displayed market."""
    prevented: bool = False
    """The order is of the same account, and its mode does not let them trade."""


@attrs.frozen
class Offered:
    """All that an incoming order will meet, best first, up to its quantity and limit."""

    meetings: tuple[Meeting, ...]
    ends_by: str = ""
    """Why the order goes no further though it could: EXPIRED_IN_MATCH (prevention ended it), an expiry reason of the
    price range, or ""."""

    @property
    def lots(self) -> int:
        """What will trade."""
        return sum(each.lots for each in self.meetings if not each.prevented)

    @property
    def tick_lots(self) -> int:
        """What will trade, times its prices."""
        return sum(each.price * each.lots for each in self.meetings if not each.prevented)


PREVENTED = "EXPIRED_IN_MATCH"
OUT_OF_RANGE = "EXECUTION_RULE_PRICE_RANGE_EXCEEDED"


class Matching:
    """The rules by which orders trade, for one fill model."""

    def __init__(self, model: str, clearing: Clearing, history: OrderHistory) -> None:
        """ValueError when there is no such model."""
        if model not in FILL_MODELS:
            raise ValueError(f"{model!r} is not a fill model: {', '.join(FILL_MODELS)}")
        self._model, self._clearing, self._history = model, clearing, history
        self._last_match_id = 0
        self._last_allocation_id = 0

    def rest(self, listing: Listing, order: Order) -> None:
        """Puts what is left of an order on the book, behind what is displayed there."""
        resting = Resting(order.order_id, order.account, order.limit, order.remaining, order.iceberg)
        resting.ahead = self._shown(listing, order.side, order.limit)
        listing.resting[order.side].add(resting)

    def _shown(self, listing: Listing, side: Side, price: int) -> int:
        return listing.displayed.shown(side, price) if self._model == "queue" else 0

    def lots_for_quote(self, spared: str, listing: Listing, side: Side, tick_lots: int) -> int:
        """Lots that quoteOrderQty buys or sells on the book, rounded down; what the book cannot give is reckoned at
        its last price. Rejected when that is less than the symbol's filters ask for, or more.

        spared   the account whose orders are passed over (they will not trade)
        """
        left, qty, price = tick_lots, 0, 0
        for price, lots, resting in offers(listing.resting[side.other], listing.displayed):
            if resting is not None and resting.account == spared:
                continue
            part = min(lots, left // price)
            qty += part
            left -= part * price
            if part < lots:
                break
        else:
            qty += left // price if price else 0
        rules = listing.rules
        if qty < max(rules.min_qty_lots, 1):
            if not price:
                raise Rejected(-2010, "Order book liquidity is less than `LOT_SIZE` filter minimum quantity.")
            raise Rejected(-1013, "Filter failure: LOT_SIZE")
        if rules.max_qty_lots and qty > rules.max_qty_lots:
            raise Rejected(-1013, "Filter failure: LOT_SIZE")
        if rules.market_max_qty_lots and qty > rules.market_max_qty_lots:
            raise Rejected(-1013, "Filter failure: MARKET_LOT_SIZE")
        return qty

    def would_match(self, listing: Listing, side: Side, price: int) -> bool:
        """Whether an order at `price` would trade at once, with the displayed best price or with a client's order."""
        clients = listing.resting[side.other].orders
        best = [listing.displayed.best(side.other), clients[0].price if clients else 0]
        return any(price >= other if side is Side.BUY else price <= other for other in best if other)

    def offered(self, listing: Listing, order: Order) -> Offered:
        """What an order will meet; nothing changes."""
        side, limit, left = order.side, order.limit, order.remaining
        lowest, highest = _range(listing, side)
        found: list[Meeting] = []
        for price, lots, resting in offers(listing.resting[side.other], listing.displayed):
            if not left or (limit and _worse(side, price, limit)):
                break
            if not lowest <= price <= highest:
                return Offered(tuple(found), OUT_OF_RANGE)
            part = min(lots, left)
            if resting is None or resting.account != order.account or order.stp_mode == "NONE":
                found.append(Meeting(price, part, resting))
                left -= part
                continue
            if any(each.resting is resting for each in found):
                continue  # a further part of an iceberg that is gone by then
            whole = min(resting.remaining, left)
            found.append(Meeting(price, whole, resting, prevented=True))
            if order.stp_mode in {"EXPIRE_TAKER", "EXPIRE_BOTH"}:
                return Offered(tuple(found), PREVENTED)
            if order.stp_mode in _BOTH_LOSE:
                left -= whole
        return Offered(tuple(found))

    def take(self, listing: Listing, order: Order, offered: Offered, happening: Happening) -> Order:
        """The taker phase: trades with what was found."""
        other = listing.resting[order.side.other]
        for met in offered.meetings:
            if met.prevented:
                assert met.resting is not None, "an order is prevented from trading with an order"
                order = self._prevent(listing, met, order, happening)
            elif met.resting is None:
                listing.displayed.take(other.side, met.price, met.lots)
                other.pass_by(met.price, met.lots)
                order = self._take_displayed(listing, order, met, happening)
            else:
                trade_id = self._client_trade(listing, order.side, met.price, met.lots, happening)
                order = self._clearing.fill(
                    listing, order, met.price, met.lots, trade_id, False, "matched client order", happening
                )
                maker = self._history.get(met.resting.order_id)
                self._fill_resting(listing, maker, met.lots, trade_id, "matched client order", happening)
        return order

    def _take_displayed(self, listing: Listing, order: Order, met: Meeting, happening: Happening) -> Order:
        if not order.sor:
            trade_id = self._client_trade(listing, order.side, met.price, met.lots, happening)
            return self._clearing.fill(
                listing, order, met.price, met.lots, trade_id, False, "took what is displayed", happening
            )
        self._last_allocation_id += 1  # no trade of the symbol's own book
        return self._clearing.fill(
            listing,
            order,
            met.price,
            met.lots,
            -1,
            False,
            "allocated by smart order routing",
            happening,
            self._last_allocation_id,
        )

    def traded(self, listing: Listing, trade: PublicTrade | AggTrade, happening: Happening) -> None:
        """A public trade: fills what it reaches."""
        listing.traded(trade.price, trade.qty, happening.market_ns)
        if not listing.trading:
            return
        for side, resting in listing.resting.items():
            if not resting.orders:
                continue
            opposite_taker = trade.buyer_is_maker if side is Side.BUY else not trade.buyer_is_maker
            for met, lots, why in resting.fills_by_trade(self._model, trade.price, trade.qty, opposite_taker):
                words = self._queue_words(listing, met) if why == "queue" else why
                self._fill_by_market(listing, met, lots, words, happening)

    def crossed(self, listing: Listing, side: Side, happening: Happening) -> None:
        """New displayed prices: fills what they reach."""
        if listing.trading:
            for met, lots in listing.resting[side].fills_by_crossing(self._model, listing.displayed):
                self._fill_by_market(listing, met, lots, "book crossed", happening)

    def _fill_by_market(self, listing: Listing, met: Resting, lots: int, why: str, happening: Happening) -> None:
        maker = self._history.get(met.order_id)
        trade_id = self._client_trade(listing, maker.side.other, met.price, lots, happening)
        self._fill_resting(listing, maker, lots, trade_id, why, happening)

    def _fill_resting(
        self, listing: Listing, maker: Order, lots: int, trade_id: int, why: str, happening: Happening
    ) -> None:
        """A resting order trades at its own price."""
        price = maker.limit
        listing.resting[maker.side].reduce(maker.order_id, lots, self._shown(listing, maker.side, price))
        self._clearing.fill(listing, maker, price, lots, trade_id, True, why, happening)
        self._clearing.position(happening, listing, maker.account)

    def _client_trade(self, listing: Listing, taker: Side, price: int, lots: int, happening: Happening) -> int:
        trade_id = listing.client_trade_id()
        listing.traded(price, lots, happening.market_ns)
        happening.prints.append(
            TradePrint(
                symbol=listing.rules.name,
                trade_id=trade_id,
                price=price,
                qty=lots,
                buyer_is_maker=taker is Side.SELL,
                market_ns=happening.market_ns,
            )
        )
        return trade_id

    # -- self-trade prevention --------------------------------------------------------------------------------------
    def _prevent(self, listing: Listing, met: Meeting, taker: Order, happening: Happening) -> Order:
        """What the taker's mode takes from either; the taker as it stands then."""
        assert met.resting is not None, "asked for a client's order"
        maker, mode = self._history.get(met.resting.order_id), taker.stp_mode
        if mode in _BOTH_LOSE:
            maker_loses = taker_loses = met.lots
        else:
            maker_loses = maker.remaining if mode != "EXPIRE_TAKER" else 0
            taker_loses = taker.remaining if mode != "EXPIRE_MAKER" else 0
        self._last_match_id += 1
        prevention = Prevention(
            match_id=self._last_match_id,
            symbol=taker.symbol,
            account=taker.account,
            mode=mode,
            price=met.price,
            qty=met.lots,
            maker_qty=maker_loses,
            taker_qty=taker_loses,
            taker_order_id=taker.order_id,
            maker_order_id=maker.order_id,
            at_ms=happening.now_ms,
        )
        self._history.add_prevention(prevention)
        happening.preventions.append(prevention)
        if maker_loses:
            listing.resting[maker.side].reduce(
                maker.order_id, maker_loses, self._shown(listing, maker.side, maker.limit)
            )
            ends = maker_loses == maker.remaining
            self._clearing.prevent(listing, maker, maker_loses, prevention, happening, ends=ends)
        if taker_loses:
            ends = taker_loses == taker.remaining
            taker = self._clearing.prevent(listing, taker, taker_loses, prevention, happening, ends=ends)
        return taker

    def _queue_words(self, listing: Listing, resting: Resting) -> str:
        ahead = listing.rules.qty_text(resting.traded_off).rstrip("0").rstrip(".")
        return f"queue: {ahead} ahead traded off"


def _worse(side: Side, price: int, limit: int) -> bool:
    """Whether a taker of `side` would trade beyond `limit`."""
    return price > limit if side is Side.BUY else price < limit


def _range(listing: Listing, side: Side) -> tuple[Decimal, Decimal]:
    """The lowest and the highest price, in ticks and not on the grid, at which a taker of `side` may trade."""
    allowed, reference = listing.filters.price_range, listing.reference
    if allowed is None or reference is None:
        return _LOWEST, _HIGHEST
    down, up = (allowed.bid_down, allowed.bid_up) if side is Side.BUY else (allowed.ask_down, allowed.ask_up)
    with localcontext() as context:
        context.prec = _DIGITS
        ticks = reference / listing.rules.tick_size
        return _LOWEST if down is None else ticks * down, _HIGHEST if up is None else ticks * up
