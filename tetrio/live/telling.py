"""What own orders and fills are told to: the journal, the status that people see, and the sums of what was traded."""

from __future__ import annotations

from decimal import Decimal

from tetrio.core.market import Fill, Side
from tetrio.core.money import plain, plain_amount
from tetrio.core.orders import OwnOrder
from tetrio.journal import Journal
from tetrio.live.sleeve import Sleeve
from tetrio.status import FillLine, LiveOrder, Status


class Teller:
    """Tells of one sleeve's orders and fills; `sleeve` is set once there is one."""

    def __init__(self, journal: Journal, status: Status) -> None:
        self._journal, self._status = journal, status
        self.sleeve: Sleeve | None = None

    def order(self, order: OwnOrder, before: OwnOrder | None, code: int | None) -> None:
        """An own order has changed."""
        sleeve = self._known
        rules = sleeve.rules
        self._journal.write(
            "order", client_order_id=order.client_order_id, order_id=order.order_id, side=order.side,
            price=plain(order.price_ticks, rules.tick_size), qty=plain(order.qty_lots, rules.step_size),
            filled=plain(order.filled_lots, rules.step_size), state=order.state, code=code,
            stop=plain(order.stop_ticks, rules.tick_size) if order.stop_ticks else None,
            trail_bps=order.trail_bps or None, waits=order.waits or None,
        )  # fmt: skip
        live = sleeve.unfinished()
        self._status.order = None if not live else LiveOrder(
            side=live[-1].side.value,
            price=plain(live[-1].price_ticks, rules.tick_size),
            qty=plain(live[-1].qty_lots, rules.step_size),
            filled=plain(live[-1].filled_lots, rules.step_size),
            client_order_id=live[-1].client_order_id,
            placed_ns=live[-1].sent_ns,
            state=live[-1].state.value,
            protects=live[-1].waits,
        )  # fmt: skip

    def fill(self, fill: Fill) -> None:
        """An own trade, told once."""
        rules = self._known.rules
        price, qty = plain_amount(fill.price, rules.tick_size), plain_amount(fill.qty, rules.step_size)
        self._journal.write(
            "fill", client_order_id=fill.client_order_id, trade_id=fill.trade_id, side=fill.side, price=price, qty=qty,
            maker=fill.maker, commission=fill.commission, commission_asset=fill.commission_asset,
        )  # fmt: skip
        self._count(fill, price, qty)
        verb = "sold" if fill.side is Side.SELL else "bought"
        self._status.fills.append(f"{verb} {qty} at {price}")

    def _count(self, fill: Fill, price: str, qty: str) -> None:
        """What the trade did to base and quote, its commission taken off, exactly."""
        trading, rules = self._status.trading, self._known.rules
        sign = 1 if fill.side is Side.BUY else -1
        trading.fills += 1
        trading.base += sign * fill.qty
        trading.quote -= sign * fill.qty * fill.price
        fee = Decimal(fill.commission)
        trading.fees[fill.commission_asset] = trading.fees.get(fill.commission_asset, Decimal(0)) + fee
        if fill.commission_asset == rules.base_asset:
            trading.base -= fee
        elif fill.commission_asset == rules.quote_asset:
            trading.quote -= fee
        self._status.told_fills.append(
            FillLine(
                at_ms=fill.at_ms, side=fill.side.value, price=price, qty=qty, maker=fill.maker,
                commission=fill.commission, commission_asset=fill.commission_asset,
                client_order_id=fill.client_order_id, trade_id=fill.trade_id,
            )
        )  # fmt: skip

    @property
    def _known(self) -> Sleeve:
        assert self.sleeve is not None, "it is the sleeve that tells"
        return self.sleeve
