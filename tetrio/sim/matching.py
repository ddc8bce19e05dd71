"""Who trades with whom: an order that comes against what it meets, a market event against what rests.

Decides quantities, prices and reasons by the rules of `sim.book`; money and reports are made in `sim.clearing`.
"""

from __future__ import annotations

from tetrio.core.market import Side
from tetrio.sim.book import Resting, offers
from tetrio.sim.clearing import Clearing, Happening
from tetrio.sim.events import AggTrade, PublicTrade
from tetrio.sim.history import OrderHistory
from tetrio.sim.listing import Listing
from tetrio.sim.orders import Order, Outcome, Prevention, Rejected, TradePrint

FILL_MODELS = ("queue", "touch", "through")
Offer = tuple[int, int, Resting | None]
"""(price, lots, the client's order that offers them or None for the displayed market)."""


class Matching:
    """The rules by which orders trade, for one fill model."""

    def __init__(self, model: str, clearing: Clearing, history: OrderHistory) -> None:
        """ValueError when there is no such model."""
        if model not in FILL_MODELS:
            raise ValueError(f"{model!r} is not a fill model: {', '.join(FILL_MODELS)}")
        self._model, self._clearing, self._history = model, clearing, history
        self._last_match_id = 0

    def rest(self, listing: Listing, order: Order) -> None:
        """Puts what is left of an order on the book, behind what is displayed there."""
        resting = Resting(order.order_id, order.account, order.price, order.remaining)
        if self._model == "queue":
            resting.ahead = listing.displayed.shown(order.side, order.price)
        listing.resting[order.side].add(resting)

    def lots_for_quote(self, account: str, listing: Listing, side: Side, tick_lots: int) -> int:
        """Lots that quoteOrderQty buys or sells on the book, rounded down; what the book cannot give is reckoned at
        its last price. Rejected when that is less than the symbol's filters ask for, or more."""
        left, qty, price = tick_lots, 0, 0
        for price, lots, resting in offers(listing.resting[side.other], listing.displayed):
            if resting is not None and resting.account == account:
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
        if rules.market_max_qty_lots and qty > rules.market_max_qty_lots:
            raise Rejected(-1013, "Filter failure: MARKET_LOT_SIZE")
        return qty

    def would_match(self, listing: Listing, side: Side, price: int) -> bool:
        """Whether an order at `price` would trade at once, with the displayed best price or with a client's order."""
        clients = listing.resting[side.other].orders
        best = [listing.displayed.best(side.other), clients[0].price if clients else 0]
        return any(price >= other if side is Side.BUY else price <= other for other in best if other)

    def offered(self, account: str, listing: Listing, side: Side, limit: int | None, qty: int) -> list[Offer]:
        """What the order will meet, best first, up to its quantity and limit; own resting orders with 0 lots."""
        found: list[Offer] = []
        for price, lots, resting in offers(listing.resting[side.other], listing.displayed):
            if not qty or (limit and (price > limit if side is Side.BUY else price < limit)):
                break
            part = 0 if resting is not None and resting.account == account else min(lots, qty)
            found.append((price, part, resting))
            qty -= part
        return found

    def take(self, listing: Listing, order: Order, offered: list[Offer], happening: Happening) -> Order:
        """The taker phase: trades with what was found."""
        other = listing.resting[order.side.other]
        for price, lots, resting in offered:
            if resting is None:
                listing.displayed.take(other.side, price, lots)
                other.pass_by(price, lots)
                trade_id = self._client_trade(listing, order.side, price, lots, happening)
                order = self._clearing.fill(
                    listing, order, price, lots, trade_id, False, "took what is displayed", happening
                )
            elif resting.account == order.account:
                self._prevent(listing, resting, order, happening)
            else:
                trade_id = self._client_trade(listing, order.side, price, lots, happening)
                order = self._clearing.fill(
                    listing, order, price, lots, trade_id, False, "matched client order", happening
                )
                maker = self._history.get(resting.order_id)
                self._fill_resting(listing, maker, lots, trade_id, "matched client order", happening)
        return order

    def traded(
        self, listing: Listing, trade: PublicTrade | AggTrade, trade_id: int, now_ms: int, market_ns: int
    ) -> Outcome:
        """A public trade: fills what it reaches."""
        listing.traded(trade.price, trade.qty, market_ns)
        happening: Happening | None = None
        for side, resting in listing.resting.items():
            if not resting.orders:
                continue
            opposite_taker = trade.buyer_is_maker if side is Side.BUY else not trade.buyer_is_maker
            for met, lots, why in resting.fills_by_trade(self._model, trade.price, trade.qty, opposite_taker):
                happening = happening or Happening(now_ms, market_ns)
                words = self._queue_words(listing, met) if why == "queue" else why
                self._fill_by_market(listing, met, lots, words, happening)
        if happening is None:
            return Outcome(trade_id=trade_id)
        return Outcome(tuple(happening.events), tuple(happening.prints), trade_id)

    def crossed(self, listing: Listing, side: Side, before: Outcome, now_ms: int, market_ns: int) -> Outcome:
        """New displayed prices: fills what they reach, after what `before` tells."""
        crossed = listing.resting[side].fills_by_crossing(self._model, listing.displayed)
        if not crossed:
            return before
        happening = Happening(now_ms, market_ns)
        for met, lots in crossed:
            self._fill_by_market(listing, met, lots, "book crossed", happening)
        return Outcome((*before.events, *happening.events), (*before.prints, *happening.prints))

    def _fill_by_market(self, listing: Listing, met: Resting, lots: int, why: str, happening: Happening) -> None:
        maker = self._history.get(met.order_id)
        trade_id = self._client_trade(listing, maker.side.other, maker.price, lots, happening)
        self._fill_resting(listing, maker, lots, trade_id, why, happening)

    def _fill_resting(
        self, listing: Listing, maker: Order, lots: int, trade_id: int, why: str, happening: Happening
    ) -> None:
        """A resting order trades at its own price."""
        self._clearing.fill(listing, maker, maker.price, lots, trade_id, True, why, happening)
        listing.resting[maker.side].reduce(maker.order_id, lots)
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

    def _prevent(self, listing: Listing, resting: Resting, taker: Order, happening: Happening) -> None:
        """EXPIRE_MAKER: the account's own resting order goes, the taker goes on."""
        self._last_match_id += 1
        prevention = Prevention(
            match_id=self._last_match_id,
            symbol=taker.symbol,
            account=taker.account,
            mode=taker.stp_mode,
            price=resting.price,
            qty=min(resting.remaining, taker.remaining),
            maker_qty=resting.remaining,
            taker_qty=0,
            at_ms=happening.now_ms,
            taker_order_id=taker.order_id,
            maker_order_id=resting.order_id,
        )
        happening.preventions.append(prevention)
        listing.resting[taker.side.other].remove(resting.order_id)
        maker = self._history.get(resting.order_id)
        self._clearing.close(listing, maker, "EXPIRED_IN_MATCH", "", happening, prevention=prevention)

    def _queue_words(self, listing: Listing, resting: Resting) -> str:
        ahead = listing.rules.qty_text(resting.traded_off).rstrip("0").rstrip(".")
        return f"queue: {ahead} ahead traded off"
